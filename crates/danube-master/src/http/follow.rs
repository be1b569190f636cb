//! Reads a log piece by piece, and waits for more while its job lives.
//!
//! A follower reads the file at its own pace through the page cache: a slow one
//! holds nothing back and keeps nothing in memory but its next piece.

use std::sync::atomic::Ordering;
use std::time::Duration;

use danube_api::{Code, Problem};
use danube_joblog::{Chunk, GapReason, LogError, LogReader, StreamKind};
use danube_model::{Job, JobId};
use danube_signals::SseDropReason;

use super::jobs::with_log;
use crate::app::{PhaseWatch, Shared, blocking};

/// Bytes of one piece: what a follower costs in memory, several times over.
const PIECE_BYTES_MAX: usize = 16 * 1024;

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

/// One reader of one log.
pub(crate) struct Follower {
    app: Shared,
    job: JobId,
    name: String,
    watch: PhaseWatch,
    reader: Option<LogReader>,
    /// The logical offset of the next byte.
    at: u64,
    /// Where to stop, when not at the end.
    until: Option<u64>,
    step: Step,
    follow: bool,
}

impl Follower {
    /// A reader of this part of the job's log. With `follow` the end is that of
    /// the job, or of the step.
    pub(crate) fn new(app: Shared, job: JobId, part: Part, follow: bool) -> Result<Self, Problem> {
        let before = app.followers.fetch_add(1, Ordering::SeqCst);
        let follower = Self {
            watch: app.phases.watch(job),
            name: job.to_string(),
            app,
            job,
            reader: None,
            at: part.from,
            until: part.until,
            step: part.step,
            follow,
        };
        if before >= follower.app.followers_max {
            follower
                .app
                .signals
                .sse_clients_dropped_total
                .at(SseDropReason::Limit)
                .inc();
            return Err(Problem::new(
                Code::TooMany,
                format!("{before} followers read logs already"),
            ));
        }
        Ok(follower)
    }

    /// The next piece.
    pub(crate) async fn next(&mut self) -> Result<Piece, Problem> {
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
            if let Some(progress) = &mut progress {
                progress.mark_unchanged();
            }
            match self.read().await? {
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

    async fn read(&mut self) -> Result<Chunk, Problem> {
        let (app, name) = (self.app.clone(), self.name.clone());
        let (mut at, mut until) = (self.at, self.until);
        let step = match self.step {
            Step::Number(number) => Some(number),
            Step::All | Step::Named(_) => None,
        };
        let mut reader = self.reader.take();
        let (reader, chunk, at, until) = blocking(move || {
            if reader.is_none() {
                match app.logs.reader(&name) {
                    Ok(opened) => reader = Some(opened),
                    Err(LogError::NotFound) => return (None, Ok(Chunk::End { at: 0 }), at, until),
                    Err(error) => return (None, Err(error), at, until),
                }
            }
            let chunk = match (&mut reader, step) {
                (None, _) => Ok(Chunk::End { at }),
                (Some(reader), None) => read_until(reader, at, until),
                (Some(reader), Some(step)) => read_step(reader, step, &mut at, &mut until),
            };
            (reader, chunk, at, until)
        })
        .await?;
        self.reader = reader;
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

fn read_until(reader: &mut LogReader, at: u64, until: Option<u64>) -> Result<Chunk, LogError> {
    let left = until.map_or(u64::MAX, |until| until.saturating_sub(at));
    let max = usize::try_from(left)
        .unwrap_or(usize::MAX)
        .min(PIECE_BYTES_MAX);
    if max == 0 {
        return Ok(Chunk::End { at });
    }
    reader.read(at, max)
}

/// The next piece of a step's output, as far as it has come. Learns where it
/// ends as soon as the log knows.
fn read_step(
    reader: &mut LogReader,
    step: u32,
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
        let chunk = read_until(reader, *at, *until);
        if range.end.is_none() {
            *until = None;
        }
        return chunk;
    }
    read_until(reader, *at, *until)
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.app.followers.fetch_sub(1, Ordering::SeqCst);
    }
}
