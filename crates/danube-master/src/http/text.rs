//! A log made easier to read: escape codes out, times in front of lines.

use danube_joblog::AnsiStripper;
use danube_model::Timestamp;

/// Derives text from a log, piece by piece; any cut gives the same text.
pub(crate) struct Derive {
    stripper: Option<AnsiStripper>,
    timestamps: bool,
    at_line_start: bool,
}

impl Derive {
    /// `strip` takes escape codes out, `timestamps` puts the time of its first
    /// byte in front of each line.
    pub(crate) fn new(strip: bool, timestamps: bool) -> Self {
        Self {
            stripper: strip.then(AnsiStripper::new),
            timestamps,
            at_line_start: true,
        }
    }

    /// Whether the text is the log itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.stripper.is_none() && !self.timestamps
    }

    /// Whether it needs to know when the bytes came.
    pub(crate) fn has_times(&self) -> bool {
        self.timestamps
    }

    /// The text for the next bytes of the log.
    pub(crate) fn push(&mut self, bytes: Vec<u8>, time_us: Option<u64>) -> Vec<u8> {
        let bytes = match &mut self.stripper {
            None => bytes,
            Some(stripper) => {
                let mut stripped = Vec::with_capacity(bytes.len());
                stripper.push(&bytes, &mut stripped);
                stripped
            }
        };
        if !self.timestamps {
            return bytes;
        }
        let stamp = match time_us {
            Some(us) => format!(
                "{} ",
                Timestamp::from_millis(i64::try_from(us / 1_000).unwrap_or(i64::MAX))
            ),
            None => "(time unknown)           ".to_owned(),
        };
        let mut text = Vec::with_capacity(bytes.len() + 2 * stamp.len());
        for line in bytes.split_inclusive(|it| *it == b'\n') {
            if self.at_line_start {
                text.extend_from_slice(stamp.as_bytes());
            }
            text.extend_from_slice(line);
            self.at_line_start = line.ends_with(b"\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_the_time_of_its_first_byte() {
        let mut derive = Derive::new(false, true);
        let mut text = derive.push(b"one\ntw".to_vec(), Some(1_768_048_496_789_000));
        text.extend(derive.push(b"o\nthree\n".to_vec(), Some(1_768_048_497_000_000)));
        let expected = "2026-01-10T12:34:56.789Z one\n2026-01-10T12:34:56.789Z two\n2026-01-10T12:34:57.000Z three\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
