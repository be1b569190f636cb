//! The forms in which a registered value may turn up in a log.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::{Zeroize as _, Zeroizing};

/// A line of a multi-line value is looked for on its own from this length on.
/// Shorter ones (`{`, `}`, `EOF`) would shred every log.
pub(crate) const LINE_BYTES_MIN: usize = 8;

/// Longest needle. A longer value is looked for in pieces of this length, each
/// masked on its own; touching masks become one. It bounds how much is held back.
pub(crate) const NEEDLE_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) { 64 } else { 1024 };

/// Bytes to look for. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Needle(Vec<u8>);

impl Needle {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Deref for Needle {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Needle {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One form of a value.
type Form = Zeroizing<Vec<u8>>;

/// Every form of `value`, in pieces of at most [`NEEDLE_BYTES_MAX`]. `line_fits`
/// says which single lines may be looked for.
pub(crate) fn needles(value: &[u8], line_fits: impl Fn(&[u8]) -> bool) -> BTreeSet<Needle> {
    let mut forms = Vec::new();
    plain_forms(value, line_fits, &mut forms);
    base64_forms(value, &mut forms);
    url_forms(value, &mut forms);
    escaped_forms(value, &mut forms);
    for upper in [false, true] {
        let text = hex(value, upper);
        wrapped(&text, &HEX_COLUMNS, &mut forms);
        forms.push(text);
    }

    let mut needles = BTreeSet::new();
    for form in forms {
        for piece in pieces(&form) {
            needles.insert(Needle::new(piece));
        }
    }
    needles
}

fn plain_forms(value: &[u8], line_fits: impl Fn(&[u8]) -> bool, forms: &mut Vec<Form>) {
    forms.push(Zeroizing::new(value.to_vec()));
    let lines: Vec<&[u8]> = value
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    if lines.len() < 2 {
        return;
    }
    for joint in [&b"\n"[..], b"\r\n", b" "] {
        let joined = Zeroizing::new(lines.join(joint));
        // `a\r\n\r\nb` with spaces is `a  b`, which stands in every log.
        if joined.len() >= LINE_BYTES_MIN {
            forms.push(joined);
        }
    }
    for line in lines {
        let line = line.trim_ascii();
        // The frame of a PEM block is no secret.
        if line.len() >= LINE_BYTES_MIN && !line.starts_with(b"-----") && line_fits(line) {
            forms.push(Zeroizing::new(line.to_vec()));
        }
    }
}

/// Base64 of the value at each of the three alignments it can have inside a
/// longer text, without the edge characters that depend on its neighbours.
fn base64_forms(value: &[u8], forms: &mut Vec<Form>) {
    for shift in 0..3 {
        let mut shifted = Zeroizing::new(vec![0; shift]);
        shifted.extend_from_slice(value);
        let first = (shift * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = Zeroizing::new(alphabet.encode(&shifted));
            let whole = &text.as_bytes()[first..end];
            forms.push(Zeroizing::new(whole.to_vec()));
            if shift == 0 {
                wrapped(whole, &BASE64_COLUMNS, forms);
            }
        }
    }
}

/// Columns at which `base64`, `openssl base64` and mail programs break lines.
const BASE64_COLUMNS: [usize; 2] = [76, 64];

/// Columns at which `xxd -p` and others break lines.
const HEX_COLUMNS: [usize; 2] = [60, 64];

/// The lines of an encoded value that is broken at a column: no longer form
/// stands in the text then. A last line too short to be told apart stays.
fn wrapped(text: &[u8], columns: &[usize], forms: &mut Vec<Form>) {
    for &columns in columns {
        if text.len() > columns {
            let lines = text.chunks(columns).filter(|it| it.len() >= LINE_BYTES_MIN);
            forms.extend(lines.map(|it| Zeroizing::new(it.to_vec())));
        }
    }
}

fn url_forms(value: &[u8], forms: &mut Vec<Form>) {
    let strict = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let component = |b: u8| strict(b) || b"!'()*".contains(&b);
    let whole = |b: u8| component(b) || b";/?:@&=+$,#[]".contains(&b);
    let path = |b: u8| strict(b) || b == b'/';
    forms.push(percent(value, strict, false));
    forms.push(percent(value, strict, true));
    forms.push(percent(value, component, false));
    forms.push(percent(value, whole, false));
    forms.push(percent(value, path, false));
    // A form: a space is a plus.
    let form = percent(value, |b| strict(b) || b == b' ', false);
    forms.push(replace(&form, |b| (b == b' ').then(|| "+".to_owned())));
}

fn percent(value: &[u8], keep: impl Fn(u8) -> bool, lower: bool) -> Form {
    replace(value, |b| match (keep(b), lower) {
        (true, _) => None,
        (false, false) => Some(format!("%{b:02X}")),
        (false, true) => Some(format!("%{b:02x}")),
    })
}

/// JSON (plain, with `\/`, all ASCII, safe for HTML), HTML, and the ways of a
/// shell: inside single quotes, inside double quotes, with backslashes.
fn escaped_forms(value: &[u8], forms: &mut Vec<Form>) {
    let json = |b: u8| match b {
        b'"' => Some("\\\"".to_owned()),
        b'\\' => Some("\\\\".to_owned()),
        b'\n' => Some("\\n".to_owned()),
        b'\r' => Some("\\r".to_owned()),
        b'\t' => Some("\\t".to_owned()),
        0x08 => Some("\\b".to_owned()),
        0x0c => Some("\\f".to_owned()),
        0..0x20 => Some(format!("\\u{b:04x}")),
        _ => None,
    };
    let plain = replace(value, json);
    // A JSON text inside a JSON string.
    forms.push(replace(&plain, json));
    forms.push(plain);
    forms.push(replace(value, |b| {
        if b == b'/' {
            Some("\\/".to_owned())
        } else {
            json(b)
        }
    }));
    forms.push(replace(value, |b| match b {
        b'<' | b'>' | b'&' => Some(format!("\\u{b:04x}")),
        _ => json(b),
    }));
    if let Ok(text) = std::str::from_utf8(value) {
        forms.push(json_ascii(text, json));
    }
    forms.push(replace(value, |b| match b {
        b'&' => Some("&amp;".to_owned()),
        b'<' => Some("&lt;".to_owned()),
        b'>' => Some("&gt;".to_owned()),
        b'"' => Some("&quot;".to_owned()),
        b'\'' => Some("&#39;".to_owned()),
        _ => None,
    }));
    for quote in ["'\\''", "'\"'\"'", "\\'"] {
        forms.push(replace(value, |b| (b == b'\'').then(|| quote.to_owned())));
    }
    let backslash = |b: u8| Some(format!("\\{}", char::from(b)));
    forms.push(replace(value, |b| {
        if b"\"\\$`".contains(&b) {
            backslash(b)
        } else {
            None
        }
    }));
    forms.push(replace(value, |b| {
        let safe = b.is_ascii_alphanumeric() || !b.is_ascii() || b"-_./:@%+,=".contains(&b);
        if safe || b.is_ascii_control() {
            None
        } else {
            backslash(b)
        }
    }));
}

fn json_ascii(text: &str, json: impl Fn(u8) -> Option<String>) -> Form {
    let mut out = Zeroizing::new(String::new());
    for c in text.chars() {
        match u8::try_from(c).ok().filter(u8::is_ascii) {
            Some(b) => match json(b) {
                Some(escaped) => out.push_str(&escaped),
                None => out.push(c),
            },
            None => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a string takes all");
                }
            }
        }
    }
    Zeroizing::new(out.as_bytes().to_vec())
}

fn hex(value: &[u8], upper: bool) -> Form {
    let text = |b: u8| {
        if upper {
            format!("{b:02X}")
        } else {
            format!("{b:02x}")
        }
    };
    replace(value, |b| Some(text(b)))
}

fn replace(value: &[u8], with: impl Fn(u8) -> Option<String>) -> Form {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() * 2));
    for byte in value {
        match with(*byte) {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => out.push(*byte),
        }
    }
    out
}

/// Pieces that together cover `form`; the last one reaches back so that it is
/// as long as the others.
fn pieces(form: &[u8]) -> impl Iterator<Item = &[u8]> {
    let len = form.len();
    let size = NEEDLE_BYTES_MAX.min(len);
    let count = len.div_ceil(size.max(1));
    (0..count).map(move |it| {
        let start = (it * size).min(len - size);
        &form[start..start + size]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) {
        let found = needles(value.as_bytes(), |_| true);
        assert!(
            found.contains(&Needle::new(form.as_bytes())),
            "{form:?} is no form of {value:?}"
        );
    }

    #[test]
    fn a_value_is_looked_for_in_every_form() {
        has("pa ss/w\"ör'd", "pa ss/w\"ör'd");
        has("pa ss/w\"ör'd", "pa%20ss%2Fw%22%C3%B6r%27d");
        has("pa ss/w\"ör'd", "pa%20ss%2fw%22%c3%b6r%27d");
        has("pa ss/w\"ör'd", "pa+ss%2Fw%22%C3%B6r%27d");
        has("pa ss/w\"ör'd", "pa%20ss%2Fw%22%C3%B6r'd");
        has("pa ss/w\"ör'd", "pa ss/w\\\"ör'd");
        has("pa ss/w\"ör'd", "pa ss\\/w\\\"ör'd");
        has("pa ss/w\"ör'd", "pa ss/w\\\"\\u00f6r'd");
        has("pa ss/w\"ör'd", "pa ss/w\"ör'\\''d");
        has("pa ss/w\"ör'd", "pa ss/w\"ör'\"'\"'d");
        has("pa ss/w\"ör'd", "pa\\ ss/w\\\"ör\\'d");
        has("pa ss/w\"ör'd", "pa ss/w&quot;ör&#39;d");
        has("12345678", "3132333435363738");
        has("jklmnopq", "6A6B6C6D6E6F7071");
    }

    #[test]
    fn base64_is_found_at_each_alignment_inside_a_longer_text() {
        let value = b"s3cr3t-v\xff\xfe\xfd";
        let found = needles(value, |_| true);
        for before in 0..6 {
            for after in 0..6 {
                let text = [&b"......"[..before], value, &b"!!!!!!"[..after]].concat();
                for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let coded = alphabet.encode(&text).into_bytes();
                    let hit = found
                        .iter()
                        .any(|it| it.len() >= 10 && coded.windows(it.len()).any(|w| w == &**it));
                    assert!(hit, "{before} {after}");
                }
            }
        }
    }

    #[test]
    fn a_multi_line_value_is_looked_for_by_line_and_whole() {
        let value = "{\n  \"key\": \"abcdefgh\"\n}";
        has(value, value);
        has(value, "{\r\n  \"key\": \"abcdefgh\"\r\n}");
        has(value, "{   \"key\": \"abcdefgh\" }");
        has(value, "\"key\": \"abcdefgh\"");
        has(value, "{\\n  \\\"key\\\": \\\"abcdefgh\\\"\\n}");
        let found = needles(value.as_bytes(), |_| true);
        assert!(found.iter().all(|it| it.len() >= LINE_BYTES_MIN));
    }

    #[test]
    fn pieces_of_a_long_value_cover_it() {
        let form: Vec<u8> = (0..=200).collect();
        let cut: Vec<&[u8]> = pieces(&form).collect();
        assert_eq!(cut.len(), 4);
        assert!(cut.iter().all(|it| it.len() == NEEDLE_BYTES_MAX));
        assert_eq!(cut[0][0], 0);
        assert_eq!(cut[3].last(), Some(&200));
    }
}
