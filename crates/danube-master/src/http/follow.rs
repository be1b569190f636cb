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

use super::jobs::with_live_log;
use crate::app::{PhaseWatch, Shared, blocking};

/// Bytes of one piece: what a follower costs in memory, several times over.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// How long a silent log is waited for before the follower is told that the
/// server is still there. Below the minute after which proxies give up.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// Followers at once; each holds a connection and two open files.
const FOLLOWERS_MAX: usize = 10_000;

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
    follow: bool,
}

impl Follower {
    /// A reader of the job's log from `at`, to `until` or its end. With
    /// `follow` the end is that of the job.
    pub(crate) fn new(
        app: Shared,
        job: JobId,
        at: u64,
        until: Option<u64>,
        follow: bool,
    ) -> Result<Self, Problem> {
        let before = app.followers.fetch_add(1, Ordering::SeqCst);
        let follower = Self {
            watch: app.phases.watch(job),
            name: job.to_string(),
            app,
            job,
            reader: None,
            at,
            until,
            follow,
        };
        if before >= FOLLOWERS_MAX {
            follower
                .app
                .signals
                .sse_clients_dropped_total
                .at(SseDropReason::Limit)
                .inc();
            return Err(Problem::new(
                Code::TooMany,
                format!("{FOLLOWERS_MAX} followers read logs already"),
            ));
        }
        Ok(follower)
    }

    /// The next piece.
    pub(crate) async fn next(&mut self) -> Result<Piece, Problem> {
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

    async fn read(&mut self) -> Result<Chunk, Problem> {
        let left = self
            .until
            .map_or(u64::MAX, |until| until.saturating_sub(self.at));
        let max = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(PIECE_BYTES_MAX);
        let (app, name, at) = (self.app.clone(), self.name.clone(), self.at);
        let mut reader = self.reader.take();
        let (reader, chunk) = blocking(move || {
            if reader.is_none() {
                match app.logs.reader(&name) {
                    Ok(opened) => reader = Some(opened),
                    Err(LogError::NotFound) => return (None, Ok(Chunk::End { at: 0 })),
                    Err(error) => return (None, Err(error)),
                }
            }
            let chunk = match &mut reader {
                Some(reader) if max > 0 => reader.read(at, max),
                _ => Ok(Chunk::End { at }),
            };
            (reader, chunk)
        })
        .await?;
        self.reader = reader;
        chunk.map_err(|_| Problem::new(Code::Internal, "the job's log can't be read"))
    }

    async fn job(&self) -> Result<Job, Problem> {
        let id = self.job;
        let job = self.app.read(move |store| store.job(id)).await?;
        let job = job.ok_or_else(|| Problem::new(Code::NotFound, "the job is gone"))?;
        Ok(with_live_log(&self.app, job))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.app.followers.fetch_sub(1, Ordering::SeqCst);
    }
}
