//! The one thread that writes.
//!
//! It takes what waits, runs it in one transaction, commits once with one
//! fsync, and only then answers. One that is refused doesn't spoil the others. Requests own everything they
//! need: a caller that goes away leaves nothing open behind.

mod batch;
mod company;
pub(crate) mod pending;
mod queue;

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use danube_model::{State, Timestamp};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::counts::Change;
use crate::open::Shared;
use crate::rows::Record;
use crate::{Moved, StoreError};
use pending::Pending;
use queue::Queue;

/// How long a dropped store waits for its last writes.
const DROP_WAIT_MAX: Duration = Duration::from_secs(10);

/// What kind of request it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Class {
    /// Adds something, with so many bytes: refused first when room gets scarce.
    Growing(usize),
    /// Somebody waits for the answer.
    Urgent,
    /// Nobody waits: rides along with the next commit.
    Lazy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Now,
    Lazy,
}

/// A write that waits or is being done.
struct Request {
    task: Box<dyn Task>,
    urgency: Urgency,
    grows: bool,
    bytes: usize,
    since: Instant,
}

/// A write without its type: run (again, when the first transaction was lost),
/// then answered.
trait Task: Send {
    /// Returns why it changed nothing.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError>;
    /// Answers: with the outcome of the last run, or why its transaction was lost.
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

struct Work<T, F> {
    work: F,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Task for Work<T, F>
where
    T: Send,
    F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let outcome = (self.work)(tx);
        let refused = outcome.as_ref().err().cloned();
        self.outcome = Some(outcome);
        refused.map_or(Ok(()), Err)
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        let outcome = match lost {
            Some(error) => Err(error),
            None => self.outcome.unwrap_or(Err(StoreError::Closed)),
        };
        // Nobody may be there to hear it; the write happened all the same.
        let _ = self.reply.send(outcome);
    }
}

/// What a request works with.
pub(crate) struct Tx<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) shared: &'a Shared,
    /// One time for the whole transaction.
    pub(crate) now: Timestamp,
    change: Cell<Change>,
    /// What the requests before this one change.
    total: RefCell<Change>,
    undo: Cell<bool>,
    reopen: Cell<bool>,
}

impl Tx<'_> {
    /// The job came to be, or moved from there to where it is now.
    pub(crate) fn moved(&self, Record { job, .. }: &Record, from: Option<State>) {
        let mut change = self.change.take();
        change.moved(Moved {
            job: job.id,
            pipeline: job.pipeline.clone(),
            kind: job.kind,
            queue: job.queue.clone(),
            from,
            to: job.state,
        });
        self.change.set(change);
    }

    /// How many jobs are pending, as the requests before this one leave it.
    pub(crate) fn pending(&self) -> u64 {
        let change = self.total.borrow().pending();
        self.shared
            .counts
            .get()
            .pending
            .saturating_add_signed(change)
    }

    /// The same of a pipeline.
    pub(crate) fn pending_of(&self, pipeline: &str) -> u64 {
        let change = self.total.borrow().pending_of(pipeline);
        let before = self.shared.counts.pending(pipeline);
        before.saturating_add_signed(change)
    }

    /// A webhook became due.
    pub(crate) fn webhook_due(&self) {
        let mut change = self.change.take();
        change.webhook_due();
        self.change.set(change);
    }

    /// Lets everything that this request wrote be rolled back.
    pub(crate) fn undo(&self) {
        self.undo.set(true);
    }

    /// Lets the connection be opened anew after this batch.
    pub(crate) fn reopen(&self) {
        self.reopen.set(true);
    }
}

/// The handle of the thread.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    ended: Mutex<bool>,
    changed: Condvar,
}

/// Tells that the thread has ended, also when it panics, so that nobody waits
/// for an answer that never comes.
struct Farewell {
    queue: Arc<Queue>,
    ended: Arc<Ended>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.queue.abandon();
        *self
            .ended
            .ended
            .lock()
            .expect("nothing panics while it holds this") = true;
        self.ended.changed.notify_all();
    }
}

impl Writer {
    pub(crate) fn start(shared: Arc<Shared>, connection: Connection) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new());
        let ended = Arc::new(Ended::default());
        let farewell = Farewell {
            queue: Arc::clone(&queue),
            ended: Arc::clone(&ended),
        };
        thread::Builder::new()
            .name("danube-store".into())
            .spawn(move || {
                let queue = Arc::clone(&farewell.queue);
                batch::Writing::new(shared, connection).run(&queue);
                drop(farewell);
            })?;
        Ok(Self { queue, ended })
    }

    /// Hands a write over. Never waits: a full queue is refused.
    pub(crate) fn send<T, F>(&self, class: Class, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, pending) = Pending::new();
        let (urgency, grows, bytes) = match class {
            Class::Growing(bytes) => (Urgency::Now, true, bytes),
            Class::Urgent => (Urgency::Now, false, 0),
            Class::Lazy => (Urgency::Lazy, false, 0),
        };
        let request = Request {
            task: Box::new(Work {
                work,
                outcome: None,
                reply,
            }),
            urgency,
            grows,
            bytes,
            since: Instant::now(),
        };
        if let Err((request, error)) = self.queue.push(request) {
            request.task.answer(Some(error));
        }
        pending
    }

    /// Returns whether it ended within `deadline`.
    pub(crate) fn close(&self, deadline: Duration) -> bool {
        self.queue.close();
        let ended = self
            .ended
            .ended
            .lock()
            .expect("nothing panics while it holds this");
        let (ended, _) = self
            .ended
            .changed
            .wait_timeout_while(ended, deadline, |ended| !*ended)
            .expect("nothing panics while it holds this");
        *ended
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close(DROP_WAIT_MAX);
    }
}
