//! Unpacks an archive of a kind that its first bytes tell, never its name.

mod tar;
mod zip;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;

use crate::confine::Confined;
use crate::error::SourceError;
use crate::limits::{RATIO_FREE_BYTES, RATIO_MAX};

pub(crate) use tar::unpack as unpack_tar;

/// Where a tar says that it is one.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// First bytes of formats that we know and don't unpack.
const OTHERS: [(&[u8], &str); 5] = [
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!", "RAR"),
];

/// Unpacks the archive into the directory.
pub(crate) fn unpack(mut archive: File, into: &mut Confined<'_>) -> Result<(), SourceError> {
    let read = SourceError::io("read the downloaded archive");
    let mut head = [0; 512];
    let (count, size) = look(&mut archive, &mut head).map_err(read)?;
    let head = &head[..count];
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        zip::unpack(archive, size, into)?;
    } else if head.starts_with(b"\x1f\x8b") {
        let plain = MultiGzDecoder::new(BufReader::new(archive));
        unpack_tar(Ratio::new(plain, size), into)?;
    } else if head.get(TAR_MAGIC) == Some(b"ustar") {
        unpack_tar(BufReader::new(archive), into)?;
    } else {
        let other = OTHERS.iter().find(|(magic, _)| head.starts_with(magic));
        let found = other.map_or_else(
            || "it is none of the kinds that are unpacked".to_owned(),
            |(_, name)| format!("it is {name}"),
        );
        return Err(SourceError::Archive(format!(
            "{found}; make it a tar, tar.gz or zip"
        )));
    }
    into.finish()
}

fn look(archive: &mut File, head: &mut [u8]) -> io::Result<(usize, u64)> {
    let size = archive.seek(SeekFrom::End(0))?;
    archive.rewind()?;
    let mut count = 0;
    while count < head.len() {
        match archive.read(&mut head[count..])? {
            0 => break,
            more => count += more,
        }
    }
    archive.rewind()?;
    Ok((count, size))
}

/// Ends a stream that grows too much on the way: a bomb is found while it is
/// still small. What is skipped counts, too.
struct Ratio<R> {
    inner: R,
    left: u64,
}

impl<R> Ratio<R> {
    fn new(inner: R, packed_bytes: u64) -> Self {
        let left = RATIO_FREE_BYTES.max(packed_bytes.saturating_mul(RATIO_MAX));
        Self { inner, left }
    }
}

impl<R: Read> Read for Ratio<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!(
                "it becomes more than {RATIO_MAX} times as large when unpacked, as a bomb does"
            ))
        })?;
        Ok(count)
    }
}
