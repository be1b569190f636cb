//! Which text format a scraper wants.

/// A text format of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4, also for people and for whoever asks for nothing.
    Text004,
    /// OpenMetrics 1.0.
    OpenMetrics1,
}

impl Format {
    /// Value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics1 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Chooses by an `Accept` header. OpenMetrics is given only to those who name it
/// in a version we write and don't prefer plain text; everything else, also a
/// header that makes no sense, gets 0.0.4, which every scraper reads.
pub fn negotiate(accept: &str) -> Format {
    let mut openmetrics = 0.0_f64;
    let mut text = 0.0_f64;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut quality = 1.0_f64;
        let mut version = None;
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.parse().unwrap_or(0.0),
                "version" => version = Some(value),
                _ => {}
            }
        }
        if !(0.0..=1.0).contains(&quality) {
            continue;
        }
        match (media.as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0")) => {
                openmetrics = openmetrics.max(quality);
            }
            ("text/plain", None | Some("0.0.4")) => text = text.max(quality),
            _ => {}
        }
    }
    if openmetrics > 0.0 && openmetrics >= text {
        Format::OpenMetrics1
    } else {
        Format::Text004
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_given_to_those_who_name_it_and_text_to_the_rest() {
        let cases = [
            ("", Format::Text004),
            ("*/*", Format::Text004),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text004),
            ("application/openmetrics-text", Format::OpenMetrics1),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics1,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::OpenMetrics1,
            ),
            (
                "Application/OpenMetrics-Text; Version=\"1.0.0\" ; Q=0.9",
                Format::OpenMetrics1,
            ),
            (
                "text/plain;q=0.9,application/openmetrics-text;q=0.5",
                Format::Text004,
            ),
            ("application/openmetrics-text;q=0", Format::Text004),
            ("application/openmetrics-text;q=x", Format::Text004),
            ("application/openmetrics-text;q=NaN", Format::Text004),
            (
                "application/openmetrics-text;version=0.0.1",
                Format::Text004,
            ),
            (";;,,=;q=", Format::Text004),
        ];
        for (accept, format) in cases {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
    }
}
