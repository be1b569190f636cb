//! Reads an archive from its beginning to its end: hashes every file, keeps what is
//! wanted, and refuses what isn't in order. Of a large archive memory holds some dozen
//! bytes a job.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use danube_model::JobId;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::manifest::{About, FORMAT, Manifest, TEXT_BYTES_MAX};
use crate::names::{Item, LogFile};
use crate::read::{ReadError, each};
use crate::sums::{Sums, hex};

/// Bytes of a file of sealing keys; it has some hundred.
const KEYS_BYTES_MAX: u64 = 4 * 1024;

/// Bytes of the list of logs that weren't there: ten million ids.
const GONE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Bits of [`Seen`]: which of a job's files were there.
const HEAD: u8 = 1;
const INDEX: u8 = 2;
const JOURNAL: u8 = 4;
const TRACE: u8 = 8;

/// What was seen of a job's files.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    kinds: u8,
    pub(crate) head_bytes: u64,
    pub(crate) last_tail: Option<u64>,
}

impl Seen {
    /// Whether the log's first file is there.
    pub(crate) fn has_head(self) -> bool {
        self.kinds & HEAD != 0
    }
}

/// An archive while it is read, and after.
pub(crate) struct Unpacked {
    pub(crate) dir: PathBuf,
    /// Everything is kept, not only the database.
    keeps_all: bool,
    pub(crate) about: Option<About>,
    pub(crate) manifest: Option<Manifest>,
    /// The list of hashes of what was read.
    pub(crate) sums: Sums,
    /// The list of hashes that stands in the archive.
    pub(crate) told: Option<(File, String)>,
    plain: Vec<Item>,
    pub(crate) jobs: HashMap<JobId, Seen>,
    pipelines: HashSet<String>,
    pub(crate) seal_keys: Option<Zeroizing<Vec<u8>>>,
    pub(crate) gone: Vec<JobId>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Unpacked {
    /// For an archive that is unpacked into `dir`, which is empty.
    pub(crate) fn new(dir: &Path, keeps_all: bool) -> io::Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            keeps_all,
            about: None,
            manifest: None,
            sums: Sums::new(dir)?,
            told: None,
            plain: Vec::new(),
            jobs: HashMap::new(),
            pipelines: HashSet::new(),
            seal_keys: None,
            gone: Vec::new(),
            files: 0,
            bytes: 0,
        })
    }

    /// Reads all of it.
    pub(crate) fn read(&mut self, archive: impl Read) -> Result<(), ReadError> {
        each(archive, |item, bytes, content| {
            self.take(item, bytes, content)
        })?;
        if self.manifest.is_none() {
            let what = "it ends before its manifest: it was cut off";
            return Err(ReadError::Broken(what.to_owned()));
        }
        Ok(())
    }

    fn take(&mut self, item: &Item, bytes: u64, content: &mut dyn Read) -> Result<(), ReadError> {
        let name = item.name();
        self.in_order(item)?;
        self.claim(item, bytes)?;
        let mut kept = Zeroizing::new(Vec::new());
        let mut into = Into {
            memory: memory_max(item).map(|max| (&mut *kept, max)),
            file: self.file_for(item)?,
        };
        let hash = copy(&name, bytes, content, &mut into)?;
        let file = into.file;
        match item {
            Item::Sums => self.told = file.map(|it| (it, hex(&hash))),
            Item::Manifest => self.manifest = Some(parse(&name, &kept)?),
            _ => {
                self.sums.add(&name, &hash)?;
                self.files += 1;
                self.bytes += bytes;
            }
        }
        match item {
            Item::About => self.about = Some(known(&kept)?),
            Item::SealKey => self.seal_keys = Some(kept),
            Item::Gone => self.gone = ids(&kept)?,
            _ => {}
        }
        Ok(())
    }

    /// What it is comes first, the list of hashes and the manifest last.
    fn in_order(&self, item: &Item) -> Result<(), ReadError> {
        let fits = match item {
            Item::About => self.files == 0,
            Item::Manifest => self.told.is_some() && self.manifest.is_none(),
            _ => self.about.is_some() && self.told.is_none(),
        };
        let why = match item {
            _ if fits => return Ok(()),
            _ if self.about.is_none() => "it doesn't begin as a backup does".to_owned(),
            _ => format!("{} stands where it can't", item.name()),
        };
        Err(ReadError::Broken(why))
    }

    /// Each file is there once.
    fn claim(&mut self, item: &Item, bytes: u64) -> Result<(), ReadError> {
        let is_new = match item {
            Item::Log(job, file) => {
                let seen = self.jobs.entry(*job).or_default();
                match file {
                    LogFile::Tail(base) => {
                        let is_new = seen.last_tail.is_none_or(|it| it < *base);
                        seen.last_tail = Some(*base);
                        is_new
                    }
                    LogFile::Head => {
                        seen.head_bytes = bytes;
                        first(seen, HEAD)
                    }
                    LogFile::Index => first(seen, INDEX),
                    LogFile::Journal => first(seen, JOURNAL),
                }
            }
            Item::Trace(job) => first(self.jobs.entry(*job).or_default(), TRACE),
            Item::Pipeline(name) => self.pipelines.insert(name.clone()),
            other => {
                let is_new = !self.plain.contains(other);
                self.plain.push(other.clone());
                is_new
            }
        };
        if is_new {
            return Ok(());
        }
        Err(ReadError::Broken(format!("{} is there twice", item.name())))
    }

    /// Where the file is kept, if it is.
    fn file_for(&self, item: &Item) -> Result<Option<File>, ReadError> {
        if *item == Item::Sums {
            return Ok(Some(tempfile::tempfile_in(&self.dir)?));
        }
        let is_kept = self.keeps_all || *item == Item::Database;
        let Some(path) = item.path().filter(|_| is_kept) else {
            return Ok(None);
        };
        // The directory is ours and new: nothing can be there, and no link either.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let options = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        Ok(Some(options.open(self.dir.join(path))?))
    }
}

fn first(seen: &mut Seen, kind: u8) -> bool {
    let is_new = seen.kinds & kind == 0;
    seen.kinds |= kind;
    is_new
}

/// Bytes up to which a file is held in memory; none for one that isn't.
fn memory_max(item: &Item) -> Option<u64> {
    match item {
        Item::About | Item::Manifest => Some(TEXT_BYTES_MAX),
        Item::SealKey => Some(KEYS_BYTES_MAX),
        Item::Gone => Some(GONE_BYTES_MAX),
        _ => None,
    }
}

/// Where the content of a file goes.
struct Into<'a> {
    memory: Option<(&'a mut Vec<u8>, u64)>,
    file: Option<File>,
}

/// Copies a file and hashes it.
fn copy(
    name: &str,
    bytes: u64,
    content: &mut dyn Read,
    into: &mut Into<'_>,
) -> Result<[u8; 32], ReadError> {
    if into.memory.as_ref().is_some_and(|(_, max)| bytes > *max) {
        return Err(ReadError::Broken(format!("{name} is too large")));
    }
    let (mut hash, mut left) = (Sha256::new(), bytes);
    let mut piece = Zeroizing::new(vec![0; PIECE_BYTES]);
    while left > 0 {
        let have = match content.read(&mut piece) {
            Ok(0) => {
                let what = format!("it ends in the middle of {name}: it was cut off");
                return Err(ReadError::Broken(what));
            }
            Ok(have) => have,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(crate::read::broken(&error)),
        };
        let piece = &piece[..have];
        hash.update(piece);
        if let Some((memory, _)) = &mut into.memory {
            memory.extend_from_slice(piece);
        }
        if let Some(file) = &mut into.file {
            file.write_all(piece)?;
        }
        left = left.saturating_sub(have as u64);
    }
    Ok(hash.finalize().into())
}

/// What an archive is, if this program can read it.
fn known(text: &[u8]) -> Result<About, ReadError> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = parse("about.json", text)?;
    if format > FORMAT {
        let what = format!(
            "it has format {format} and this danube knows {FORMAT}; use the version that made it"
        );
        return Err(ReadError::Broken(what));
    }
    parse("about.json", text)
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, text: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(text)
        .map_err(|error| ReadError::Broken(format!("{name} can't be read: {error}")))
}

fn ids(text: &[u8]) -> Result<Vec<JobId>, ReadError> {
    let text = String::from_utf8_lossy(text);
    let ids = text.lines().map(str::parse).collect::<Result<_, _>>();
    ids.map_err(|_| ReadError::Broken("gone.txt holds something else than ids".to_owned()))
}

/// Makes the folders that files of an archive lie in.
pub(crate) fn make_folders(dir: &Path) -> io::Result<()> {
    for name in ["logs", "traces", "pipelines"] {
        let mut folder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(dir.join(name))?;
    }
    Ok(())
}
