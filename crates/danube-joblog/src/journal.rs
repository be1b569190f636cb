//! Overwrites stretches of a log's text files so that a crash half-way can be
//! made good: what is to be blanked is durable before the first byte goes.
//!
//! `<job>.blank` holds places only, never a value. Doing them again changes
//! nothing, so whoever finds the file does all of it once more and removes it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use danube_redact::Secrets;
use memchr::{memchr, memrchr};

use crate::files::{Paths, open_existing, open_private, read_into};
use crate::layout::TextFile;
use crate::logs::Folder;
use crate::types::Masked;

/// What stands at the start of a blanked line that has room for it. Fixed, so
/// that it says nothing of what stood there.
pub(crate) const MARKER: &[u8] = b"[redacted line]";

/// Bytes of an entry.
const ENTRY_BYTES: usize = 32;

/// Entries read at once.
const READ_ENTRIES: usize = 1024;

/// Bytes overwritten at once.
const FILL_BYTES: usize = 64 * 1024;

const MAGIC: &[u8; 3] = b"BLK";

/// Flag of the entry that ends a batch. A line may take several entries, and half
/// a line must not go: the other half of a value would never be found again.
const LAST_OF_BATCH: u8 = 8;

/// A stretch of one file that is to be blanked but for its ends of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: TextFile,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// A line begins at `from`.
    pub(crate) begins: bool,
    /// A line ends at `to`, in this file or in the next.
    pub(crate) ends: bool,
    /// Lines show the marker.
    pub(crate) marked: bool,
}

impl Place {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let base = match self.file {
            TextFile::Head => 0,
            TextFile::Tail(base) => base,
        };
        let flags = u8::from(self.begins) | u8::from(self.ends) << 1 | u8::from(self.marked) << 2;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&base.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.from.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.to.to_le_bytes());
        bytes[24] = flags;
        bytes[25..28].copy_from_slice(MAGIC);
        seal(&mut bytes);
        bytes
    }

    /// `None` for an entry that is torn or damaged.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let sealed = bytes.get(28..32)? == crc32fast::hash(&bytes[..28]).to_le_bytes();
        if !sealed || bytes[25..28] != *MAGIC {
            return None;
        }
        let word = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        Some(Self {
            file: match word(0)? {
                0 => TextFile::Head,
                base => TextFile::Tail(base),
            },
            from: word(8)?,
            to: word(16)?,
            begins: bytes[24] & 1 != 0,
            ends: bytes[24] & 2 != 0,
            marked: bytes[24] & 4 != 0,
        })
    }
}

/// Places as a journal has them: one batch.
pub(crate) fn encode(places: &[Place]) -> Vec<u8> {
    let mut bytes: Vec<u8> = places.iter().flat_map(Place::encode).collect();
    if let Some(last) = bytes.len().checked_sub(ENTRY_BYTES) {
        bytes[last + 24] |= LAST_OF_BATCH;
        seal(&mut bytes[last..]);
    }
    bytes
}

/// The places of a journal, as far as its batches are whole; none without one.
pub(crate) fn places(paths: &Paths) -> io::Result<Vec<Place>> {
    let Some(file) = open_existing(&paths.journal())? else {
        return Ok(Vec::new());
    };
    let (mut places, mut whole) = (Vec::new(), 0);
    entries(&file, u64::MAX, |_, place, is_last| {
        places.push(place);
        if is_last {
            whole = places.len();
        }
        Ok(())
    })?;
    places.truncate(whole);
    Ok(places)
}

fn seal(entry: &mut [u8]) {
    let sum = crc32fast::hash(&entry[..28]);
    entry[28..].copy_from_slice(&sum.to_le_bytes());
}

/// A blanking under way.
pub(crate) struct Journal<'a> {
    folder: &'a Folder,
    paths: &'a Paths,
    file: Option<File>,
    len: u64,
    /// Text files that were changed.
    touched: Vec<(TextFile, File)>,
    masked: Masked,
    buf: Vec<u8>,
}

impl<'a> Journal<'a> {
    /// Ends first what an earlier one left undone.
    pub(crate) fn open(folder: &'a Folder, paths: &'a Paths) -> io::Result<Self> {
        redo(folder, paths)?;
        Ok(Self::new(folder, paths))
    }

    fn new(folder: &'a Folder, paths: &'a Paths) -> Self {
        Self {
            folder,
            paths,
            file: None,
            len: 0,
            touched: Vec::new(),
            masked: Masked::default(),
            buf: Vec::new(),
        }
    }

    /// Blanks these places.
    pub(crate) fn blank(&mut self, places: &[Place]) -> io::Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let fresh = self.file.is_none();
        let file = match self.file.take() {
            Some(file) => file,
            None => open_private(&self.paths.journal())?,
        };
        let file = self.file.insert(file);
        let bytes = encode(places);
        self.folder.write_all_at(file, &bytes, self.len)?;
        self.len += bytes.len() as u64;
        self.folder.syncer.sync_file(file)?;
        if fresh {
            self.folder.made_file();
            self.folder.sync_dir()?;
        }
        // Before the first byte goes: whoever copies the log has the rest blanked, too.
        self.folder.blanked(self.paths.job(), places);
        places.iter().try_for_each(|it| self.fill(it))
    }

    /// Makes all durable and says how much that was.
    pub(crate) fn finish(mut self) -> io::Result<Masked> {
        for (_, file) in std::mem::take(&mut self.touched) {
            self.folder.syncer.sync_file(&file)?;
        }
        if self.file.is_some() {
            std::fs::remove_file(self.paths.journal())?;
        }
        Ok(self.masked)
    }

    fn fill(&mut self, place: &Place) -> io::Result<()> {
        let known = self.touched.iter().position(|it| it.0 == place.file);
        let index = match known {
            Some(index) => index,
            None => {
                let Some(file) = open_to_change(&self.paths.text(place.file))? else {
                    return Ok(());
                };
                self.touched.push((place.file, file));
                self.touched.len() - 1
            }
        };
        let file = &self.touched[index].1;
        let mut line = Line {
            begins: place.begins,
            marked: place.marked,
        };
        let mut at = place.from;
        while at < place.to {
            let left = usize::try_from(place.to - at).unwrap_or(usize::MAX);
            let len = left.min(FILL_BYTES);
            // One byte more tells whether a `\r` belongs to an end of line.
            self.buf.resize(len + 1, 0);
            let have = read_into(file, at, &mut self.buf)?;
            let ends = match self.buf.get(len).filter(|_| have > len) {
                Some(next) => *next == b'\n',
                None => place.ends,
            };
            let have = have.min(len);
            if have == 0 {
                break;
            }
            let chunk = &mut self.buf[..have];
            line.blank(chunk, ends, &mut self.masked);
            self.folder.write_all_at(file, chunk, at)?;
            at += have as u64;
        }
        Ok(())
    }
}

/// Blanks lines that come in chunks.
struct Line {
    /// The next byte begins a line.
    begins: bool,
    marked: bool,
}

impl Line {
    /// `ends`: a line ends right behind `chunk`.
    fn blank(&mut self, chunk: &mut [u8], ends: bool, masked: &mut Masked) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let (line, next) = rest.split_at_mut(end.unwrap_or(rest.len()));
            let cr = (end.is_some() || ends) && line.ends_with(b"\r");
            let len = line.len() - usize::from(cr);
            let line = &mut line[..len];
            line.fill(b' ');
            if self.begins && self.marked && len >= MARKER.len() {
                line[..MARKER.len()].copy_from_slice(MARKER);
            }
            masked.lines += u64::from(self.begins && len > 0);
            masked.bytes += len as u64;
            self.begins = end.is_some();
            rest = next.get_mut(1..).unwrap_or_default();
        }
    }
}

/// Blanks in memory the lines that hold a value.
pub(crate) fn blank_lines(bytes: &mut [u8], secrets: &Secrets) {
    let marked = secrets.ranges(MARKER).is_empty();
    for range in secrets.ranges(bytes) {
        let from = memrchr(b'\n', &bytes[..range.start]).map_or(0, |it| it + 1);
        let end = memchr(b'\n', &bytes[range.end - 1..]).map(|it| range.end - 1 + it);
        let to = end.unwrap_or(bytes.len());
        let begins = true;
        let mut line = Line { begins, marked };
        line.blank(&mut bytes[from..to], end.is_some(), &mut Masked::default());
    }
}

/// Does again what a crash may have left half done.
pub(crate) fn redo(folder: &Folder, paths: &Paths) -> io::Result<()> {
    let Some(file) = open_existing(&paths.journal())? else {
        return Ok(());
    };
    let mut journal = Journal::new(folder, paths);
    // Text is touched once its batch is durable, so a torn one means nothing.
    let mut whole = 0;
    entries(&file, u64::MAX, |end, _, last| {
        if last {
            whole = end;
        }
        Ok(())
    })?;
    entries(&file, whole, |_, place, _| journal.fill(&place))?;
    journal.file = Some(file);
    journal.finish()?;
    Ok(())
}

/// Shows the entries up to the place `to` in the file or the first that is no
/// entry: where each ends, and whether it is the last of a batch.
fn entries(
    file: &File,
    to: u64,
    mut show: impl FnMut(u64, Place, bool) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = 0;
    let mut bytes = vec![0; READ_ENTRIES * ENTRY_BYTES];
    while at < to {
        let have = read_into(file, at, &mut bytes)?;
        for entry in bytes[..have].chunks(ENTRY_BYTES) {
            let end = at + ENTRY_BYTES as u64;
            let Some(place) = Place::decode(entry).filter(|_| end <= to) else {
                return Ok(());
            };
            show(end, place, entry[24] & LAST_OF_BATCH != 0)?;
            at = end;
        }
        if have < bytes.len() {
            break;
        }
    }
    Ok(())
}

fn open_to_change(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
