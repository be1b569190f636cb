//! The answer that comes once the write is durable.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::sync::oneshot;

use crate::StoreError;
use crate::pulse::BEAT_EVERY;

/// A write that was handed over. Answers only after the commit is durable, or
/// with the reason why nothing was changed.
///
/// A future for async code, [`Pending::wait`] for threads. Dropping it undoes
/// nothing: the write happens, and nobody hears of it.
#[must_use = "the write may be refused; ask for the answer"]
pub struct Pending<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Pending<T> {
    pub(crate) fn new() -> (oneshot::Sender<Result<T, StoreError>>, Self) {
        let (reply, answer) = oneshot::channel();
        (reply, Self(answer))
    }

    /// An answer that is known already.
    pub(crate) fn refused(error: StoreError) -> Self {
        let (reply, pending) = Self::new();
        // The receiver is right here, so it can't be gone.
        let _ = reply.send(Err(error));
        pending
    }

    /// Blocks this thread until the answer is there. Not for async code: there,
    /// await it.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    /// The same, for a loop that a watchdog looks at: `alive` is called once a second
    /// meanwhile. Whoever waits for the writer is not parked.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn wait_alive(self, alive: impl Fn()) -> Result<T, StoreError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut answer = pin!(self);
        loop {
            alive();
            if let Poll::Ready(answer) = answer.as_mut().poll(&mut context) {
                return answer;
            }
            thread::park_timeout(BEAT_EVERY);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}
