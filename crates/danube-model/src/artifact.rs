//! What an artifact, a file that a job leaves, may be called.

/// Bytes of an artifact's name: as many as a file's on most disks.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 255;

/// Artifacts of a job: a list of them must fit in one answer.
pub const ARTIFACTS_MAX: u64 = 1_000;

/// Why a job can't call an artifact that; none when it can. Whoever downloads it may take
/// the name for a path below a directory of theirs, and stays in there.
#[must_use]
pub fn wrong_artifact_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > ARTIFACT_NAME_BYTES_MAX {
        return Some("must have 1 to 255 bytes");
    }
    if name.chars().any(|it| it.is_control() || it == '\\') {
        return Some("must have no control characters and no `\\`");
    }
    let is_step = |part: &str| part.is_empty() || part == "." || part == "..";
    name.split('/')
        .any(is_step)
        .then_some("must be a path without `.`, `..`, empty parts and a `/` at its ends")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_that_leads_nowhere_else() {
        for name in [
            "a",
            "dist/app-1.0.tar.gz",
            "...",
            ".hidden",
            "ä b",
            &"x".repeat(255),
        ] {
            assert_eq!(wrong_artifact_name(name), None, "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a\\b",
            "a\nb",
            "a\0b",
            "a\u{9b}b",
            &"x".repeat(256),
        ] {
            assert!(wrong_artifact_name(name).is_some(), "{name:?}");
        }
    }
}
