//! What images are called (OCI distribution specification, "Pulling manifests").

/// Bytes of a repository's name, as the registry's own rules have it.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of a tag.
const TAG_BYTES_MAX: usize = 128;

/// Bytes of a digest: sha512 has 128 digits.
const DIGEST_BYTES_MAX: usize = 160;

/// Whether it may be a repository: parts between `/`, each of small letters and digits, with
/// `.`, `_` or `-` only in between. So none is `..`.
pub(super) fn is_image_name(text: &str) -> bool {
    let is_end = |it: Option<&u8>| it.is_some_and(|it| is_small(*it));
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        is_end(bytes.first())
            && is_end(bytes.last())
            && bytes.iter().all(|it| is_small(*it) || b"._-".contains(it))
    };
    text.len() <= NAME_BYTES_MAX && text.split('/').all(is_part)
}

fn is_small(it: u8) -> bool {
    it.is_ascii_lowercase() || it.is_ascii_digit()
}

/// Whether it may be a tag.
pub(super) fn is_tag(text: &str) -> bool {
    let is_first = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= TAG_BYTES_MAX
        && bytes.first().is_some_and(|it| is_first(*it))
        && bytes.iter().all(|it| is_first(*it) || b".-".contains(it))
}

/// Whether it may be a digest: an algorithm and hexadecimal digits.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() <= DIGEST_BYTES_MAX
        && text.split_once(':').is_some_and(|(algorithm, digits)| {
            !algorithm.is_empty()
                && algorithm.bytes().all(is_small)
                && digits.len() >= 32
                && digits.bytes().all(|it| it.is_ascii_hexdigit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tags_and_digests_are_told_from_what_would_lead_elsewhere() {
        for (name, is) in [
            ("app", true),
            ("team/sub.group/app-1__x", true),
            ("", false),
            ("team/../app", false),
            ("team//app", false),
            ("/app", false),
            ("Team/app", false),
            ("app?x=1", false),
            ("-app", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_image_name(name), is, "{name:?}");
        }
        assert!(!is_image_name(&"a".repeat(256)));
        for (tag, is) in [
            ("v1", true),
            ("_a.B-c", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
        ] {
            assert_eq!(is_tag(tag), is, "{tag:?}");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(is_digest(&digest));
        for digest in ["", "sha256:", "sha256:../x", "abc", "SHA256:00"] {
            assert!(!is_digest(digest), "{digest:?}");
        }
    }
}
