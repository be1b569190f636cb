//! Reads a log piece by piece, and waits for more while its job lives.
//!
//! A follower reads the file at its own pace through the page cache: a slow one
//! holds nothing back and keeps nothing in memory but its next piece.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use danube_api::{Code, Problem};
use danube_joblog::{Chunk, GapReason, LogError, LogReader, Progress, StreamKind};
use danube_model::{Job, JobId};

use super::guard::Guard;
use super::jobs::with_log;
use crate::app::{PhaseWatch, Shared, blocking};
use crate::readers::Followed;

/// Bytes of one piece whose stream and time are wanted: a piece is then at most
/// one batch of the job, and most are small.
const TIMED_PIECE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of one piece of the bare text. Each costs a turn of a thread that may
/// block, so catching up wants large ones; a follower that takes nothing holds
/// one, and what the connection has room for.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// How long a silent log is waited for before the follower is told that the
/// server is still there. Below the minute after which proxies give up.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// How often a job that has just begun is asked for its steps: they are stored
/// with the next commit, which comes some 50 ms after its start.
const STEPS_ASKED_EVERY: Duration = Duration::from_millis(50);

/// The next thing a reader of a log hears of.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes.
    Data {
        offset: u64,
        bytes: Vec<u8>,
        stream: StreamKind,
        time_us: Option<u64>,
    },
    /// Bytes that are gone.
    Gap {
        from: u64,
        to: u64,
        reason: GapReason,
    },
    /// Nothing for a while; only when following.
    Quiet,
    /// Nothing will follow. The job as it ended, or as it is when not following.
    End { at: u64, job: Box<Job> },
}

/// What is wanted of a log.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The first logical offset.
    pub(crate) from: u64,
    /// Where to stop, when not at the end.
    pub(crate) until: Option<u64>,
    /// The step of a job that hasn't ended: the log itself tells where it lies.
    pub(crate) step: Step,
    /// Stream and time of each piece are wanted.
    pub(crate) timed: bool,
}

/// Whose output is wanted.
#[derive(Debug, Default)]
pub(crate) enum Step {
    /// That of all steps.
    #[default]
    All,
    /// That of one whose number isn't known yet, because the job hasn't begun.
    Named(String),
    /// That of one.
    Number(u32),
}

/// Counts somebody who follows for as long as they do, to bound them all.
pub(super) struct Place(Shared);

impl Place {
    pub(super) fn take(app: &Shared) -> Result<Self, Problem> {
        let before = app.followers.fetch_add(1, Ordering::SeqCst);
        let place = Self(app.clone());
        if before >= app.followers_max {
            let detail = format!("{before} followers read logs already");
            return Err(Problem::new(Code::TooMany, detail));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One reader of one log.
pub(crate) struct Follower {
    app: Shared,
    _place: Place,
    job: JobId,
    name: String,
    watch: PhaseWatch,
    log: Arc<Followed>,
    /// The logical offset of the next byte.
    at: u64,
    /// Where to stop, when not at the end.
    until: Option<u64>,
    step: Step,
    timed: bool,
    follow: bool,
    /// Whether they still may.
    guard: Guard,
}

impl Follower {
    /// A reader of this part of the job's log. With `follow` the end is that of
    /// the job, or of the step.
    pub(crate) fn new(
        app: Shared,
        (job, guard): (JobId, Guard),
        part: Part,
        follow: bool,
    ) -> Result<Self, Problem> {
        Ok(Self {
            _place: Place::take(&app)?,
            watch: app.phases.watch(job),
            log: Arc::new(app.readers.follow(job)),
            name: job.to_string(),
            app,
            job,
            at: part.from,
            until: part.until,
            step: part.step,
            timed: part.timed,
            follow,
            guard,
        })
    }

    /// The next piece.
    pub(crate) async fn next(&mut self) -> Result<Piece, Problem> {
        self.guard.look(&self.app)?;
        if let Some(piece) = self.find_step().await? {
            return Ok(piece);
        }
        let mut ended: Option<Job> = None;
        loop {
            let notify = self.watch.notify.clone();
            // Listening begins here, before the looks below, so that nothing
            // that happens after them is missed.
            let changed = notify.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mut progress = self.app.logs.progress(&self.name);
            let known = progress.as_mut().map(|it| *it.borrow_and_update());
            let chunk = if known.is_some_and(|it| self.has_all(it)) {
                Chunk::End { at: self.at }
            } else {
                self.read().await?
            };
            match chunk {
                Chunk::Data {
                    offset,
                    bytes,
                    stream,
                    time_us,
                } => {
                    self.at = offset + bytes.len() as u64;
                    return Ok(Piece::Data {
                        offset,
                        bytes,
                        stream,
                        time_us,
                    });
                }
                Chunk::Gap { from, to, reason } => {
                    self.at = to;
                    return Ok(Piece::Gap { from, to, reason });
                }
                Chunk::End { at } => {
                    let reached = self.until.is_some_and(|until| self.at >= until);
                    if let Some(job) = ended.take() {
                        return Ok(Piece::End {
                            at,
                            job: Box::new(job),
                        });
                    }
                    let live = progress.as_ref().is_some_and(|it| !it.borrow().closed);
                    if !live || !self.follow || reached {
                        let job = self.job().await?;
                        if job.state.is_terminal() || !self.follow || reached {
                            // Its log was closed before it was terminal: one
                            // more read has all of it.
                            ended = Some(job);
                            continue;
                        }
                    }
                }
            }
            let more = async {
                match &mut progress {
                    Some(progress) => drop(progress.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = more => {}
                () = changed => {}
                () = tokio::time::sleep(HEARTBEAT_EVERY) => return Ok(Piece::Quiet),
            }
        }
    }

    /// Learns the number of the step that is wanted; a piece when there is
    /// nothing to read yet, or never will be.
    async fn find_step(&mut self) -> Result<Option<Piece>, Problem> {
        while let Step::Named(name) = &self.step {
            let notify = self.watch.notify.clone();
            let changed = notify.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let job = self.job().await?;
            if let Some(index) = job.steps.iter().position(|it| it.name == *name) {
                let number = u32::try_from(index).expect("a pipeline has at most STEPS_MAX steps");
                self.step = Step::Number(number);
                return Ok(None);
            }
            if !self.follow || !job.steps.is_empty() || job.state.is_terminal() {
                return Ok(Some(Piece::End {
                    at: self.at,
                    job: Box::new(job),
                }));
            }
            let begins = job.state.is_leased();
            let wait = if begins {
                STEPS_ASKED_EVERY
            } else {
                HEARTBEAT_EVERY
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => if !begins {
                    return Ok(Some(Piece::Quiet));
                }
            }
        }
        Ok(None)
    }

    /// Whether there is nothing to read yet: most looks at a live log, one after
    /// each piece, end here and cost no thread.
    fn has_all(&self, known: Progress) -> bool {
        let to_the_end = matches!(self.step, Step::All) && self.until.is_none();
        self.follow && to_the_end && !known.closed && self.at >= known.end
    }

    async fn read(&mut self) -> Result<Chunk, Problem> {
        let turn = self.app.turns.log_reads.acquire().await;
        let _turn = turn.map_err(|_| Problem::new(Code::Unavailable, "the server is stopping"))?;
        let timed = self.timed;
        let (app, name) = (self.app.clone(), self.name.clone());
        let (mut at, mut until) = (self.at, self.until);
        let step = match self.step {
            Step::Number(number) => Some(number),
            Step::All | Step::Named(_) => None,
        };
        let log = Arc::clone(&self.log);
        let (chunk, at, until) = blocking(move || {
            let opened = match log.take() {
                Some(reader) => Ok(reader),
                None => app.logs.reader(&name),
            };
            let mut reader = match opened {
                Ok(reader) => reader,
                Err(LogError::NotFound) => return (Ok(Chunk::End { at: 0 }), at, until),
                Err(error) => return (Err(error), at, until),
            };
            let chunk = match step {
                None => read_until(&mut reader, timed, at, until),
                Some(step) => read_step(&mut reader, (step, timed), &mut at, &mut until),
            };
            if chunk.is_ok() {
                log.give(reader);
            }
            (chunk, at, until)
        })
        .await?;
        (self.at, self.until) = (at, until);
        chunk.map_err(|_| Problem::new(Code::Internal, "the job's log can't be read"))
    }

    async fn job(&self) -> Result<Job, Problem> {
        let id = self.job;
        let job = self.app.read(move |store| store.job(id)).await?;
        let job = job.ok_or_else(|| Problem::new(Code::NotFound, "the job is gone"))?;
        with_log(&self.app, job).await
    }
}

fn read_until(
    reader: &mut LogReader,
    timed: bool,
    at: u64,
    until: Option<u64>,
) -> Result<Chunk, LogError> {
    let left = until.map_or(u64::MAX, |until| until.saturating_sub(at));
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    if left == 0 {
        return Ok(Chunk::End { at });
    }
    if timed {
        reader.read(at, left.min(TIMED_PIECE_BYTES_MAX))
    } else {
        reader.read_raw(at, left.min(PIECE_BYTES_MAX))
    }
}

/// The next piece of a step's output, as far as it has come. Learns where it
/// ends as soon as the log knows.
fn read_step(
    reader: &mut LogReader,
    (step, timed): (u32, bool),
    at: &mut u64,
    until: &mut Option<u64>,
) -> Result<Chunk, LogError> {
    let place = |reader: &LogReader| {
        let steps = reader.steps();
        steps.into_iter().rfind(|it| it.step == step)
    };
    if until.is_none() {
        // What is read below must not lie behind an end that isn't known here.
        reader.refresh()?;
        let Some(range) = place(reader) else {
            return Ok(Chunk::End { at: *at });
        };
        *at = (*at).max(range.start);
        *until = Some(range.end.unwrap_or_else(|| reader.end()));
        let chunk = read_until(reader, timed, *at, *until);
        if range.end.is_none() {
            *until = None;
        }
        return chunk;
    }
    read_until(reader, timed, *at, *until)
}
