//! Sends the logs of jobs to wherever other logs go, by following their files: what is
//! sent is what is stored, redacted, and a receiver that is away or slow costs no
//! memory and holds up no job, since the file waits for it.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use danube_joblog::{JobLogs, LineItem, LogError, LogReader, StepRange, StreamKind, TimedLine};
use danube_telemetry::TraceContext;
use danube_telemetry::otlp::{Attribute, Record, RecordSource, Records};
use danube_telemetry::tasks;

/// How often the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Logs that are followed at once, those of ended jobs included whose end wasn't sent
/// yet. Above, what ended first is given up.
const FOLLOWED_MAX: usize = 1_024;

/// Lines of one log before the next one has its turn.
const LINES_A_TURN: usize = 2_000;

/// A longer line comes in pieces of about this size, and its pieces are sent as they
/// come.
const PIECE_BYTES: usize = 64 * 1024;

/// How long the end waits for the last lines to be handed over.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// How often the end looks whether there is room for more of them.
const ROOM_EVERY: Duration = Duration::from_millis(10);

/// Scope of the records.
const SCOPE: &str = "danube.job";

/// Follows logs on a thread of its own.
pub(crate) struct LogExport(Arc<Shared>);

struct Shared {
    records: Records,
    logs: JobLogs,
    state: Mutex<State>,
    /// Wakes the thread, and who waits for its end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the thread hasn't seen yet, [`FOLLOWED_MAX`] at most.
    arrived: VecDeque<Followed>,
    /// Set once: by when the last lines are to be handed over.
    ends: Option<Instant>,
    is_done: bool,
}

/// Says, when dropped, that nothing more will be written.
pub(crate) struct Following(Arc<AtomicBool>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What is known of a job whose log is followed.
pub(crate) struct About<'a> {
    pub(crate) job: &'a str,
    pub(crate) pipeline: &'a str,
    pub(crate) steps: Vec<String>,
    pub(crate) context: TraceContext,
    /// Where this attempt's part of the log begins.
    pub(crate) from: u64,
}

struct Followed {
    job: String,
    steps: Vec<String>,
    source: Arc<RecordSource>,
    at: u64,
    has_ended: Arc<AtomicBool>,
    reader: Option<LogReader>,
}

/// How far a turn came.
enum Turn {
    /// Everything that is there was sent, and nothing more will come.
    Done,
    /// Nothing more for now.
    Later,
    /// There is more to send.
    More,
    /// Whoever takes the records has no room.
    Full,
}

impl LogExport {
    pub(crate) fn start(records: Records, logs: JobLogs) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            records,
            logs,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = thread::Builder::new().name("job-log-export".into());
        let own = Arc::clone(&shared);
        thread.spawn(move || {
            run(&own);
            own.lock().is_done = true;
            own.changed.notify_all();
        })?;
        Ok(Self(shared))
    }

    /// Follows a log until what this returns is dropped, and to its end.
    pub(crate) fn follow(&self, about: About<'_>) -> Following {
        let attributes: Vec<Attribute> = vec![
            ("job.id".into(), about.job.into()),
            ("cicd.pipeline.name".into(), about.pipeline.into()),
            ("cicd.pipeline.run.id".into(), about.job.into()),
        ];
        let has_ended = Arc::new(AtomicBool::new(false));
        let followed = Followed {
            job: about.job.to_owned(),
            steps: about.steps,
            source: Arc::new(RecordSource {
                scope: SCOPE,
                context: about.context,
                attributes,
            }),
            at: about.from,
            has_ended: Arc::clone(&has_ended),
            reader: None,
        };
        let mut state = self.0.lock();
        // So many between two looks: the first of them has waited longest already.
        let first = (state.arrived.len() == FOLLOWED_MAX).then(|| state.arrived.pop_front());
        state.arrived.push_back(followed);
        drop(state);
        if let Some(first) = first.flatten() {
            self.0.give_up(first);
        }
        Following(has_ended)
    }

    /// Hands over what there is, and ends; what isn't taken by then is counted as lost.
    pub(crate) fn finish(&self) {
        let end = Instant::now() + END_DEADLINE;
        let mut state = self.0.lock();
        state.ends.get_or_insert(end);
        self.0.changed.notify_all();
        while !state.is_done {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.0.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for LogExport {
    fn drop(&mut self) {
        self.0.lock().ends.get_or_insert_with(Instant::now);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the lines that won't be sent any more.
    fn give_up(&self, one: Followed) {
        let at = one.at;
        let count = |mut reader: LogReader| {
            reader.refresh()?;
            if reader.end() <= at {
                return Ok(0);
            }
            Ok((reader.line_count()? + 1).saturating_sub(reader.line_at(at)?))
        };
        let reader = one.reader.map_or_else(|| self.logs.reader(&one.job), Ok);
        // A log that can't be read has been deleted, and its lines with it.
        self.records.lose(reader.and_then(count).unwrap_or(0));
    }

    /// Waits for the next look; by when it must be done, if it is the last.
    fn wait(&self) -> Option<Instant> {
        let state = self.lock();
        let woken = self
            .changed
            .wait_timeout_while(state, LOOK_EVERY, |it| it.ends.is_none());
        woken.unwrap_or_else(PoisonError::into_inner).0.ends
    }

    /// Waits for room; `false` when there is no time left for that.
    fn wait_for_room(&self, ends: Instant) -> bool {
        if Instant::now() + ROOM_EVERY >= ends {
            return false;
        }
        // Nobody wakes it but for the end, which has come.
        let woken = self.changed.wait_timeout(self.lock(), ROOM_EVERY);
        drop(woken);
        true
    }
}

fn run(shared: &Shared) {
    let mut followed: VecDeque<Followed> = VecDeque::new();
    let task = tasks::thread("job-log-export");
    loop {
        task.rest();
        let ends = shared.wait();
        task.beat();
        followed.extend(mem::take(&mut shared.lock().arrived));
        let surplus = followed.len().saturating_sub(FOLLOWED_MAX);
        for _ in 0..surplus {
            let ended = followed.iter().position(Followed::has_ended);
            if let Some(one) = followed.remove(ended.unwrap_or(0)) {
                shared.give_up(one);
            }
        }
        let mut is_full = send(shared, &mut followed);
        if let Some(ends) = ends {
            while is_full && shared.wait_for_room(ends) {
                is_full = send(shared, &mut followed);
            }
            for one in followed {
                shared.give_up(one);
            }
            return;
        }
        // So that the first one isn't always the one that has room.
        followed.rotate_left(usize::from(is_full && !followed.is_empty()));
    }
}

/// Sends what has come, each log in its turns; whether there was no room for all.
fn send(shared: &Shared, followed: &mut VecDeque<Followed>) -> bool {
    loop {
        let (mut is_full, mut is_more) = (false, false);
        followed.retain_mut(|one| {
            if is_full {
                one.rest();
                return true;
            }
            let turn = one.turn(shared);
            is_more |= matches!(turn, Turn::More);
            is_full = matches!(turn, Turn::Full);
            !matches!(turn, Turn::Done)
        });
        if is_full || !is_more {
            return is_full;
        }
    }
}

impl Followed {
    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Sends what has come. A log that was deleted is done; with any other error (no
    /// more open files, a disk that is gone) it is tried at the next look.
    fn turn(&mut self, shared: &Shared) -> Turn {
        match self.try_turn(shared) {
            Ok(turn) => turn,
            Err(LogError::NotFound) => Turn::Done,
            Err(_) => Turn::Later,
        }
    }

    fn try_turn(&mut self, shared: &Shared) -> Result<Turn, LogError> {
        // Looked at first: what comes after is there by then.
        let has_ended = self.has_ended();
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => shared.logs.reader(&self.job)?,
        };
        reader.refresh()?;
        let (steps, end) = (reader.steps(), reader.end());
        let mut turn = if has_ended { Turn::Done } else { Turn::Later };
        if end <= self.at {
            self.reader = Some(reader);
            return Ok(turn);
        }
        for (count, item) in reader.lines_with_time(self.at, end).enumerate() {
            if count == LINES_A_TURN {
                turn = Turn::More;
                break;
            }
            let line = match item? {
                LineItem::Gap { to, .. } => {
                    self.at = to;
                    continue;
                }
                LineItem::Line(line) => line,
            };
            let after = line.offset + line.bytes.len() as u64;
            let is_whole = line.bytes.ends_with(b"\n") || line.bytes.len() >= PIECE_BYTES;
            if after >= end && !is_whole && !has_ended {
                // The rest of the line is still to come.
                break;
            }
            if shared.records.push(self.record(&line, &steps)).is_err() {
                turn = Turn::Full;
                break;
            }
            self.at = after;
        }
        let is_kept = !has_ended && !matches!(turn, Turn::Full);
        self.reader = is_kept.then_some(reader);
        Ok(turn)
    }

    /// Keeps no files open where a job has ended: a thousand of them may wait for room,
    /// and for long.
    fn rest(&mut self) {
        if self.has_ended() {
            self.reader = None;
        }
    }

    fn record(&self, line: &TimedLine, steps: &[StepRange]) -> Record {
        let mut attributes: Vec<Attribute> = Vec::with_capacity(3);
        let step = steps.iter().rev().find(|it| it.start <= line.offset);
        let step = step.filter(|it| it.end.is_none_or(|end| line.offset < end));
        let name = step.and_then(|it| self.steps.get(usize::try_from(it.step).ok()?));
        if let Some(name) = name {
            attributes.push(("cicd.pipeline.task.name".into(), name.as_str().into()));
        }
        let stream = match line.stream {
            StreamKind::Stdout => Some("stdout"),
            StreamKind::Stderr => Some("stderr"),
            _ => None,
        };
        if let Some(stream) = stream {
            attributes.push(("log.iostream".into(), stream.into()));
        }
        let offset = i64::try_from(line.offset).unwrap_or(i64::MAX);
        attributes.push(("danube.log.offset".into(), offset.into()));
        let text = line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        Record {
            source: Arc::clone(&self.source),
            time_unix_nanos: line.time_us.unwrap_or(0).saturating_mul(1_000),
            body: String::from_utf8_lossy(text).into_owned(),
            attributes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::path::PathBuf;

    use danube_joblog::{Limits, Rules, Secrets, Stream};
    use danube_telemetry::otlp::{
        Endpoint, Exporter, Lost, Options, Protocol, Retry, Signal, Source, start,
    };

    use super::*;

    /// Long enough for whatever should happen.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// More than the exporter's queue has room for.
    const MANY: usize = 20_000;

    /// Logs, and a collector that is connected to and says nothing until it is served.
    struct Setting {
        collector: TcpListener,
        exporter: Exporter,
        shared: Arc<Shared>,
        dir: tempfile::TempDir,
    }

    impl Setting {
        fn new() -> Self {
            let collector = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", collector.local_addr().unwrap());
            let options = Options {
                endpoint: Endpoint {
                    url,
                    protocol: Protocol::HttpProtobuf,
                    headers: Vec::new(),
                },
                source: Source {
                    resource: Vec::new(),
                    scope: "danube",
                    version: "1.2.3",
                },
                metrics: None,
                lines: false,
                records: true,
                spans: false,
                redact: None,
                retry: Retry::default(),
                tell: Arc::new(|_| {}),
            };
            let exporter = start(options).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let limits = Limits::new(1 << 24, 1 << 25).unwrap();
            let shared = Arc::new(Shared {
                records: exporter.records().unwrap(),
                logs: JobLogs::open(dir.path(), limits).unwrap(),
                state: Mutex::default(),
                changed: Condvar::new(),
            });
            Self {
                collector,
                exporter,
                shared,
                dir,
            }
        }

        /// Follows a new log of so many lines, which has ended or not.
        fn log(&self, job: &str, lines: usize, has_ended: bool) -> Followed {
            let secrets = Secrets::new(Rules::none());
            let mut writer = self.shared.logs.writer(job, &secrets).unwrap();
            let text = "a line\n".repeat(lines);
            writer.write(Stream::Stdout, text.as_bytes()).unwrap();
            writer.close().unwrap();
            Followed {
                job: job.into(),
                steps: Vec::new(),
                source: Arc::new(RecordSource {
                    scope: SCOPE,
                    context: TraceContext::random(),
                    attributes: Vec::new(),
                }),
                at: 0,
                has_ended: Arc::new(AtomicBool::new(has_ended)),
                reader: None,
            }
        }

        fn head_of(&self, job: &str) -> PathBuf {
            self.dir.path().join(format!("{job}.log"))
        }

        fn lost(&self) -> Lost {
            self.exporter.lost()
        }
    }

    /// Takes all that is sent over one connection.
    fn serve(collector: &TcpListener) -> io::Result<()> {
        let (stream, _) = collector.accept()?;
        let mut answers = stream.try_clone()?;
        let mut from = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while from.read_line(&mut line)? > 0 {
            let header = line.trim_end().to_ascii_lowercase();
            if let Some(bytes) = header.strip_prefix("content-length: ") {
                length = bytes.parse().unwrap();
            }
            line.clear();
            if header.is_empty() {
                from.read_exact(&mut vec![0; length])?;
                answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            }
        }
        Ok(())
    }

    #[test]
    fn logs_of_ended_jobs_that_wait_for_room_keep_no_files_open() {
        let setting = Setting::new();
        let shared = &setting.shared;
        let logs = ["long", "second"].map(|it| setting.log(it, MANY, true));
        let mut all = VecDeque::from(logs);
        // Read while its job ran; now it isn't reached any more.
        all[1].reader = Some(shared.logs.reader("second").unwrap());
        assert!(matches!(all[0].turn(shared), Turn::More));
        assert!(all[0].reader.is_none());
        while !matches!(all[0].turn(shared), Turn::Full) {}
        assert!(send(shared, &mut all));
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|it| it.reader.is_none()));
    }

    #[test]
    fn a_log_that_is_followed_on_keeps_its_reader() {
        let setting = Setting::new();
        let mut one = setting.log("live", 2, false);
        assert!(matches!(one.turn(&setting.shared), Turn::Later));
        assert!(one.reader.is_some());
    }

    #[test]
    fn a_log_that_cannot_be_read_now_is_tried_again_and_one_that_is_gone_is_not() {
        let setting = Setting::new();
        let mut one = setting.log("job", 2, true);
        let (head, aside) = (setting.head_of("job"), setting.head_of("aside"));
        std::fs::rename(&head, &aside).unwrap();
        std::fs::create_dir(&head).unwrap();
        assert!(matches!(one.turn(&setting.shared), Turn::Later));
        std::fs::remove_dir(&head).unwrap();
        std::fs::rename(&aside, &head).unwrap();
        assert!(matches!(one.turn(&setting.shared), Turn::Done));

        let mut gone = setting.log("gone", 2, true);
        setting.shared.logs.delete("gone").unwrap();
        assert!(matches!(gone.turn(&setting.shared), Turn::Done));
    }

    #[test]
    fn the_end_waits_for_room_before_it_gives_lines_up() {
        let setting = Setting::new();
        let mut log = setting.log("job", MANY, true);
        while !matches!(log.turn(&setting.shared), Turn::Full) {}
        {
            let mut state = setting.shared.lock();
            state.arrived.push_back(log);
            // Not the usual second, which a busy machine may need.
            state.ends = Some(Instant::now() + DEADLINE);
        }
        let lost = setting.lost();
        let Setting {
            collector,
            exporter,
            shared,
            dir: _dir,
        } = setting;
        let serves = thread::spawn(move || drop(serve(&collector)));
        run(&shared);
        assert_eq!(lost.of(Signal::Log), 0);
        assert!(exporter.finish(DEADLINE));
        serves.join().unwrap();
    }
}
