//! One file a trace: `NAME.jsonl`, a message of OTLP JSON on each line, as OpenTelemetry's
//! file exporter writes it. Appended to, never synced: whoever needs a span for sure must
//! be able to make it again.

use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::proto::{ResourceSpans, TracesData};
use super::{count, spans};

/// Longest name: a UUID takes 36.
const NAME_BYTES_MAX: usize = 64;

/// Locks that the files share: one is held while a line is written.
const LOCKS: usize = 16;

/// Files that a lock remembers the size of. Of others it is read from the file.
const REMEMBERED_MAX: usize = 512;

/// How much one file may hold of what others send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Spans.
    pub spans_max: usize,
    /// Bytes.
    pub bytes_max: u64,
}

/// Who wrote a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The server itself, which knows what it does: there are few, and they are kept
    /// whatever else is there.
    Server,
    /// Somebody else: within the limits.
    Other,
}

/// What became of some spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// So many are in the file now.
    pub kept: usize,
    /// So many found no room.
    pub not_kept: usize,
    /// So many of this file in all found none, as far as this process knows.
    pub not_kept_in_all: usize,
}

/// What stands in a file.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stored {
    /// Each span once: as it was written last.
    pub resource_spans: Vec<ResourceSpans>,
    /// Some line can't be read: the server was killed while it wrote it, or the disk was
    /// full. The others are there.
    pub is_torn: bool,
}

/// The files of a directory. Clones are the same.
#[derive(Clone)]
pub struct TraceFiles(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    limits: Limits,
    hasher: foldhash::fast::FixedState,
    locks: [Mutex<HashMap<String, Used>>; LOCKS],
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    spans: usize,
    bytes: u64,
    not_kept: usize,
    /// Some may be others'.
    has_others: bool,
    /// The last line has no end.
    is_torn: bool,
}

type Remembered<'a> = MutexGuard<'a, HashMap<String, Used>>;

/// A message, without the need to own it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    resource_spans: &'a [ResourceSpans],
}

impl TraceFiles {
    /// Files in this directory, which is made if it isn't there.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(dir: &Path, limits: Limits) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            limits,
            hasher: foldhash::fast::FixedState::default(),
            locks: Default::default(),
        })))
    }

    /// Appends spans to the file of this name, as one line; of others' as many as there
    /// is room for.
    ///
    /// # Errors
    /// A name that can't be a file's, or what the system says: then nothing counts as
    /// kept, and a line that was begun is skipped by readers.
    pub fn append(
        &self,
        name: &str,
        writer: Writer,
        mut all: Vec<ResourceSpans>,
    ) -> io::Result<Kept> {
        let path = self.path(name)?;
        let mut remembered = self.lock(name);
        let mut file = open(&path)?;
        let mut used = match remembered.get(name) {
            Some(used) => *used,
            None => counted(&path, &file)?,
        };
        let came = count(&all);
        if writer == Writer::Other {
            keep_first(&mut all, self.0.limits.spans_max.saturating_sub(used.spans));
        }
        let mut kept = count(&all);
        let mut line = serde_json::to_vec(&Message {
            resource_spans: &all,
        })?;
        line.push(b'\n');
        let bytes = line.len() as u64;
        if writer == Writer::Other && used.bytes + bytes > self.0.limits.bytes_max {
            kept = 0;
        }
        if kept > 0 {
            if used.is_torn {
                line.insert(0, b'\n');
            }
            used.bytes += line.len() as u64;
            // One call, so that a kill leaves either a line or none, or the disk a torn one.
            let written = file.write_all(&line);
            used.is_torn = written.is_err();
            if written.is_err() {
                remember(&mut remembered, name, used);
            }
            written?;
            used.spans += kept;
            used.has_others |= writer == Writer::Other;
        }
        used.not_kept += came - kept;
        remember(&mut remembered, name, used);
        Ok(Kept {
            kept,
            not_kept: came - kept,
            not_kept_in_all: used.not_kept,
        })
    }

    /// How many spans of this file found no room, as far as this process knows.
    pub fn not_kept(&self, name: &str) -> usize {
        self.lock(name).get(name).map_or(0, |it| it.not_kept)
    }

    /// Whether there may be spans of others in the file.
    pub fn has_others(&self, name: &str) -> bool {
        let remembered = self.lock(name);
        match remembered.get(name) {
            Some(used) => used.has_others,
            None => self.path(name).is_ok_and(|it| it.exists()),
        }
    }

    /// What stands in the file; nothing where there is none.
    ///
    /// # Errors
    /// A name that can't be a file's, or what the system says.
    pub fn read(&self, name: &str) -> io::Result<Stored> {
        let path = self.path(name)?;
        match std::fs::read(&path) {
            Ok(bytes) => Ok(parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::default()),
            Err(error) => Err(error),
        }
    }

    /// Changes what stands in the file, all at once: a reader finds either all as it was
    /// or all as it will be. Durable when it returns. A line that can't be read goes.
    ///
    /// # Errors
    /// As for [`TraceFiles::read`]; then it is as it was.
    pub fn rewrite(&self, name: &str, change: impl FnOnce(&mut [ResourceSpans])) -> io::Result<()> {
        let path = self.path(name)?;
        // Held, so that no line comes in between.
        let mut remembered = self.lock(name);
        let mut stored = self.read(name)?;
        if stored.resource_spans.is_empty() {
            return Ok(());
        }
        change(&mut stored.resource_spans);
        let mut text = serde_json::to_vec(&Message {
            resource_spans: &stored.resource_spans,
        })?;
        text.push(b'\n');
        let new = self.0.dir.join(format!("{name}.jsonl.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(&self.0.dir)?.sync_all()?;
        if let Some(used) = remembered.get_mut(name) {
            used.bytes = text.len() as u64;
            used.is_torn = false;
        }
        Ok(())
    }

    /// Removes the file, if there is one; the bytes that are free again.
    ///
    /// # Errors
    /// A name that can't be a file's, or what the system says.
    pub fn delete(&self, name: &str) -> io::Result<u64> {
        let path = self.path(name)?;
        let mut remembered = self.lock(name);
        remembered.remove(name);
        let bytes = std::fs::metadata(&path).map_or(0, |it| it.len());
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'z' | b'-'));
        if !is_name {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a trace's name has 1 to 64 of the characters 0-9, a-z and -",
            ));
        }
        Ok(self.0.dir.join(format!("{name}.jsonl")))
    }

    fn lock(&self, name: &str) -> Remembered<'_> {
        let hash = self.0.hasher.hash_one(name);
        let index = usize::try_from(hash % LOCKS as u64).unwrap_or(0);
        self.0.locks[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of a file is used: nothing, or counted in it.
fn counted(path: &Path, file: &File) -> io::Result<Used> {
    if file.metadata()?.len() == 0 {
        return Ok(Used::default());
    }
    let bytes = std::fs::read(path)?;
    Ok(Used {
        spans: count(&parse(&bytes).resource_spans),
        bytes: bytes.len() as u64,
        not_kept: 0,
        has_others: true,
        is_torn: bytes.last().is_some_and(|it| *it != b'\n'),
    })
}

fn remember(remembered: &mut Remembered<'_>, name: &str, used: Used) {
    if remembered.len() >= REMEMBERED_MAX && !remembered.contains_key(name) {
        // Any: it can be counted again, but for what found no room.
        let any = remembered.iter().find(|it| it.1.not_kept == 0);
        let any = any.or_else(|| remembered.iter().next());
        if let Some(any) = any.map(|it| it.0.clone()) {
            remembered.remove(&any);
        }
    }
    remembered.insert(name.to_owned(), used);
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Drops all spans but the first.
fn keep_first(all: &mut Vec<ResourceSpans>, mut room: usize) {
    for resource in &mut *all {
        for scope in &mut resource.scope_spans {
            scope.spans.truncate(room);
            room -= scope.spans.len();
        }
        resource.scope_spans.retain(|it| !it.spans.is_empty());
    }
    all.retain(|it| !it.scope_spans.is_empty());
}

fn parse(bytes: &[u8]) -> Stored {
    let mut stored = Stored::default();
    for line in bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
        match serde_json::from_slice::<TracesData>(line) {
            Ok(it) => stored.resource_spans.extend(it.resource_spans),
            Err(_) => stored.is_torn = true,
        }
    }
    keep_last(&mut stored.resource_spans);
    stored
}

/// Of spans with the same id, the last: what is written again is what counts.
fn keep_last(all: &mut Vec<ResourceSpans>) {
    let mut seen = HashSet::new();
    let unique = spans(all).all(|it| seen.insert(it.span_id.clone()));
    if unique {
        return;
    }
    seen.clear();
    for resource in all.iter_mut().rev() {
        for scope in resource.scope_spans.iter_mut().rev() {
            scope.spans.reverse();
            scope.spans.retain(|it| seen.insert(it.span_id.clone()));
            scope.spans.reverse();
        }
        resource.scope_spans.retain(|it| !it.spans.is_empty());
    }
    all.retain(|it| !it.scope_spans.is_empty());
}

#[cfg(test)]
mod tests {
    use super::super::proto::{ScopeSpans, Span};
    use super::*;

    const LIMITS: Limits = Limits {
        spans_max: 5,
        bytes_max: 4_000,
    };

    fn files() -> (tempfile::TempDir, TraceFiles) {
        let dir = tempfile::tempdir().unwrap();
        let files = TraceFiles::open(&dir.path().join("traces"), LIMITS).unwrap();
        (dir, files)
    }

    /// A message of spans with these ids, each with a name.
    fn message(named: &[(u8, &str)]) -> Vec<ResourceSpans> {
        let span = |(id, name): &(u8, &str)| Span {
            trace_id: vec![1; 16],
            span_id: vec![*id; 8],
            name: (*name).to_owned(),
            ..Span::default()
        };
        vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: named.iter().map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }]
    }

    fn names(files: &TraceFiles) -> Vec<String> {
        let stored = files.read("a-1").unwrap();
        spans(&stored.resource_spans)
            .map(|it| it.name.clone())
            .collect()
    }

    #[test]
    fn a_span_that_is_written_again_counts_as_it_is_last() {
        let (_dir, files) = files();
        let append = |named| files.append("a-1", Writer::Server, message(named)).unwrap();
        append(&[(1, "one"), (2, "two")]);
        append(&[(3, "three"), (1, "one again")]);
        assert_eq!(names(&files), ["two", "three", "one again"]);
        assert_eq!(files.read("another").unwrap(), Stored::default());
    }

    #[test]
    fn others_find_room_within_the_limits_and_the_server_always() {
        let (_dir, files) = files();
        let append = |writer, named: &[(u8, &str)]| files.append("a-1", writer, message(named));
        append(Writer::Server, &[(1, "a"), (2, "b")]).unwrap();
        let many: Vec<(u8, &str)> = (10..20).map(|it| (it, "x")).collect();
        let kept = append(Writer::Other, &many).unwrap();
        assert_eq!((kept.kept, kept.not_kept, kept.not_kept_in_all), (3, 7, 7));
        let kept = append(Writer::Other, &many).unwrap();
        assert_eq!(
            (kept.kept, kept.not_kept, kept.not_kept_in_all),
            (0, 10, 17)
        );
        assert_eq!(files.not_kept("a-1"), 17);
        append(Writer::Server, &[(3, "c")]).unwrap();
        assert_eq!(names(&files).len(), 6);
        // Who comes later finds it in the file.
        let later = TraceFiles::open(&files.0.dir, LIMITS).unwrap();
        let kept = later.append("a-1", Writer::Other, message(&many)).unwrap();
        assert_eq!(kept.kept, 0);
        let large = "y".repeat(5_000);
        let kept = files.append("b", Writer::Other, message(&[(1, &large)]));
        assert_eq!(kept.unwrap().kept, 0);
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let (_dir, files) = files();
        files
            .append("a-1", Writer::Server, message(&[(1, "one")]))
            .unwrap();
        let path = files.path("a-1").unwrap();
        let torn = b"{\"resourceSpans\":[{\"sco";
        open(&path).unwrap().write_all(torn).unwrap();
        // As after a restart.
        let files = TraceFiles::open(&files.0.dir, LIMITS).unwrap();
        files
            .append("a-1", Writer::Server, message(&[(2, "two")]))
            .unwrap();
        assert_eq!(names(&files), ["one", "two"]);
        assert!(files.read("a-1").unwrap().is_torn);
    }

    #[test]
    fn a_rewritten_file_is_whole_and_a_deleted_one_is_gone() {
        let (_dir, files) = files();
        files
            .append("a-1", Writer::Server, message(&[(1, "one")]))
            .unwrap();
        files
            .append("a-1", Writer::Server, message(&[(2, "two")]))
            .unwrap();
        files
            .rewrite("a-1", |all| {
                for it in all.iter_mut().flat_map(|it| &mut it.scope_spans) {
                    it.spans.iter_mut().for_each(|it| it.name.push('!'));
                }
            })
            .unwrap();
        assert_eq!(names(&files), ["one!", "two!"]);
        files
            .rewrite("none", |_| panic!("there is nothing"))
            .unwrap();
        assert!(files.delete("a-1").unwrap() > 0);
        assert_eq!(names(&files).len(), 0);
        assert_eq!(files.delete("a-1").unwrap(), 0);
        let left = std::fs::read_dir(&files.0.dir).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let (_dir, files) = files();
        for name in ["", "..", "a/b", "A", "a.b", "\0", &"a".repeat(65)] {
            assert!(
                files
                    .append(name, Writer::Server, message(&[(1, "x")]))
                    .is_err()
            );
            assert!(files.read(name).is_err() && files.delete(name).is_err());
        }
    }
}
