//! Times and sizes for people.

use danube_model::Timestamp;

use crate::terminal::Screen;

/// When something was: how long ago on a terminal, exactly elsewhere.
pub(crate) fn moment(at: Option<Timestamp>, now: Timestamp, screen: &Screen) -> String {
    match at {
        None => String::new(),
        Some(at) if screen.out_is_terminal => ago(now.seconds_since(at)),
        Some(at) => at.to_string(),
    }
}

fn ago(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0..60 => format!("{whole} s ago"),
        60..3_600 => format!("{} min ago", whole / 60),
        3_600..172_800 => format!("{} h ago", whole / 3_600),
        _ => format!("{} d ago", whole / 86_400),
    }
}

/// A length of time in two units at most.
pub(crate) fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds.filter(|it| it.is_finite() && *it >= 0.0) else {
        return String::new();
    };
    let whole = std::time::Duration::from_secs_f64(seconds.min(1e15)).as_secs();
    match whole {
        0 => format!("{:.0} ms", seconds * 1_000.0),
        1..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// Bytes with a unit; one decimal.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    match unit {
        None => format!("{bytes} bytes"),
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        let all: Vec<String> = [0.0, 0.0421, 1.0, 59.94, 60.0, 3_599.0, 3_600.0, 100_000.0]
            .map(|it| duration(Some(it)))
            .into();
        assert_eq!(
            all,
            [
                "0 ms",
                "42 ms",
                "1.0 s",
                "59.9 s",
                "1 min 00 s",
                "59 min 59 s",
                "1 h 00 min",
                "27 h 46 min"
            ]
        );
        assert_eq!(
            [0.0, 61.0, 7_300.0, 200_000.0].map(ago),
            ["0 s ago", "1 min ago", "2 h ago", "2 d ago"]
        );
        assert_eq!(
            [0, 1_023, 1_024, 1_600_000, 3 << 30].map(size),
            ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "3.0 GiB"]
        );
        assert_eq!(duration(Some(f64::NAN)), "");
    }
}
