//! Brings what one job's worker says to the master: reports in their order, and the log
//! from the spool, for as long as it takes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use danube_api::rpc::{
    APPEND_LOG_PATH, FINALIZING_PATH, Finalizing, LogPiece, PLAYED_PATH, PieceAnswer, Played,
    STARTED_PATH, STEP_PATH, Spans, Started, StepChanged, Taken,
};
use danube_executor::Stop;
use danube_joblog::{JobLogs, LogReader};
use danube_model::Attempt;
use danube_worker::Worker;
use tokio::sync::{Notify, watch};

use crate::link::{CallError, Link};
use crate::pieces::{Cut, cut};

/// How long the master may take for a report or a piece.
const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// How long to wait before a master that is away is asked again, at first.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// And at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// How long to wait for news of the log before it is looked at anyway.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A report that isn't waited for.
pub(crate) enum Report {
    Started(Started),
    Step(StepChanged),
    Played(Played),
    Finalizing(Finalizing),
}

/// Events of a playbook that go with one report.
const PLAYED_EVENTS_MAX: usize = 1_000;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shipped {
    /// The master has all before this offset of the job's log.
    pub(crate) end: u64,
    /// When all was sent that there was, so many had asked for that before.
    pub(crate) idle_for: u64,
    /// Nothing more is taken: the job is somebody else's, or can't be told.
    pub(crate) is_over: bool,
}

/// One attempt's way to the master.
pub(crate) struct Shipment {
    pub(crate) attempt: Attempt,
    /// Where the spool's first byte stands in the job's log.
    pub(crate) base: u64,
    reports: Mutex<VecDeque<Report>>,
    rung: Notify,
    shipped: watch::Sender<Shipped>,
    /// The master has less than it said: ask it where to begin.
    lost_count: AtomicBool,
    /// How often somebody asked for all to be sent.
    asked: AtomicU64,
    /// Its spans, until they are told.
    pub(crate) spans: Mutex<Option<Spans>>,
}

/// What all shipments use.
#[derive(Clone)]
pub(crate) struct Carrier {
    pub(crate) link: Link,
    pub(crate) logs: JobLogs,
}

impl Shipment {
    pub(crate) fn new(attempt: Attempt, base: u64) -> Self {
        let nothing = Shipped {
            end: base,
            idle_for: 0,
            is_over: false,
        };
        Self {
            attempt,
            base,
            reports: Mutex::default(),
            rung: Notify::new(),
            shipped: watch::Sender::new(nothing),
            lost_count: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            spans: Mutex::default(),
        }
    }

    /// Adds a report, behind those before. There are as many as a job has steps.
    pub(crate) fn report(&self, report: Report) {
        self.reports().push_back(report);
        self.rung.notify_one();
    }

    /// The same of what a playbook did: joined with what waits before it, so that a master
    /// that is away doesn't make a long queue of small reports.
    pub(crate) fn played(&self, mut played: Played) {
        let mut reports = self.reports();
        match reports.back_mut() {
            Some(Report::Played(last))
                if last.records.len() + played.records.len() <= PLAYED_EVENTS_MAX =>
            {
                last.records.append(&mut played.records);
                last.progress = played.progress;
            }
            _ => reports.push_back(Report::Played(played)),
        }
        drop(reports);
        self.rung.notify_one();
    }

    /// Asks for all to be sent that there is now: the number to wait for.
    pub(crate) fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.rung.notify_one();
        number
    }

    /// The master said that it has less of the log.
    pub(crate) fn recount(&self) {
        self.lost_count.store(true, Ordering::Relaxed);
        self.rung.notify_one();
    }

    /// Nothing more is to be told of the attempt.
    pub(crate) fn over(&self) {
        self.shipped.send_modify(|it| it.is_over = true);
        self.rung.notify_one();
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Shipped> {
        self.shipped.subscribe()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.shipped.borrow().is_over
    }

    fn reports(&self) -> std::sync::MutexGuard<'_, VecDeque<Report>> {
        // Whole after every line that changes it.
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ships until the attempt is over. `worker` runs it.
    pub(crate) async fn ship(self: Arc<Self>, carrier: Carrier, worker: Worker) {
        let mut cursor = Cursor::default();
        let mut pause = RETRY_AFTER;
        while !self.is_over() {
            match self.turn(&carrier, &mut cursor).await {
                Ok(true) => pause = RETRY_AFTER,
                Ok(false) => {
                    pause = RETRY_AFTER;
                    self.rest(&carrier).await;
                }
                Err(CallError::Away(_)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_AFTER_MAX);
                }
                // Without a good token the agent ends everything.
                Err(CallError::Fenced | CallError::Wrong(_) | CallError::Unauthorized(_)) => {
                    let _ = worker.stop(self.attempt, Stop::Lost);
                    self.over();
                }
            }
        }
    }

    /// Sends what waits; `false` when nothing did.
    async fn turn(&self, carrier: &Carrier, cursor: &mut Cursor) -> Result<bool, CallError> {
        let asked = self.asked.load(Ordering::SeqCst);
        let is_lost = self.lost_count.swap(false, Ordering::Relaxed);
        if matches!(self.reports().front(), Some(Report::Started(_))) {
            // Before the log: who sees output sees a job that runs.
            return self.send_report(carrier).await;
        }
        let found = cursor.next(self, &carrier.logs).await;
        if !found.is_empty() || is_lost {
            self.send_piece(carrier, cursor, found).await?;
            return Ok(true);
        }
        if self.send_report(carrier).await? {
            return Ok(true);
        }
        self.shipped.send_if_modified(|it| {
            let before = std::mem::replace(&mut it.idle_for, asked);
            before != asked
        });
        Ok(false)
    }

    async fn send_piece(
        &self,
        carrier: &Carrier,
        cursor: &mut Cursor,
        found: Cut,
    ) -> Result<(), CallError> {
        let Cut {
            bytes,
            runs,
            mut marks,
            gap_to,
            records,
        } = found;
        for mark in &mut marks {
            mark.at += self.base;
        }
        let about = LogPiece {
            lease: self.attempt.into(),
            offset: self.base + cursor.at,
            runs,
            marks,
            gap_to: gap_to.map(|it| self.base + it),
        };
        let expected = gap_to.unwrap_or(cursor.at + bytes.len() as u64);
        let sent = carrier
            .link
            .piece(APPEND_LOG_PATH, (bytes.into(), &about), CALL_DEADLINE);
        let PieceAnswer { end } = sent.await?;
        cursor.at = end
            .checked_sub(self.base)
            .ok_or_else(|| CallError::Wrong("the master's log ends before its begin".to_owned()))?;
        if cursor.at >= expected {
            cursor.records = records;
        } else {
            // It knows less than was thought: marks before that are passed over.
            cursor.records = 0;
        }
        self.shipped.send_modify(|it| it.end = end);
        Ok(())
    }

    /// Sends the oldest report, if there is one.
    async fn send_report(&self, carrier: &Carrier) -> Result<bool, CallError> {
        // It stays first in the queue until it was heard: only this task takes any.
        let Some(report) = self.reports().pop_front() else {
            return Ok(false);
        };
        let link = &carrier.link;
        let sent: Result<Taken, CallError> = match &report {
            Report::Started(it) => link.call(STARTED_PATH, it, CALL_DEADLINE).await,
            Report::Step(it) => link.call(STEP_PATH, it, CALL_DEADLINE).await,
            Report::Played(it) => link.call(PLAYED_PATH, it, CALL_DEADLINE).await,
            Report::Finalizing(it) => link.call(FINALIZING_PATH, it, CALL_DEADLINE).await,
        };
        if sent.is_err() {
            self.reports().push_front(report);
        }
        sent.map(|_| true)
    }

    /// Waits for something to send.
    async fn rest(&self, carrier: &Carrier) {
        let progress = carrier.logs.progress(&self.attempt.job.to_string());
        let grows = async {
            match progress {
                Some(mut progress) => {
                    // The writer's end counts as well.
                    let _ = progress.changed().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.rung.notified() => {}
            () = grows => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Where in the spool the shipment is.
#[derive(Default)]
struct Cursor {
    at: u64,
    /// The place in the spool's index up to which marks were sent.
    records: u64,
    reader: Option<LogReader>,
}

impl Cursor {
    /// What is to be sent next. What can't be read now is tried again later.
    async fn next(&mut self, shipment: &Shipment, logs: &JobLogs) -> Cut {
        let (logs, job) = (logs.clone(), shipment.attempt.job.to_string());
        let (at, records, reader) = (self.at, self.records, self.reader.take());
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = match reader {
                Some(reader) => reader,
                None => logs.reader(&job).ok()?,
            };
            let found = cut(&mut reader, at, records).ok()?;
            Some((reader, found))
        });
        let Ok(Some((reader, found))) = read.await else {
            return Cut::default();
        };
        self.reader = Some(reader);
        found
    }
}
