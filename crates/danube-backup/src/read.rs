//! Reads an archive entry by entry and refuses whatever no archive of ours has.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::names::Item;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Bytes with which a compressed archive begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why an archive can't be read on.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It isn't as ours are; a sentence.
    Broken(String),
    /// What is read can't be kept.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Shows each file of the archive, in order: what it is, its bytes, and its content,
/// of which all must be read.
pub(crate) fn each(
    from: impl Read,
    mut show: impl FnMut(&Item, u64, &mut dyn Read) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
    let head = io::BufRead::fill_buf(&mut from).map_err(|error| broken(&error))?;
    if head.starts_with(&GZIP) {
        plain(MultiGzDecoder::new(from), &mut show)
    } else {
        plain(from, &mut show)
    }
}

type Show<'a> = dyn FnMut(&Item, u64, &mut dyn Read) -> Result<(), ReadError> + 'a;

fn plain(from: impl Read, show: &mut Show<'_>) -> Result<(), ReadError> {
    let mut archive = Archive::new(from);
    // Extensions of a header are headers of their own then, which ours don't have.
    for entry in archive.entries().map_err(|it| broken(&it))?.raw(true) {
        let mut entry = entry.map_err(|it| broken(&it))?;
        let name = entry.header().path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&name).into_owned();
        if !matches!(entry.header().entry_type(), EntryType::Regular) {
            let what = format!("{shown:?} is no plain file, as all files of a backup are");
            return Err(ReadError::Broken(what));
        }
        let item = std::str::from_utf8(&name).ok().and_then(Item::parse);
        let item = item.ok_or_else(|| {
            ReadError::Broken(format!("{shown:?} is a name that no file of a backup has"))
        })?;
        let bytes = entry.header().entry_size().map_err(|it| broken(&it))?;
        show(&item, bytes, &mut entry)?;
    }
    end(archive.into_inner())
}

/// Nothing but padding follows. Reads a compressed archive to its own checksum.
fn end(mut rest: impl Read) -> Result<(), ReadError> {
    let mut piece = [0; 4096];
    loop {
        match rest.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(have) if piece[..have].iter().all(|it| *it == 0) => {}
            Ok(_) => {
                let what = "something follows the end of the archive";
                return Err(ReadError::Broken(what.to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error)),
        }
    }
}

pub(crate) fn broken(error: &io::Error) -> ReadError {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => format!("it can't be read: {error}"),
    };
    ReadError::Broken(what)
}
