//! Writes traces behind the back of whoever made them: a file each is the dearest part of a
//! trace, and no job waits for it. Whoever reads one has it written first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::setpriority_process;

use super::files::{TraceFiles, Writer};
use super::proto::ResourceSpans;
use crate::tasks;

/// Files that wait at most: ten seconds of the busiest server.
pub const FILES_MAX: usize = 4_096;

/// Bytes that wait at most, as they are on the wire; in memory it is about three times as
/// much.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long the thread lets come what comes together: it is woken seldom then.
const LINGER: Duration = Duration::from_millis(20);

/// The least of priorities: it takes what jobs leave of the processors.
const NICE: i32 = 19;

/// How long a reader waits for a disk that takes a file.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Spans of the server on their way into their files. Clones are the same.
#[derive(Clone)]
pub struct Later(Arc<Shared>);

struct Shared {
    files: TraceFiles,
    state: Mutex<State>,
    /// Something came, was written, or it is the end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: HashMap<String, Waiting>,
    /// Who came when, so that the first is written first.
    order: BTreeMap<u64, String>,
    next: u64,
    bytes: usize,
    /// Names whose file is being written.
    busy: HashSet<String>,
    left_out: u64,
    is_closed: bool,
}

struct Waiting {
    turn: u64,
    bytes: usize,
    spans: Vec<ResourceSpans>,
}

impl Later {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(files: TraceFiles) -> io::Result<Self> {
        let later = Self::unstarted(files);
        let shared = Arc::clone(&later.0);
        thread::Builder::new()
            .name("trace-writer".to_owned())
            .spawn(move || {
                // Of this thread alone. Refused or not, it writes.
                let _ = setpriority_process(None, NICE);
                shared.run();
            })?;
        Ok(later)
    }

    fn unstarted(files: TraceFiles) -> Self {
        Self(Arc::new(Shared {
            files,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Takes spans of the server for the file of this name, behind those that it was given
    /// before. Never waits. Where too much waits already, what came first is left out: a
    /// server can make its spans again.
    pub fn push(&self, name: &str, spans: Vec<ResourceSpans>) {
        let bytes = spans.iter().map(Message::encoded_len).sum();
        let mut state = self.0.lock();
        let is_first = state.waiting.is_empty();
        state.add(name, spans, bytes);
        state.fit();
        drop(state);
        if is_first {
            self.0.changed.notify_all();
        }
    }

    /// Has what waits for this file written, before somebody reads or changes it. It can't
    /// be known how that went; on a disk that hangs it waits for 5 seconds.
    pub fn settle(&self, name: &str) {
        let until = Instant::now() + SETTLE_MAX;
        let mut state = self.0.lock();
        while state.busy.contains(name) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(self.0.write(state, name));
    }

    /// How many files were left out, because too many waited.
    pub fn left_out(&self) -> u64 {
        self.0.lock().left_out
    }

    /// Has all of it written and ends the thread; `false` where that takes longer.
    pub fn finish(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.changed.notify_all();
        while !(state.waiting.is_empty() && state.busy.is_empty()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole whenever it is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let task = tasks::thread("trace-writer");
        let mut state = self.lock();
        loop {
            task.rest();
            while state.waiting.is_empty() {
                if state.is_closed {
                    return;
                }
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
            task.beat();
            let goes_on = |state: &mut State| !state.is_closed;
            let waited = self.changed.wait_timeout_while(state, LINGER, goes_on);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            // What comes meanwhile lets the next linger.
            let names: Vec<String> = state.order.values().cloned().collect();
            for name in names {
                state = self.write(state, &name);
            }
        }
    }

    /// Writes what waits for this file, unless somebody does.
    fn write<'a>(&'a self, mut state: MutexGuard<'a, State>, name: &str) -> MutexGuard<'a, State> {
        if state.busy.contains(name) {
            return state;
        }
        let Some(spans) = state.take(name) else {
            return state;
        };
        state.busy.insert(name.to_owned());
        drop(state);
        // What can't be written is made anew for whoever reads it.
        let _ = self.files.append(name, Writer::Server, spans);
        let mut state = self.lock();
        state.busy.remove(name);
        self.changed.notify_all();
        state
    }
}

impl State {
    fn add(&mut self, name: &str, spans: Vec<ResourceSpans>, bytes: usize) {
        self.bytes += bytes;
        if let Some(it) = self.waiting.get_mut(name) {
            it.spans.extend(spans);
            it.bytes += bytes;
            return;
        }
        let turn = self.next;
        self.next += 1;
        self.order.insert(turn, name.to_owned());
        let waiting = Waiting { turn, bytes, spans };
        self.waiting.insert(name.to_owned(), waiting);
    }

    fn take(&mut self, name: &str) -> Option<Vec<ResourceSpans>> {
        let it = self.waiting.remove(name)?;
        self.order.remove(&it.turn);
        self.bytes -= it.bytes;
        Some(it.spans)
    }

    fn fit(&mut self) {
        while self.waiting.len() > FILES_MAX || self.bytes > BYTES_MAX {
            let Some((_, name)) = self.order.first_key_value() else {
                return;
            };
            let name = name.clone();
            self.take(&name);
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Limits;
    use super::super::proto::{ScopeSpans, Span};
    use super::super::spans;
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn files() -> (tempfile::TempDir, TraceFiles) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            spans_max: 10,
            bytes_max: 1_000,
        };
        let files = TraceFiles::open(dir.path(), limits).unwrap();
        (dir, files)
    }

    fn span(id: u8, name: &str) -> Vec<ResourceSpans> {
        vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![Span {
                    span_id: vec![id; 8],
                    name: name.to_owned(),
                    ..Span::default()
                }],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }]
    }

    fn names(files: &TraceFiles, name: &str) -> Vec<String> {
        let own = files.read(name).unwrap().own;
        spans(&own).map(|it| it.name.clone()).collect()
    }

    #[test]
    fn a_reader_has_it_written_and_the_thread_writes_the_rest() {
        let (_dir, files) = files();
        // Nobody writes but whoever wants to read.
        let later = Later::unstarted(files.clone());
        later.push("a", span(1, "first"));
        later.push("b", span(2, "other"));
        later.push("a", span(1, "again"));
        assert!(names(&files, "a").is_empty());
        later.settle("a");
        later.settle("nobody");
        assert_eq!(names(&files, "a"), ["again"], "the last counts");
        assert!(names(&files, "b").is_empty());
        assert_eq!(later.0.lock().order.len(), 1);

        let later = Later::start(files.clone()).unwrap();
        for number in 0..100_u8 {
            later.push(&format!("c-{number}"), span(number, "of many"));
        }
        assert!(later.finish(DEADLINE));
        for number in 0..100_u8 {
            assert_eq!(names(&files, &format!("c-{number}")), ["of many"]);
        }
    }

    #[test]
    fn what_came_first_makes_room_and_is_counted() {
        let (_dir, files) = files();
        let later = Later::unstarted(files.clone());
        for number in 0..FILES_MAX + 3 {
            later.push(&format!("a-{number}"), span(1, "x"));
        }
        assert_eq!(later.left_out(), 3);
        later.settle("a-2");
        later.settle("a-3");
        assert!(names(&files, "a-2").is_empty());
        assert_eq!(names(&files, "a-3"), ["x"]);
        later.push("large", span(1, &"y".repeat(BYTES_MAX - 100)));
        assert!(later.0.lock().waiting.len() < 10);
        later.push("larger", span(1, &"y".repeat(BYTES_MAX)));
        let state = later.0.lock();
        assert_eq!(
            (state.waiting.len(), state.bytes, state.order.len()),
            (0, 0, 0)
        );
    }
}
