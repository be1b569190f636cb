//! The long-lived tasks and threads of this process: what each does right now, and when it last went on.
//!
//! A loop registers itself with one line and says when it works and when it waits. For a future one
//! line does all of it: [`watched`] sees each poll.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Entries that are kept: there are some twenty, and ended ones go first.
const ENTRIES_MAX: usize = 256;

/// Threads of this process that are looked at: each takes two small reads.
const THREADS_MAX: usize = 4_096;

/// What kind of a loop it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has a thread of its own.
    Thread,
    /// It is a future that shares threads with others.
    Task,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Task => "task",
        }
    }
}

/// What a loop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is in a round, or being polled.
    Working,
    /// It waits to be woken, or for its time.
    Waiting,
    /// It has returned.
    Ended,
    /// It has panicked.
    Panicked,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Ended => "ended",
            Self::Panicked => "panicked",
        }
    }

    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Waiting,
            1 => Self::Working,
            2 => Self::Ended,
            _ => Self::Panicked,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Working => 1,
            Self::Ended => 2,
            Self::Panicked => 3,
        }
    }
}

/// One loop, as it is seen. All times are durations up to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub name: &'static str,
    /// What kind.
    pub kind: Kind,
    /// What it does.
    pub state: State,
    /// Since when it does that.
    pub since: Duration,
    /// Since when it is there.
    pub age: Duration,
    /// Rounds, or polls, that it began.
    pub rounds: u64,
    /// How long the last one took that is over.
    pub last_round: Option<Duration>,
    /// How long the longest one took.
    pub longest_round: Option<Duration>,
}

/// All threads of one name. The kernel counts, so also those are here that no loop registered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Threads {
    /// How many there are.
    pub count: u64,
    /// How many of them run or could run.
    pub running: u64,
    /// Processor time that they took so far.
    pub cpu: Duration,
}

struct Entry {
    name: &'static str,
    kind: Kind,
    born: u64,
    state: AtomicU8,
    /// Microseconds of the clock below at which the state began.
    since: AtomicU64,
    rounds: AtomicU64,
    /// Microseconds, plus one; 0 when there is none.
    last: AtomicU64,
    longest: AtomicU64,
}

static ENTRIES: Mutex<Vec<Arc<Entry>>> = Mutex::new(Vec::new());

fn entries() -> MutexGuard<'static, Vec<Arc<Entry>>> {
    // Whole after every line that changes it.
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds since somebody first asked.
fn now() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let passed = BEGAN.get_or_init(Instant::now).elapsed();
    u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
}

/// A registered loop. It has ended when this is dropped.
pub struct Task(Arc<Entry>);

/// Registers a loop on a thread of its own, which waits at first.
#[must_use]
pub fn thread(name: &'static str) -> Task {
    register(name, Kind::Thread)
}

fn register(name: &'static str, kind: Kind) -> Task {
    let born = now();
    let entry = Arc::new(Entry {
        name,
        kind,
        born,
        state: AtomicU8::new(State::Waiting.byte()),
        since: AtomicU64::new(born),
        rounds: AtomicU64::new(0),
        last: AtomicU64::new(0),
        longest: AtomicU64::new(0),
    });
    let mut entries = entries();
    if entries.len() >= ENTRIES_MAX {
        let ended = |it: &Arc<Entry>| !matches!(it.state(), State::Working | State::Waiting);
        let at = entries.iter().position(ended).unwrap_or(0);
        entries.remove(at);
    }
    entries.push(Arc::clone(&entry));
    Task(entry)
}

impl Task {
    /// A round begins; one that was under way is over.
    pub fn beat(&self) {
        self.0.round_is_over();
        self.0.rounds.fetch_add(1, Ordering::Relaxed);
        self.0.enter(State::Working);
    }

    /// There is nothing to do; a round that was under way is over.
    pub fn rest(&self) {
        self.0.round_is_over();
        self.0.enter(State::Waiting);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.round_is_over();
        self.0.enter(if std::thread::panicking() {
            State::Panicked
        } else {
            State::Ended
        });
    }
}

impl Entry {
    fn state(&self) -> State {
        State::of(self.state.load(Ordering::Relaxed))
    }

    fn enter(&self, state: State) {
        self.since.store(now(), Ordering::Relaxed);
        self.state.store(state.byte(), Ordering::Relaxed);
    }

    /// Only the loop itself writes, so what is read here is its own.
    fn round_is_over(&self) {
        if self.state() != State::Working {
            return;
        }
        let took = now().saturating_sub(self.since.load(Ordering::Relaxed)) + 1;
        self.last.store(took, Ordering::Relaxed);
        self.longest.fetch_max(took, Ordering::Relaxed);
    }

    fn view(&self, now: u64) -> View {
        let passed = |since: u64| Duration::from_micros(now.saturating_sub(since));
        let took = |it: &AtomicU64| {
            let micros = it.load(Ordering::Relaxed).checked_sub(1);
            micros.map(Duration::from_micros)
        };
        View {
            name: self.name,
            kind: self.kind,
            state: self.state(),
            since: passed(self.since.load(Ordering::Relaxed)),
            age: passed(self.born),
            rounds: self.rounds.load(Ordering::Relaxed),
            last_round: took(&self.last),
            longest_round: took(&self.longest),
        }
    }
}

/// Registers a future: it works while it is polled and waits otherwise.
pub fn watched<T: 'static>(
    name: &'static str,
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    Watched {
        task: register(name, Kind::Task),
        future: Box::pin(future),
    }
}

struct Watched<T> {
    task: Task,
    future: Pin<Box<dyn Future<Output = T> + Send>>,
}

impl<T> Future for Watched<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.task.beat();
        let polled = self.future.as_mut().poll(context);
        self.task.rest();
        polled
    }
}

/// Every registered loop, by name.
#[must_use]
pub fn all() -> Vec<View> {
    let now = now();
    let mut all: Vec<View> = entries().iter().map(|it| it.view(now)).collect();
    all.sort_by_key(|it| it.name);
    all
}

/// The threads of this process by name, as the kernel has them; nothing where it tells nothing.
/// Those of single jobs count together.
#[must_use]
pub fn threads() -> BTreeMap<String, Threads> {
    let mut found: BTreeMap<String, Threads> = BTreeMap::new();
    let tick = Duration::from_secs(1)
        / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    for entry in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .take(THREADS_MAX)
    {
        // A thread that ended meanwhile is none.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((name, state, ticks)) = read_stat(&stat) else {
            continue;
        };
        let threads = found.entry(group(name).to_owned()).or_default();
        threads.count += 1;
        threads.running += u64::from(state == "R");
        threads.cpu += tick * u32::try_from(ticks).unwrap_or(u32::MAX);
    }
    found
}

/// The name, the state and the ticks of a thread. Its name may hold blanks and brackets.
fn read_stat(stat: &str) -> Option<(&str, &str, u64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((name, fields.first()?, ticks(11)? + ticks(12)?))
}

/// A thread's name without what belongs to one job alone.
pub(crate) fn group(name: &str) -> &str {
    if name.starts_with("job-") && name != "job-log-export" {
        "job"
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> View {
        let mut all = all();
        all.retain(|it| it.name == name);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn a_loop_is_seen_working_waiting_and_at_its_end() {
        let task = thread("seen-loop");
        let seen = named("seen-loop");
        assert_eq!(
            (seen.state, seen.rounds, seen.last_round),
            (State::Waiting, 0, None)
        );
        task.beat();
        task.beat();
        let seen = named("seen-loop");
        assert_eq!((seen.state, seen.rounds), (State::Working, 2));
        assert!(seen.last_round.is_some() && seen.last_round <= seen.longest_round);
        task.rest();
        assert_eq!(named("seen-loop").state, State::Waiting);
        drop(task);
        let seen = named("seen-loop");
        assert_eq!((seen.state, seen.kind), (State::Ended, Kind::Thread));
    }

    #[test]
    fn a_loop_that_panics_is_told_from_one_that_ends() {
        let ended = std::thread::spawn(|| {
            let task = thread("torn-loop");
            task.beat();
            std::panic::resume_unwind(Box::new("torn"));
        });
        assert!(ended.join().is_err());
        assert_eq!(named("torn-loop").state, State::Panicked);
    }

    #[test]
    fn each_poll_of_a_future_is_a_round() {
        let mut polls = 0;
        let mut future = Box::pin(watched(
            "polled-future",
            std::future::poll_fn(move |_| {
                polls += 1;
                assert_eq!(named("polled-future").state, State::Working);
                if polls < 3 {
                    Poll::Pending
                } else {
                    Poll::Ready(polls)
                }
            }),
        ));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert_eq!(named("polled-future").state, State::Waiting);
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(3));
        let seen = named("polled-future");
        assert_eq!((seen.rounds, seen.kind), (3, Kind::Task));
    }

    #[test]
    fn threads_are_counted_by_their_names() {
        let line = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 12 30 0 0 20 0 1 0 5 0 0";
        assert_eq!(read_stat(line), Some(("a) b) (c", "S", 42)));
        for (name, expected) in [
            ("job-3kx9", "job"),
            ("job-log-export", "job-log-export"),
            ("http", "http"),
        ] {
            assert_eq!(group(name), expected);
        }
        if cfg!(target_os = "linux") {
            assert!(threads().values().any(|it| it.count > 0 && it.running > 0));
        }
    }
}
