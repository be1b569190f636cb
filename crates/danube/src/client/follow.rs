//! Reads a log to its end, whatever happens to the connection on the way.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use danube_api::client::{Client, ClientError};
use danube_api::{Code, JobView};
use danube_model::State;

use super::log_sink::LogSink;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Progress, Screen};

/// How long we try to reach a server again that we have already reached: a
/// restart takes seconds, an upgrade less than a minute.
const RESUME_DEADLINE: Duration = Duration::from_secs(60);

/// First pause between two tries: a connection that was cut may be back at once.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause: a person who waits sees something happen.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection that held this long was a good one: the deadline begins anew.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// After this silence we ask whether server and job are still there: a job may
/// be silent for hours, but so is a connection whose other end is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces that wait for a slow terminal; the server's side then waits too.
const PIECES_MAX: usize = 16;

/// How often a job is asked for its state while we wait for its end.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Which log, and in which form.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogAsked {
    /// The job, as it was named.
    pub(crate) id: String,
    /// Wait for more until the job ends.
    pub(crate) follow: bool,
    /// A time before every line.
    pub(crate) timestamps: bool,
    /// Without colours and other control sequences.
    pub(crate) strip_ansi: bool,
    /// Only this step's output.
    pub(crate) step: Option<String>,
    /// Logical offset to begin at.
    pub(crate) from: u64,
    /// The line to begin with, as a number.
    pub(crate) from_line: Option<String>,
    /// How many lines.
    pub(crate) lines: Option<String>,
    /// The time to begin with.
    pub(crate) since: Option<String>,
    /// Only what was written while this span was.
    pub(crate) around: Option<String>,
}

impl LogAsked {
    /// A text made from the log has no offsets.
    fn is_derived(&self) -> bool {
        let is_part = self.step.is_some() || self.around.is_some();
        self.timestamps || self.strip_ansi || is_part || self.is_by_line()
    }

    /// The server finds where it begins.
    fn is_by_line(&self) -> bool {
        self.from_line.is_some() || self.lines.is_some() || self.since.is_some()
    }

    fn query(&self) -> [(&'static str, Option<&str>); 9] {
        let one = |wanted: bool, value| wanted.then_some(value);
        [
            ("follow", one(self.follow, "1")),
            ("timestamps", one(self.timestamps, "1")),
            ("ansi", one(self.strip_ansi, "strip")),
            ("step", self.step.as_deref()),
            ("from_line", self.from_line.as_deref()),
            ("lines", self.lines.as_deref()),
            ("since", self.since.as_deref()),
            ("around", self.around.as_deref()),
            // We count offsets, so we say ourselves where bytes are missing.
            ("gaps", one(self.follow && !self.is_derived(), "end")),
        ]
    }
}

/// One reading of one log.
pub(crate) struct Follow<'a> {
    client: &'a Client,
    screen: &'a Screen,
    asked: LogAsked,
    sink: LogSink,
    /// Bytes written so far, over all connections, and those known to be missing.
    received: u64,
    /// Of these, bytes that are missing.
    passed: u64,
    /// The server has answered once: from then on a broken connection is
    /// something to get over.
    reached: bool,
    /// How long the latest connection held.
    held: Duration,
    /// The job as it was when we last asked.
    job: Option<JobView>,
}

/// How a connection ended.
enum End {
    /// With the end of the body.
    Whole,
    /// Otherwise; why.
    Broken(String),
}

enum Piece {
    Bytes(Vec<u8>),
    End(End),
}

impl<'a> Follow<'a> {
    /// A reading that begins now. `reached`: the server has just answered.
    pub(crate) fn new(
        client: &'a Client,
        screen: &'a Screen,
        asked: LogAsked,
        reached: bool,
    ) -> Self {
        let offset = (!asked.is_derived()).then_some(asked.from);
        Self {
            client,
            screen,
            sink: LogSink::new(screen, offset),
            asked,
            received: 0,
            passed: 0,
            reached,
            held: Duration::ZERO,
            job: None,
        }
    }

    /// Writes the log to standard output. With `follow` returns the ended job.
    pub(crate) fn run(mut self) -> Result<Option<JobView>, Failure> {
        let read = self.read_to_the_end();
        // What stands in the sink belongs to the output even when it breaks off.
        self.sink.finish(self.screen)?;
        read?;
        Ok(self.job)
    }

    fn read_to_the_end(&mut self) -> Result<(), Failure> {
        let mut patience = Patience::new(Instant::now());
        loop {
            let before = self.received;
            let end = self.connection()?;
            let progress = self.received > before;
            let why = match end {
                End::Whole if self.is_over(progress)? => return Ok(()),
                End::Whole => None,
                End::Broken(why) => Some(why),
            };
            if progress || self.held >= GOOD_CONNECTION {
                patience = Patience::new(Instant::now());
            }
            match patience.next_pause(Instant::now()) {
                Some(pause) => self.pause(pause),
                None => return Err(self.given_up(why)),
            }
        }
    }

    fn pause(&self, pause: Duration) {
        let (began, mut progress) = (Instant::now(), Progress::new(self.screen));
        while let Some(left) = pause.checked_sub(began.elapsed()) {
            progress.tick("connection lost, trying again");
            thread::sleep(progress.tick_every(left).min(left));
        }
    }

    /// Reads one connection to its end.
    fn connection(&mut self) -> Result<End, Failure> {
        let (from, skip) = if self.asked.is_derived() {
            // No offsets: the text is made anew, and what we have is passed over.
            (0, self.received)
        } else {
            (self.asked.from + self.received, 0)
        };
        self.held = Duration::ZERO;
        match self.client.log(&self.asked.id, &self.asked.query(), from) {
            Ok(log) => {
                self.reached = true;
                let began = Instant::now();
                if !self.asked.is_derived() && log.offset > from {
                    self.pass_gap(log.offset - from)?;
                }
                let end = self.copy(&pieces(log.bytes)?, skip);
                self.held = began.elapsed();
                end
            }
            // We stand at the end of what there is.
            Err(ref error) if from > 0 && error.code() == Some(Code::RangeNotSatisfiable) => {
                match self.reached {
                    true => Ok(End::Whole),
                    false => Err(self.call_failed(error)),
                }
            }
            Err(ref error) if self.reached && may_pass(error) => Ok(End::Broken(error.to_string())),
            Err(error) => Err(self.call_failed(&error)),
        }
    }

    /// Says that bytes are missing, and counts them as seen.
    fn pass_gap(&mut self, missing: u64) -> Result<(), Failure> {
        self.received += missing;
        self.passed += missing;
        self.sink.gap(missing, self.screen)
    }

    fn call_failed(&self, error: &ClientError) -> Failure {
        Failure::call(&format!("read the log of job {}", self.asked.id), error)
    }

    fn copy(&mut self, pieces: &Receiver<Piece>, mut skip: u64) -> Result<End, Failure> {
        let mut progress = Progress::new(self.screen);
        let (mut heard, mut suspicious) = (Instant::now(), false);
        loop {
            match pieces.recv_timeout(progress.tick_every(SILENCE_MAX)) {
                Ok(Piece::Bytes(bytes)) => {
                    progress.clear();
                    let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                    skip -= passed as u64;
                    let fresh = &bytes[passed..];
                    self.sink.write(fresh, self.screen)?;
                    self.received += fresh.len() as u64;
                    (heard, suspicious) = (Instant::now(), false);
                }
                Ok(Piece::End(end)) => return Ok(end),
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(End::Broken("the reader ended".into()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.received == 0 && self.asked.follow {
                        progress.tick("waiting for output");
                    }
                    if heard.elapsed() < SILENCE_MAX {
                        continue;
                    }
                    heard = Instant::now();
                    match self.ask() {
                        Ok(job) if !has_ended(&job) => suspicious = false,
                        // The end may be on its way: one more turn, then we ask anew.
                        Ok(_) if !suspicious => suspicious = true,
                        Ok(_) => return Ok(End::Broken("the connection fell silent".into())),
                        Err(error) => return Ok(End::Broken(error.to_string())),
                    }
                }
            }
        }
    }

    /// Whether there is nothing more to read, after a body that came whole.
    fn is_over(&mut self, progress: bool) -> Result<bool, Failure> {
        if !self.asked.follow {
            return Ok(true);
        }
        let job = match self.ask() {
            Ok(job) => job,
            Err(error) if may_pass(&error) => return Ok(false),
            Err(error) => {
                return Err(Failure::call(
                    &format!("read job {}", self.asked.id),
                    &error,
                ));
            }
        };
        // A server that stops ends the body early, and the job may end meanwhile.
        let untold = job.log_missing_bytes.saturating_sub(self.passed);
        let seen = self.asked.from + self.received + untold;
        let is_whole = self.asked.is_derived() || seen >= job.log_bytes || !progress;
        let is_over = has_ended(&job) && is_whole;
        self.job = Some(job);
        Ok(is_over)
    }

    fn ask(&self) -> Result<JobView, ClientError> {
        self.client.job(&self.asked.id)
    }

    fn given_up(&self, why: Option<String>) -> Failure {
        let id = &self.asked.id;
        let why = why.unwrap_or_else(|| "the server ends the log, but the job hasn't ended".into());
        let at = self.asked.from + self.received;
        let hint = if self.asked.is_derived() {
            format!("the job goes on; `danube logs {id}` reads its log")
        } else {
            format!("the job goes on; `danube logs -f {id} --from {at}` reads on from here")
        };
        Failure::new(
            Exit::Away,
            "away",
            format!("read the log of job {id}: {why}"),
        )
        .hint(hint)
    }
}

/// Waits until a job has ended; at most `deadline`.
pub(crate) fn wait_for_end(
    client: &Client,
    id: &str,
    deadline: Duration,
    screen: &Screen,
) -> Result<JobView, Failure> {
    let (began, mut progress) = (Instant::now(), Progress::new(screen));
    let mut asked: Option<Instant> = None;
    loop {
        if asked.is_none_or(|it| it.elapsed() >= ASK_EVERY) {
            asked = Some(Instant::now());
            match client.job(id) {
                Ok(job) if has_ended(&job) => return Ok(job),
                Ok(_) => {}
                Err(error) if may_pass(&error) => {}
                Err(error) => return Err(Failure::call(&format!("read job {id}"), &error)),
            }
        }
        if began.elapsed() >= deadline {
            let seconds = deadline.as_secs();
            let message = format!("wait for job {id}: it hasn't ended after {seconds} s");
            return Err(Failure::new(Exit::Away, "too_slow", message)
                .hint("`danube job ID` shows its state"));
        }
        progress.tick("waiting for the job to end");
        thread::sleep(progress.tick_every(ASK_EVERY));
    }
}

/// Whether trying again later can help.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Away { .. } => true,
        ClientError::Problem(problem) => Exit::of_code(problem.code) == Exit::Away,
        ClientError::Answer(_) => false,
    }
}

fn has_ended(job: &JobView) -> bool {
    job.state().is_some_and(State::is_terminal)
}

/// Reads on a thread of its own, because a read from a dead connection would
/// never come back.
fn pieces(reader: impl Read + Send + 'static) -> Result<Receiver<Piece>, Failure> {
    let (out, pieces) = sync_channel(PIECES_MAX);
    let started = thread::Builder::new()
        .name("log-reader".into())
        .spawn(move || pump(reader, &out));
    match started {
        Ok(_) => Ok(pieces),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            "failed",
            format!("start a reader: {error}"),
        )),
    }
}

fn pump(mut reader: impl Read, out: &SyncSender<Piece>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let piece = match reader.read(&mut buffer) {
            Ok(0) => Piece::End(End::Whole),
            Ok(length) => Piece::Bytes(buffer[..length].to_vec()),
            Err(error) => Piece::End(End::Broken(error.to_string())),
        };
        let is_last = matches!(piece, Piece::End(_));
        // Nobody waits for the rest when the receiver is gone.
        if out.send(piece).is_err() || is_last {
            return;
        }
    }
}

/// Growing pauses, up to a deadline.
struct Patience {
    since: Instant,
    next: Duration,
}

impl Patience {
    const fn new(since: Instant) -> Self {
        Self {
            since,
            next: PAUSE_MIN,
        }
    }

    /// How long to wait before the next try; none when the deadline has passed.
    fn next_pause(&mut self, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(self.since) >= RESUME_DEADLINE {
            return None;
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_come_to_an_end() {
        let mut now = Instant::now();
        let mut patience = Patience::new(now);
        let mut pauses = Vec::new();
        while let Some(pause) = patience.next_pause(now) {
            now += pause;
            pauses.push(pause);
        }
        assert_eq!(pauses.first(), Some(&PAUSE_MIN));
        assert_eq!(pauses.last(), Some(&PAUSE_MAX));
        let waited: Duration = pauses.iter().sum();
        assert!(waited >= RESUME_DEADLINE && waited < RESUME_DEADLINE + PAUSE_MAX);
    }
}
