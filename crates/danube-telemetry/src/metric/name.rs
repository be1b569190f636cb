//! The Prometheus name of a metric, computed from its OpenTelemetry name and unit
//! while the program is compiled. Rules: OpenTelemetry specification, "Prometheus and
//! OpenMetrics Compatibility", translation strategy `UnderscoreEscapingWithSuffixes`.

use super::decl::Kind;

/// Longest name: longer ones don't compile.
const NAME_BYTES_MAX: usize = 96;

/// A name that was put together by a `const` function.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Name {
    /// The name.
    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(name) => name,
            Err(_) => panic!("a name is ASCII"),
        }
    }

    /// A name as it is given.
    pub(super) const fn exactly(name: &str) -> Self {
        Self::empty().with(name.as_bytes())
    }

    /// `name` with what a Prometheus name or label may not hold as one `_`.
    pub(super) const fn escaped(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut out = Self::empty();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let last_is_underscore = out.len > 0 && out.bytes[out.len - 1] == b'_';
            if byte.is_ascii_alphanumeric() || byte == b':' {
                out = out.with(&[byte]);
            } else if !last_is_underscore {
                out = out.with(b"_");
            }
            at += 1;
        }
        out
    }

    const fn empty() -> Self {
        Self {
            bytes: [0; NAME_BYTES_MAX],
            len: 0,
        }
    }

    const fn with(mut self, more: &[u8]) -> Self {
        assert!(
            self.len + more.len() <= NAME_BYTES_MAX,
            "the name of a metric has at most 96 bytes"
        );
        let mut at = 0;
        while at < more.len() {
            self.bytes[self.len] = more[at];
            self.len += 1;
            at += 1;
        }
        self
    }

    const fn ends_with(&self, suffix: &[u8]) -> bool {
        if suffix.len() > self.len {
            return false;
        }
        let from = self.len - suffix.len();
        let mut at = 0;
        while at < suffix.len() {
            if self.bytes[from + at] != suffix[at] {
                return false;
            }
            at += 1;
        }
        true
    }

    /// Adds `_suffix` unless the name ends so already.
    const fn suffixed(self, suffix: &str) -> Self {
        let suffix = suffix.as_bytes();
        if suffix.is_empty() || self.ends_with(suffix) {
            return self;
        }
        self.with(b"_").with(suffix)
    }
}

/// Computes the Prometheus name: what isn't a letter, digit or colon becomes `_`, then the
/// unit's word is added, then `_total` for a counter or `_info` for an info, each
/// only where the name doesn't end so already.
pub const fn prometheus_name(otel_name: &str, unit: &str, kind: Kind) -> Name {
    let name = Name::escaped(otel_name);
    let name = match (unit.as_bytes(), kind) {
        // A ratio is told by its name only where it is a gauge.
        (b"1", Kind::Counter | Kind::Histogram | Kind::Info) => name,
        _ => name.suffixed(unit_word(unit)),
    };
    match kind {
        Kind::Counter => name.suffixed("total"),
        Kind::Info => name.suffixed("info"),
        Kind::Gauge | Kind::Histogram => name,
    }
}

/// The word of a UCUM unit: `s` is `seconds`, an annotation (`{job}`) is nothing. A unit
/// that isn't in the table doesn't compile.
pub const fn unit_word(unit: &str) -> &'static str {
    match unit.as_bytes() {
        b"" => "",
        [b'{', .., b'}'] => "",
        b"s" => "seconds",
        b"ms" => "milliseconds",
        b"By" => "bytes",
        b"By/s" => "bytes_per_second",
        b"1" => "ratio",
        b"%" => "percent",
        _ => panic!("this unit has no word for Prometheus yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_compatibility_specification() {
        let cases = [
            ("job.duration", "s", Kind::Histogram, "job_duration_seconds"),
            ("danube.jobs", "{job}", Kind::Counter, "danube_jobs_total"),
            ("cpu.time", "s", Kind::Counter, "cpu_time_seconds_total"),
            ("disk.free", "1", Kind::Gauge, "disk_free_ratio"),
            ("hits", "1", Kind::Counter, "hits_total"),
            ("disk.used", "By", Kind::Gauge, "disk_used_bytes"),
            ("read", "By/s", Kind::Gauge, "read_bytes_per_second"),
            ("build", "", Kind::Info, "build_info"),
            // What is there already isn't said twice.
            ("jobs_total", "{job}", Kind::Counter, "jobs_total"),
            ("wait_seconds", "s", Kind::Histogram, "wait_seconds"),
            // Whatever else is there becomes one underscore.
            ("a.-b c", "", Kind::Gauge, "a_b_c"),
            ("ns:rule", "", Kind::Gauge, "ns:rule"),
        ];
        for (otel, unit, kind, name) in cases {
            assert_eq!(prometheus_name(otel, unit, kind).as_str(), name, "{otel}");
        }
    }

    #[test]
    fn attribute_keys_become_label_names() {
        assert_eq!(
            Name::escaped("cicd.pipeline.name").as_str(),
            "cicd_pipeline_name"
        );
    }
}
