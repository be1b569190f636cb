//! What numbers are, and how one is shown.

/// What a panel's or an alert's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Things a minute.
    PerMinute,
    /// A share, from 0 to 1.
    Ratio,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Processors that are busy.
    Cores,
    /// 1 for yes, 0 for no.
    Flag,
}

impl Unit {
    /// For machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::PerSecond => "per_second",
            Self::PerMinute => "per_minute",
            Self::Ratio => "ratio",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::Cores => "cores",
            Self::Flag => "flag",
        }
    }

    /// Grafana's id of it.
    pub const fn grafana(self) -> &'static str {
        match self {
            Self::Count | Self::Cores => "short",
            Self::PerSecond => "ops",
            Self::PerMinute => "opm",
            Self::Ratio => "percentunit",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "Bps",
            Self::Flag => "bool",
        }
    }
    /// Prometheus' template for a value of it, empty where the value says nothing.
    pub(crate) const fn template(self) -> &'static str {
        match self {
            Self::Ratio => "{{ $value | humanizePercentage }}",
            Self::Seconds => "{{ $value | printf \"%.2f\" }} s",
            Self::Count | Self::Cores => "{{ $value | humanize }}",
            Self::PerSecond => "{{ $value | humanize }} a second",
            Self::PerMinute => "{{ $value | humanize }} a minute",
            Self::Bytes => "{{ $value | humanize1024 }}B",
            Self::BytesPerSecond => "{{ $value | humanize1024 }}B/s",
            Self::Flag => "",
        }
    }

    /// What that template makes of a value.
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{}%", significant(value * 100.0)),
            Self::Seconds if value.is_finite() => format!("{value:.2} s"),
            Self::Seconds => format!("{} s", significant(value)),
            Self::Count | Self::Cores => thousands(value),
            Self::PerSecond => format!("{} a second", thousands(value)),
            Self::PerMinute => format!("{} a minute", thousands(value)),
            Self::Bytes => format!("{}B", binary(value)),
            Self::BytesPerSecond => format!("{}B/s", binary(value)),
            Self::Flag => String::new(),
        }
    }
}

/// Prometheus' `humanize`.
fn thousands(value: f64) -> String {
    let (mut value, mut prefix) = (value, "");
    if value != 0.0 && value.is_finite() && value.abs() < 1.0 {
        for smaller in ["m", "u", "n", "p"] {
            if value.abs() < 1.0 {
                (value, prefix) = (value * 1_000.0, smaller);
            }
        }
    } else {
        for larger in ["k", "M", "G", "T", "P"] {
            if value.is_finite() && value.abs() >= 1_000.0 {
                (value, prefix) = (value / 1_000.0, larger);
            }
        }
    }
    significant(value) + prefix
}

/// Prometheus' `humanize1024`.
fn binary(value: f64) -> String {
    let (mut value, mut prefix) = (value, "");
    for larger in ["ki", "Mi", "Gi", "Ti", "Pi"] {
        if value.is_finite() && value.abs() >= 1_024.0 {
            (value, prefix) = (value / 1_024.0, larger);
        }
    }
    significant(value) + prefix
}

/// Go's `%.4g`, for numbers that aren't so large or small that it writes an exponent.
fn significant(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // Digits before the point, or zeros behind it.
    let mut decimals = 3_usize;
    let mut left = value.abs();
    while left >= 10.0 && decimals > 0 {
        (left, decimals) = (left / 10.0, decimals - 1);
    }
    while left > 0.0 && left < 1.0 && decimals < 9 {
        (left, decimals) = (left * 10.0, decimals + 1);
    }
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_prometheus_shows_them() {
        for (unit, value, shown) in [
            (Unit::Ratio, 0.75, "75%"),
            (Unit::Ratio, 1.0 / 3.0, "33.33%"),
            (Unit::Seconds, 0.5, "0.50 s"),
            (Unit::Seconds, f64::INFINITY, "+Inf s"),
            (Unit::Count, 0.0, "0"),
            (Unit::Count, 1.000_005, "1"),
            (Unit::Count, 101.0, "101"),
            (Unit::Count, 1_500.0, "1.5k"),
            (Unit::Count, 12_345_678.0, "12.35M"),
            (Unit::Cores, 0.25, "250m"),
            (Unit::Count, f64::NAN, "NaN"),
            (Unit::PerSecond, 2.0, "2 a second"),
            (Unit::PerMinute, 60.0, "60 a minute"),
            (Unit::Bytes, 1_536.0, "1.5kiB"),
            (Unit::BytesPerSecond, 512.0, "512B/s"),
            (Unit::Flag, 0.0, ""),
        ] {
            assert_eq!(unit.shown(value), shown, "{value}");
        }
    }
}
