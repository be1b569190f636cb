//! The `Range` header (RFC 9110, section 14), one range of bytes.

/// What a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// None, or one that may be ignored: the whole.
    Whole,
    /// From the first to before the second offset.
    Part(u64, u64),
    /// Outside of what there is.
    Outside,
}

/// The range of a resource of `size` bytes. More than one range, other units
/// and what isn't understood are ignored, as the RFC allows.
pub(crate) fn parse(header: Option<&str>, size: u64) -> Range {
    let Some(spec) = header.and_then(|it| it.trim().strip_prefix("bytes=")) else {
        return Range::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Range::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim(), last.trim()) {
        ("", "") => Range::Whole,
        ("", suffix) => match number(suffix) {
            None => Range::Whole,
            Some(0) => Range::Outside,
            Some(_) if size == 0 => Range::Outside,
            Some(length) => Range::Part(size.saturating_sub(length), size),
        },
        (first, last) => {
            let Some(first) = number(first) else {
                return Range::Whole;
            };
            let end = if last.is_empty() {
                Some(size)
            } else {
                number(last).map(|it| it.saturating_add(1).min(size))
            };
            match end {
                None => Range::Whole,
                _ if first >= size => Range::Outside,
                Some(end) if end <= first => Range::Whole,
                Some(end) => Range::Part(first, end),
            }
        }
    }
}

/// Where an open range begins, for a log that is still growing.
pub(crate) fn start(header: Option<&str>) -> Option<u64> {
    let spec = header?.trim().strip_prefix("bytes=")?;
    spec.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_rfc_has_them() {
        for (header, expected) in [
            (None, Range::Whole),
            (Some("bytes=0-"), Range::Part(0, 10)),
            (Some("bytes=3-5"), Range::Part(3, 6)),
            (Some("bytes=3-99"), Range::Part(3, 10)),
            (Some("bytes=-4"), Range::Part(6, 10)),
            (Some("bytes=-99"), Range::Part(0, 10)),
            (Some("bytes=10-"), Range::Outside),
            (Some("bytes=-0"), Range::Outside),
            (Some("bytes=5-3"), Range::Whole),
            (Some("bytes=0-1,4-5"), Range::Whole),
            (Some("lines=1-2"), Range::Whole),
            (Some("bytes=x-"), Range::Whole),
            (
                Some("bytes=18446744073709551615-18446744073709551615"),
                Range::Outside,
            ),
        ] {
            assert_eq!(parse(header, 10), expected, "{header:?}");
        }
        assert_eq!(parse(Some("bytes=-5"), 0), Range::Outside);
        assert_eq!(start(Some("bytes=7-")), Some(7));
    }
}
