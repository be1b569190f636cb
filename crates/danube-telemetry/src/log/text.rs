//! How values are written: escaped for JSON, plain for a terminal, and the time.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a terminal or a reader of lines could act on it: the control characters
/// and Unicode's own line breaks.
fn is_active(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Bytes that are looked at together.
const WORD_BYTES: usize = 8;

/// The byte in each place of a word.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD_BYTES])
}

/// Whether none of the bytes is beyond ASCII, a control character, `"` or `\\`.
fn is_clean_word(word: [u8; WORD_BYTES]) -> bool {
    let word = u64::from_le_bytes(word);
    // Right as long as no byte has its highest bit set, which the last line sees to:
    // the highest bit of a place says that the byte there is less than the one given.
    let less = |word: u64, byte: u8| word.wrapping_sub(each(byte)) & !word;
    let found = less(word, b' ')
        | less(word ^ each(b'"'), 1)
        | less(word ^ each(b'\\'), 1)
        | less(word ^ each(0x7f), 1);
    (found | word) & each(0x80) == 0
}

/// Whether the value stands between the quotes of JSON as it is; it may also say no
/// for text beyond ASCII.
fn is_clean(value: &str) -> bool {
    let bytes = value.as_bytes();
    let Some(last) = bytes.last_chunk::<WORD_BYTES>() else {
        return bytes
            .iter()
            .all(|byte| matches!(byte, b' '..0x7f) && !matches!(byte, b'"' | b'\\'));
    };
    let (words, _) = bytes.as_chunks::<WORD_BYTES>();
    words.iter().all(|word| is_clean_word(*word)) && is_clean_word(*last)
}

/// Appends `value` as it stands between the quotes of JSON; whether that differs from
/// the value.
pub(super) fn escape_json(value: &str, out: &mut String) -> bool {
    if is_clean(value) {
        out.push_str(value);
        return false;
    }
    let mut from = 0;
    for (at, c) in value.char_indices() {
        if c == '"' || c == '\\' || is_active(c) {
            out.push_str(&value[from..at]);
            escape_char(c, out);
            from = at + c.len_utf8();
        }
    }
    out.push_str(&value[from..]);
    from > 0
}

fn escape_char(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
}

/// Appends text that can't move the cursor or start a line of its own; whether it
/// differs from the value.
pub(super) fn plain(value: &str, out: &mut String) -> bool {
    let before = out.len();
    for c in value.chars() {
        if is_active(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.len() - before != value.len()
}

/// Seconds of a day.
const DAY_SECS: u64 = 24 * 60 * 60;

/// A time as text, kept for as long as the millisecond lasts.
#[derive(Default)]
pub(super) struct Stamp {
    millis: Option<u64>,
    text: String,
}

impl Stamp {
    /// `2026-11-21T10:11:12.345Z`. Times before 1970 show as its start.
    pub(super) fn of(&mut self, time: SystemTime) -> &str {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = since.as_secs() * 1000 + u64::from(since.subsec_millis());
        if self.millis != Some(millis) {
            self.millis = Some(millis);
            self.text.clear();
            write_time(since.as_secs(), since.subsec_millis(), &mut self.text);
        }
        &self.text
    }
}

fn write_time(secs: u64, milli: u32, out: &mut String) {
    let (year, month, day) = civil(secs / DAY_SECS);
    let second = secs % DAY_SECS;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
    );
}

/// Year, month and day of a day since 1970-01-01, in years that begin in March, so
/// that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_right_on_leap_days_and_at_the_turn_of_years() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        let mut stamp = Stamp::default();
        for (millis, text) in cases {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(stamp.of(time), text);
            assert_eq!(stamp.of(time + Duration::from_micros(999)), text);
        }
    }

    #[test]
    fn every_character_at_every_place_is_escaped_as_one_alone_is() {
        let odd = "a\"b\\\n\r\t\u{0}\u{1b}\u{1f}\u{7f}\u{80}\u{9f}\u{a0}\u{c2}é\u{2027}\u{2028}\u{2029}\u{202a}€🦀";
        for c in odd.chars() {
            let needs = c == '"' || c == '\\' || is_active(c);
            let mut alone = String::new();
            assert_eq!(escape_json(&c.to_string(), &mut alone), needs, "{c:?}");
            assert_eq!(alone == c.to_string(), !needs, "{c:?}");
            for before in 0..40 {
                let around = |middle: &str| format!("{}{middle}xyz", "-".repeat(before));
                let mut out = String::new();
                assert_eq!(escape_json(&around(&c.to_string()), &mut out), needs);
                assert_eq!(out, around(&alone), "{c:?} behind {before}");
            }
        }
    }
}
