//! Takes a tar apart entry by entry, with every extension read by ourselves.
//!
//! The `tar` crate reads headers; long names and PAX records are ours, because
//! they are where two readers of one archive may see different files.

use std::io::Read;

use danube_model::playbook::source::PATH_BYTES_MAX;
use tar::{Archive, Entry, EntryType};

use crate::confine::Confined;
use crate::error::SourceError;
use crate::limits::{ENTRIES_MAX, EXTENSION_BYTES_MAX};

/// What the extensions say of the entry that comes next.
#[derive(Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Unpacks a stream of a tar.
pub(crate) fn unpack(tar: impl Read, into: &mut Confined<'_>) -> Result<(), SourceError> {
    let broken = |error: std::io::Error| SourceError::Archive(error.to_string());
    let mut archive = Archive::new(tar);
    let mut ahead = Ahead::default();
    // Extensions are headers, too, and an archive may be nothing but those.
    let mut left = 4 * ENTRIES_MAX;
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        left = left
            .checked_sub(1)
            .ok_or_else(|| SourceError::too_many(ENTRIES_MAX))?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => ahead.path = Some(long_name(&mut entry)?),
            EntryType::GNULongLink => ahead.link = Some(long_name(&mut entry)?),
            EntryType::XHeader => pax(&extension(&mut entry)?, &mut ahead)?,
            EntryType::XGlobalHeader => global(&extension(&mut entry)?)?,
            kind => {
                let ahead = std::mem::take(&mut ahead);
                one(&mut entry, kind, ahead, into)?;
            }
        }
    }
    Ok(())
}

fn one<R: Read>(
    entry: &mut Entry<'_, R>,
    kind: EntryType,
    ahead: Ahead,
    into: &mut Confined<'_>,
) -> Result<(), SourceError> {
    let name = ahead
        .path
        .unwrap_or_else(|| entry.header().path_bytes().into_owned());
    let link = ahead.link.or_else(|| {
        let link = entry.header().link_name_bytes();
        link.map(std::borrow::Cow::into_owned)
    });
    let link = link.unwrap_or_default();
    match kind {
        // Old tars write a directory as a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => into.directory(&name),
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().unwrap_or(0) & 0o100 != 0;
            into.file(&name, executable, entry)
        }
        EntryType::Directory => into.directory(&name),
        EntryType::Symlink => into.link(&name, &link),
        EntryType::Link => into.same(&name, &link),
        EntryType::GNUSparse => Err(SourceError::entry(&name, "a sparse file")),
        EntryType::Char | EntryType::Block => Err(SourceError::entry(&name, "a device")),
        EntryType::Fifo => Err(SourceError::entry(&name, "a named pipe")),
        _ => Err(SourceError::entry(&name, "an entry of an unknown kind")),
    }
}

/// The content of a header's extension, bounded: it is held in memory.
fn extension<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, SourceError> {
    let broken = |why: &str| SourceError::Archive(why.to_owned());
    let size = entry
        .header()
        .entry_size()
        .map_err(|_| broken("an extension has no size"))?;
    if size > EXTENSION_BYTES_MAX {
        return Err(broken("the extension of a header is too large"));
    }
    let mut content = Vec::new();
    entry
        .take(EXTENSION_BYTES_MAX)
        .read_to_end(&mut content)
        .map_err(|error| SourceError::Archive(error.to_string()))?;
    Ok(content)
}

fn long_name<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, SourceError> {
    let mut name = extension(entry)?;
    let end = name.iter().position(|it| *it == 0).unwrap_or(name.len());
    name.truncate(end);
    if name.len() > PATH_BYTES_MAX {
        return Err(SourceError::entry(&name, "whose name is too long"));
    }
    Ok(name)
}

fn pax(content: &[u8], ahead: &mut Ahead) -> Result<(), SourceError> {
    for (key, value) in records(content)? {
        match key {
            b"path" => ahead.path = Some(value.to_vec()),
            b"linkpath" => ahead.link = Some(value.to_vec()),
            // It would win over the header's, and other readers would see other entries.
            b"size" => return Err(bad_record("gives an entry another size")),
            _ if key.starts_with(b"GNU.sparse.") => return Err(bad_record("makes a file sparse")),
            _ => {}
        }
    }
    Ok(())
}

/// Records for all entries that follow: `git archive` writes a comment.
fn global(content: &[u8]) -> Result<(), SourceError> {
    for (key, _) in records(content)? {
        let harmful = matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.");
        if harmful {
            return Err(bad_record("changes all entries at once"));
        }
    }
    Ok(())
}

fn bad_record(what: &str) -> SourceError {
    SourceError::Archive(format!("a PAX record {what}"))
}

/// The records of a PAX header: `LENGTH KEY=VALUE\n`, each with its own length,
/// so that a value may hold line ends.
fn records(mut content: &[u8]) -> Result<Vec<Pair<'_>>, SourceError> {
    let mut records = Vec::new();
    while !content.is_empty() && content[0] != 0 {
        let (record, rest) = record(content).ok_or_else(|| bad_record("is broken"))?;
        records.push(record);
        content = rest;
    }
    Ok(records)
}

/// A key and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The first record, and what comes behind it.
fn record(content: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let space = content.iter().position(|it| *it == b' ')?;
    let digits = &content[..space];
    if digits.is_empty() || digits.len() > 6 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let body = content.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|it| *it == b'=')?;
    Some(((&body[..equals], &body[equals + 1..]), &content[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_by_their_length() {
        let content = b"12 path=a/b\n14 comment=a\nb\n\0\0";
        // A length that doesn't end at a line end is broken, not guessed at.
        assert!(records(content).is_err());
        let content = b"12 path=a/b\n15 comment=a\nb\n\0\0";
        let found = records(content).unwrap();
        assert_eq!(found, [(&b"path"[..], &b"a/b"[..]), (b"comment", b"a\nb")]);
        for broken in [
            &b"path=a\n"[..],
            b"99 path=a\n",
            b"3 a\n",
            b"-1 a=b\n",
            b"9999999 a=b\n",
        ] {
            assert!(records(broken).is_err(), "{broken:?}");
        }
    }
}
