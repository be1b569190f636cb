//! Takes a zip apart, after a look at how much its directory would cost.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use danube_model::playbook::source::PATH_BYTES_MAX;
use memchr::memmem;
use zip::{CompressionMethod, ZipArchive};

use super::Ratio;
use crate::confine::Confined;
use crate::error::SourceError;
use crate::limits::ENTRIES_MAX;

/// What each entry of a zip's directory begins with.
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";

/// Kinds of files in the upper bits of a Unix mode.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const PLAIN: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// Unpacks a zip of so many bytes.
pub(super) fn unpack(
    mut archive: File,
    size: u64,
    into: &mut Confined<'_>,
) -> Result<(), SourceError> {
    let broken = |error: zip::result::ZipError| SourceError::Archive(error.to_string());
    // The reader keeps every entry in memory, from whichever directory it takes
    // for the right one. So all that there could be are counted first.
    if directory_entries(&mut archive).map_err(SourceError::io("read the archive"))? > ENTRIES_MAX {
        return Err(SourceError::too_many(ENTRIES_MAX));
    }
    let mut zip = ZipArchive::new(BufReader::new(archive)).map_err(broken)?;
    if zip.has_duplicate_names() {
        return Err(SourceError::Archive("a name stands there twice".to_owned()));
    }
    if zip.has_overlapping_entries().map_err(broken)? {
        let why = "its entries lie on top of each other, as those of a bomb do";
        return Err(SourceError::Archive(why.to_owned()));
    }
    let mut budget = Ratio::new(io::empty(), size);
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(broken)?;
        let name = entry.name_raw().to_vec();
        if entry.encrypted() {
            return Err(SourceError::entry(&name, "which is encrypted"));
        }
        let method = entry.compression();
        if !matches!(
            method,
            CompressionMethod::Stored | CompressionMethod::Deflated
        ) {
            let why = "which is packed by a method other than deflate";
            return Err(SourceError::entry(&name, why));
        }
        drop(entry);
        let mut entry = zip.by_index(index).map_err(broken)?;
        let mode = entry.unix_mode().unwrap_or(0);
        let kind = mode & KIND;
        if kind == LINK {
            let mut target = Vec::new();
            (&mut entry)
                .take(PATH_BYTES_MAX as u64 + 1)
                .read_to_end(&mut target)
                .map_err(|error| SourceError::Archive(error.to_string()))?;
            into.link(&name, &target)?;
        } else if kind == DIRECTORY || name.ends_with(b"/") {
            into.directory(&name)?;
        } else if kind == 0 || kind == PLAIN {
            let mut content = Ratio {
                inner: entry,
                left: budget.left,
            };
            into.file(&name, mode & 0o100 != 0, &mut content)?;
            budget.left = content.left;
        } else {
            return Err(SourceError::entry(&name, "a device, a pipe or a socket"));
        }
    }
    Ok(())
}

fn directory_entries(archive: &mut File) -> io::Result<usize> {
    archive.rewind()?;
    let finder = memmem::Finder::new(DIRECTORY_ENTRY);
    let keep = DIRECTORY_ENTRY.len() - 1;
    let mut piece = vec![0; 64 * 1024];
    let (mut held, mut found) = (0, 0);
    loop {
        let count = archive.read(&mut piece[held..])?;
        if count == 0 {
            archive.rewind()?;
            return Ok(found);
        }
        let end = held + count;
        found += finder.find_iter(&piece[..end]).count();
        // One that is cut in two is found with the next piece.
        let kept = keep.min(end);
        piece.copy_within(end - kept..end, 0);
        held = kept;
    }
}
