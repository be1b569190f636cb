//! Looks for values that must be nowhere.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A value in the forms in which it might stand somewhere.
pub(crate) fn forms(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|it| format!("{it:02x}")).collect();
    let url: String = value
        .bytes()
        .map(|it| match it {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(it).to_string(),
            _ => format!("%{it:02X}"),
        })
        .collect();
    let mut all = vec![value.to_owned(), hex, url];
    // In base64, whatever stands before it: what only the value decides.
    for before in 0..3 {
        let whole = STANDARD.encode([&b"xyz"[..before], value.as_bytes()].concat());
        let (from, to) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
        all.push(whole[from..to].to_owned());
    }
    all
}

/// Fails if these bytes hold one of the values in any form.
#[track_caller]
pub(crate) fn holds_none(values: &[&str], bytes: &[u8], what: &str) {
    for form in values.iter().flat_map(|it| forms(it)) {
        let found = bytes.windows(form.len()).any(|it| it == form.as_bytes());
        assert!(!found, "{what} holds {form}");
    }
}

/// The same for every file of a directory, and of those below.
#[track_caller]
pub(crate) fn files_hold_none(values: &[&str], dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files_hold_none(values, &path);
        } else if let Ok(bytes) = fs::read(&path) {
            holds_none(values, &bytes, &path.display().to_string());
        }
    }
}
