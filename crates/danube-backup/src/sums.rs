//! The list of hashes, in the form that `sha256sum -c` reads. It grows with the number
//! of files, so it lies in a file without a name and not in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Differences that are told by name; the rest is counted.
const TOLD_MAX: usize = 5;

/// A list that is being made.
pub(crate) struct Sums {
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Sums {
    /// An empty one, kept in `dir`.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(tempfile::tempfile_in(dir)?),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, name: &str, hash: &[u8]) -> io::Result<()> {
        let line = format!("{}  {name}\n", hex(hash));
        self.hash.update(line.as_bytes());
        self.bytes += line.len() as u64;
        self.out.write_all(line.as_bytes())
    }

    /// The hash of the list so far.
    pub(crate) fn hash(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// Bytes of the list so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The list from its beginning.
    pub(crate) fn into_reader(self) -> io::Result<BufReader<File>> {
        let mut file = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(BufReader::new(file))
    }
}

/// What `found` (made from what is there) has otherwise than `told` (what the archive
/// says): sentences, none when they are the same. Takes memory for both, so it is only
/// asked when they differ.
pub(crate) fn differences(found: impl Read, told: impl Read) -> io::Result<Vec<String>> {
    let (found, mut told) = (lines(found)?, lines(told)?);
    let mut all = Vec::new();
    for (name, hash) in &found {
        match told.remove(name) {
            None => all.push(format!("{name} isn't in the list of hashes")),
            Some(it) if it != *hash => all.push(format!("{name} was changed")),
            Some(_) => {}
        }
    }
    all.extend(told.keys().map(|name| format!("{name} is missing")));
    if all.is_empty() {
        all.push("the list of hashes is in another order".to_owned());
    }
    let more = all.len().saturating_sub(TOLD_MAX);
    all.truncate(TOLD_MAX);
    if more > 0 {
        all.push(format!("{more} more"));
    }
    Ok(all)
}

/// Hashes by name; what isn't such a line is a name without a hash.
fn lines(mut from: impl Read) -> io::Result<BTreeMap<String, String>> {
    let mut text = Vec::new();
    from.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let pair = |line: &str| match line.split_once("  ") {
        Some((hash, name)) => (name.to_owned(), hash.to_owned()),
        None => (line.to_owned(), String::new()),
    };
    Ok(text.lines().map(pair).collect())
}

/// Bytes as they are written in lists of hashes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_name_and_not_without_end() {
        let check = |found: &str, told: &str, expected: &[&str]| {
            let all = differences(found.as_bytes(), told.as_bytes()).unwrap();
            assert_eq!(all, expected);
        };
        check(
            "aa  a\nbb  b\ndd  d\n",
            "aa  a\nbc  b\ncc  c\n",
            &[
                "b was changed",
                "d isn't in the list of hashes",
                "c is missing",
            ],
        );
        let many: String = (0..9).map(|it| format!("aa  {it}\n")).collect();
        let all = differences("".as_bytes(), many.as_bytes()).unwrap();
        assert_eq!((all.len(), all[5].as_str()), (6, "4 more"));
        check(
            "aa  a\nbb  b\n",
            "bb  b\naa  a\n",
            &["the list of hashes is in another order"],
        );
    }
}
