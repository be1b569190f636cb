//! One file a trace: `NAME.jsonl`, a message of OTLP JSON on each line, as OpenTelemetry's
//! file exporter writes it. Appended to, never synced: whoever needs a span for sure must
//! be able to make it again.
//!
//! A line of spans that others sent says so, in a field that readers of OTLP skip: nobody
//! stands in for the server, whatever ids they give to their spans.

use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::proto::{ResourceSpans, Value};
use super::{attribute, count, spans};

/// Longest name: a UUID takes 36.
const NAME_BYTES_MAX: usize = 64;

/// Locks that the files share: one is held while a line is written.
const LOCKS: usize = 16;

/// Files that a lock remembers the size of. Of others it is read from the file.
const REMEMBERED_MAX: usize = 512;

/// The attribute of the server's span that tells how many found no room: from there the
/// count goes on after a restart.
pub const NOT_KEPT: &str = "danube.spans_not_kept";

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
    /// So many of this file in all found none, as far as is known (see [`NOT_KEPT`]).
    pub not_kept_in_all: usize,
}

/// What stands in a file. Each span once: as it was written last, and as the server wrote
/// it if it did.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stored {
    /// Spans of the server.
    pub own: Vec<ResourceSpans>,
    /// Spans of others; none has the id of one of the server's.
    pub received: Vec<ResourceSpans>,
    /// Some line can't be read: the server was killed while it wrote it, or the disk was
    /// full. The others are there.
    pub is_torn: bool,
}

impl Stored {
    /// With these of the server that don't stand there yet: they too count more than what
    /// others sent under their ids.
    #[must_use]
    pub fn with(mut self, made: Vec<ResourceSpans>) -> Self {
        let mut seen = spans(&made).map(|it| it.span_id.clone()).collect();
        keep_last(&mut self.received, &mut seen);
        self.own.extend(made);
        self
    }

    /// All spans, those of the server first.
    #[must_use]
    pub fn all(mut self) -> Vec<ResourceSpans> {
        self.own.append(&mut self.received);
        self.own
    }
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    danube_received: bool,
}

/// A line, as it is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Line {
    resource_spans: Vec<ResourceSpans>,
    danube_received: bool,
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
        let mut line = Vec::new();
        write_line(&mut line, &all, writer)?;
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

    /// How many spans of this file found no room, as far as is known; 0 for a file that
    /// nothing was appended to since the start.
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
    /// or all as it will be. Durable when it returns. A line that can't be read goes, for
    /// nobody can say what it holds.
    ///
    /// # Errors
    /// As for [`TraceFiles::read`]; then it is as it was.
    pub fn rewrite(
        &self,
        name: &str,
        mut change: impl FnMut(&mut [ResourceSpans]),
    ) -> io::Result<()> {
        let path = self.path(name)?;
        // Held, so that no line comes in between.
        let mut remembered = self.lock(name);
        let mut stored = self.read(name)?;
        if stored == Stored::default() {
            return Ok(());
        }
        let mut text = Vec::new();
        for (writer, all) in [
            (Writer::Server, &mut stored.own),
            (Writer::Other, &mut stored.received),
        ] {
            if !all.is_empty() {
                change(all);
                write_line(&mut text, all, writer)?;
            }
        }
        let new = self.new_path(name);
        let replaced = replace(&new, &path, &text);
        if replaced.is_err() {
            // There is nothing to do about one that stays: it goes with the file.
            let _ = std::fs::remove_file(&new);
        }
        replaced?;
        File::open(&self.0.dir)?.sync_all()?;
        if let Some(used) = remembered.get_mut(name) {
            used.spans = count(&stored.own) + count(&stored.received);
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
        // From a kill while it was rewritten.
        gone(std::fs::remove_file(self.new_path(name)))?;
        let bytes = std::fs::metadata(&path).map_or(0, |it| it.len());
        gone(std::fs::remove_file(&path))?;
        Ok(bytes)
    }

    /// What a file is written as before it takes the place of the old one. The name must
    /// be one of a file.
    /// Names of the traces that were last written before that time.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn older_than(&self, before: SystemTime) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|it| it.strip_suffix(".jsonl")) else {
                continue;
            };
            // One that was deleted meanwhile has no time.
            let changed = entry.metadata().and_then(|it| it.modified());
            if changed.is_ok_and(|it| it < before) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn new_path(&self, name: &str) -> PathBuf {
        self.0.dir.join(format!("{name}.jsonl.new"))
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
    let stored = parse(&bytes);
    let told = spans(&stored.own).filter_map(|it| match attribute(&it.attributes, NOT_KEPT) {
        Some(Value::IntValue(number)) => usize::try_from(*number).ok(),
        _ => None,
    });
    Ok(Used {
        spans: count(&stored.own) + count(&stored.received),
        bytes: bytes.len() as u64,
        not_kept: told.max().unwrap_or(0),
        has_others: !stored.received.is_empty(),
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

/// Puts the text where a reader finds it, all at once.
fn replace(new: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

/// A file that wasn't there is gone too.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write_line(out: &mut Vec<u8>, all: &[ResourceSpans], writer: Writer) -> io::Result<()> {
    let message = Message {
        resource_spans: all,
        danube_received: writer == Writer::Other,
    };
    serde_json::to_writer(&mut *out, &message)?;
    out.push(b'\n');
    Ok(())
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
        match serde_json::from_slice::<Line>(line) {
            Ok(it) if it.danube_received => stored.received.extend(it.resource_spans),
            Ok(it) => stored.own.extend(it.resource_spans),
            Err(_) => stored.is_torn = true,
        }
    }
    let mut seen = HashSet::new();
    keep_last(&mut stored.own, &mut seen);
    keep_last(&mut stored.received, &mut seen);
    stored
}

/// Of spans with the same id the last, unless it was seen before: what is written again is
/// what counts.
fn keep_last(all: &mut Vec<ResourceSpans>, seen: &mut HashSet<Vec<u8>>) {
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
    use super::super::pair;
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
        let all = stored.all();
        spans(&all).map(|it| it.name.clone()).collect()
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
    fn nobody_stands_in_for_the_server() {
        let (_dir, files) = files();
        let append = |files: &TraceFiles, writer, named: &[(u8, &str)]| {
            files.append("a-1", writer, message(named)).unwrap();
        };
        append(
            &files,
            Writer::Other,
            &[(1, "forged"), (2, "test"), (3, "forged")],
        );
        append(&files, Writer::Server, &[(1, "job")]);
        append(&files, Writer::Other, &[(1, "forged again")]);
        files.rewrite("a-1", |_| {}).unwrap();
        // Who wrote what outlives a restart and a rewrite.
        let files = TraceFiles::open(&files.0.dir, LIMITS).unwrap();
        let stored = files.read("a-1").unwrap();
        let name = |all: &[ResourceSpans]| -> Vec<String> {
            spans(all).map(|it| it.name.clone()).collect()
        };
        assert_eq!(name(&stored.own), ["job"]);
        assert_eq!(name(&stored.received), ["test", "forged"]);
        // One that isn't written yet counts more too.
        let shown = stored.with(message(&[(3, "request")])).all();
        assert_eq!(name(&shown), ["job", "request", "test"]);
    }

    #[test]
    fn how_many_found_no_room_is_known_after_a_restart() {
        let (_dir, files) = files();
        let mut note = message(&[(9, "12 spans not kept")]);
        let span = &mut note[0].scope_spans[0].spans[0];
        span.attributes = vec![pair(NOT_KEPT, 12_i64)];
        files.append("a-1", Writer::Server, note.clone()).unwrap();
        let many: Vec<(u8, &str)> = (10..20).map(|it| (it, "x")).collect();
        let later = TraceFiles::open(&files.0.dir, LIMITS).unwrap();
        let kept = later.append("a-1", Writer::Other, message(&many)).unwrap();
        assert_eq!((kept.not_kept, kept.not_kept_in_all), (6, 18));
        // Others are not believed.
        files.append("b", Writer::Other, note).unwrap();
        let later = TraceFiles::open(&files.0.dir, LIMITS).unwrap();
        let kept = later.append("b", Writer::Other, message(&many)).unwrap();
        assert_eq!((kept.not_kept, kept.not_kept_in_all), (6, 6));
    }

    #[test]
    fn a_rewrite_leaves_nothing_that_nobody_can_read() {
        let (_dir, files) = files();
        let path = files.path("a-1").unwrap();
        let torn = b"{\"resourceSpans\":[{\"a secret";
        open(&path).unwrap().write_all(torn).unwrap();
        files
            .rewrite("a-1", |_| panic!("there is nothing"))
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        // As a kill in the middle of one leaves it.
        std::fs::write(files.new_path("a-1"), torn).unwrap();
        files.delete("a-1").unwrap();
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
