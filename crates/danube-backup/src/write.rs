//! Writes an archive: a plain tar, every file hashed on its way.

use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::names::Item;
use crate::sums::Sums;

/// Bytes of a block of a tar.
const BLOCK_BYTES: usize = 512;

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 128 * 1024;

/// What to do with a file that turns out to be shorter than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shorter {
    /// Something is wrong.
    Refuse,
    /// Its reader takes this byte for nothing.
    Fill(u8),
}

/// An archive on its way out.
pub(crate) struct Archive<W> {
    out: W,
    /// Gone once the list stands in the archive.
    sums: Option<Sums>,
    files: u64,
    bytes: u64,
    piece: Vec<u8>,
}

impl<W: Write> Archive<W> {
    /// Begins one; what must be remembered until its end lies in `dir`.
    pub(crate) fn new(out: W, dir: &Path) -> io::Result<Self> {
        Ok(Self {
            out,
            sums: Some(Sums::new(dir)?),
            files: 0,
            bytes: 0,
            piece: vec![0; PIECE_BYTES],
        })
    }

    /// Files so far, and their bytes.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.files, self.bytes)
    }

    /// Adds a small file.
    pub(crate) fn text(&mut self, item: &Item, content: &[u8]) -> io::Result<()> {
        self.file(item, content.len() as u64, content, Shorter::Refuse)
    }

    /// Adds the first `bytes` bytes of a file.
    pub(crate) fn file(
        &mut self,
        item: &Item,
        bytes: u64,
        mut from: impl Read,
        shorter: Shorter,
    ) -> io::Result<()> {
        let name = item.name();
        let hash = self.entry(&name, bytes, &mut from, shorter)?;
        if let Some(sums) = &mut self.sums {
            sums.add(&name, &hash)?;
        }
        self.files += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Adds the list of hashes; its own hash. Only the manifest may follow.
    pub(crate) fn list(&mut self) -> io::Result<String> {
        let Some(sums) = self.sums.take() else {
            return Err(io::Error::other("the list of hashes is written already"));
        };
        let (hash, bytes) = (sums.hash(), sums.bytes());
        let mut list = sums.into_reader()?;
        self.entry(&Item::Sums.name(), bytes, &mut list, Shorter::Refuse)?;
        Ok(hash)
    }

    /// Adds the manifest and ends the archive.
    pub(crate) fn finish(mut self, manifest: &[u8]) -> io::Result<()> {
        let (name, bytes) = (Item::Manifest.name(), manifest.len() as u64);
        self.entry(&name, bytes, &mut &*manifest, Shorter::Refuse)?;
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.out.flush()
    }

    /// Writes one entry; the hash of its content.
    fn entry(
        &mut self,
        name: &str,
        bytes: u64,
        from: &mut dyn Read,
        shorter: Shorter,
    ) -> io::Result<[u8; 32]> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(bytes);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        let mut hash = Sha256::new();
        let mut left = bytes;
        let mut ended = false;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let piece = &mut self.piece[..want];
            let mut have = if ended { 0 } else { read(from, piece, name)? };
            if have == 0 {
                ended = true;
                let Shorter::Fill(with) = shorter else {
                    let what = format!("{name} got shorter by {left} bytes while it was copied");
                    return Err(io::Error::other(what));
                };
                piece.fill(with);
                have = piece.len();
            }
            hash.update(&piece[..have]);
            self.out.write_all(&piece[..have])?;
            left -= have as u64;
        }
        let over = usize::try_from(bytes % BLOCK_BYTES as u64).unwrap_or(0);
        if over > 0 {
            self.out.write_all(&[0; BLOCK_BYTES][over..])?;
        }
        Ok(hash.finalize().into())
    }
}

fn read(from: &mut dyn Read, piece: &mut [u8], name: &str) -> io::Result<usize> {
    loop {
        match from.read(piece) {
            Ok(have) => return Ok(have),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        }
    }
}
