//! The calls of one attempt's coordinator on their way to the job's thread, and the answers
//! to them.
//!
//! A call that is repeated finds what became of it: it is done once, whoever lost a
//! connection on the way.

use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_model::coordinator::{Call, CallAnswer, CallRefusal};
use danube_model::limits::{CALL_ANSWERS_KEPT, CALLS_WAITING_MAX, STEPS_MAX};

/// Hears the answer to a call. Called from the job's own thread: it mustn't block.
pub type Listener = Box<dyn FnOnce(CallAnswer) + Send>;

/// Ids of calls that are known: as many steps as a job may have, and as much said of itself.
const KNOWN_MAX: usize = 2 * STEPS_MAX;

/// The calls of one attempt.
pub struct Calls {
    state: Mutex<State>,
    /// Readable while calls wait.
    awake: PipeReader,
    wake: PipeWriter,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Call>,
    known: HashMap<String, Known>,
    /// Answers that are kept, the oldest first.
    kept: VecDeque<String>,
    /// The coordinator has ended.
    is_over: bool,
}

enum Known {
    /// Not answered yet; who wants to hear of it.
    Open(Vec<Listener>),
    Answered(CallAnswer),
    /// Answered, and what it was is forgotten.
    Forgotten,
}

impl Calls {
    /// No call yet.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        let (awake, wake) = io::pipe()?;
        Ok(Self {
            state: Mutex::default(),
            awake,
            wake,
        })
    }

    /// Has the call be done, unless it was before: then the answer is that of before.
    pub fn ask(&self, call: Call, listener: Listener) {
        let refusal = {
            let mut state = self.lock();
            let State {
                waiting,
                known,
                is_over,
                ..
            } = &mut *state;
            let id = call.request_id().to_owned();
            let count = known.len();
            let open = known.values().filter(|it| matches!(it, Known::Open(_)));
            let open = open.count();
            match known.get_mut(&id) {
                Some(Known::Open(listeners)) if listeners.len() < CALLS_WAITING_MAX => {
                    listeners.push(listener);
                    return;
                }
                Some(Known::Open(_)) => CallAnswer::Refused(CallRefusal::TooMany),
                Some(Known::Answered(answer)) => answer.clone(),
                Some(Known::Forgotten) => CallAnswer::Refused(CallRefusal::AnsweredBefore),
                None if *is_over => CallAnswer::Refused(CallRefusal::Ended),
                None if open >= CALLS_WAITING_MAX => CallAnswer::Refused(CallRefusal::TooMany),
                None if count >= KNOWN_MAX => CallAnswer::Refused(CallRefusal::TooManySteps),
                None => {
                    known.insert(id, Known::Open(vec![listener]));
                    waiting.push_back(call);
                    // A byte a call that waits: fewer than a pipe holds.
                    let _ = (&self.wake).write_all(b"c");
                    return;
                }
            }
        };
        listener(refusal);
    }

    /// Ids of the calls that aren't answered yet.
    #[must_use]
    pub fn open(&self) -> Vec<String> {
        let state = self.lock();
        let open = state.known.iter();
        open.filter(|(_, it)| matches!(it, Known::Open(_)))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whether nothing more will be done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Readable while a call waits.
    pub(crate) fn awake(&self) -> BorrowedFd<'_> {
        self.awake.as_fd()
    }

    /// The call that waits longest.
    pub(crate) fn next(&self) -> Option<Call> {
        let mut state = self.lock();
        let call = state.waiting.pop_front()?;
        let mut byte = [0];
        // There is one for it.
        let _ = (&self.awake).read(&mut byte);
        Some(call)
    }

    /// A call is done.
    pub(crate) fn answer(&self, id: &str, answer: &CallAnswer) {
        let listeners = {
            let mut state = self.lock();
            let before = state
                .known
                .insert(id.to_owned(), Known::Answered(answer.clone()));
            state.kept.push_back(id.to_owned());
            if state.kept.len() > CALL_ANSWERS_KEPT
                && let Some(oldest) = state.kept.pop_front()
            {
                state.known.insert(oldest, Known::Forgotten);
            }
            match before {
                Some(Known::Open(listeners)) => listeners,
                _ => Vec::new(),
            }
        };
        for listener in listeners {
            listener(answer.clone());
        }
    }

    /// The coordinator has ended: what waits isn't done any more.
    pub(crate) fn close(&self) {
        let left = {
            let mut state = self.lock();
            state.is_over = true;
            std::mem::take(&mut state.waiting)
        };
        for call in left {
            let refused = CallAnswer::Refused(CallRefusal::Ended);
            self.answer(call.request_id(), &refused);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use danube_model::coordinator::{Reported, StatusCall};

    use super::*;

    fn call(id: &str) -> Call {
        Call::Status(StatusCall {
            request_id: id.to_owned(),
            status: Reported::Running,
            message: String::new(),
        })
    }

    /// Asks; what is heard of it.
    fn ask(calls: &Calls, id: &str) -> mpsc::Receiver<CallAnswer> {
        let (to, heard) = mpsc::sync_channel(1);
        calls.ask(
            call(id),
            Box::new(move |answer| to.send(answer).expect("the test listens")),
        );
        heard
    }

    fn refusal(heard: &mpsc::Receiver<CallAnswer>) -> Option<CallRefusal> {
        match heard.try_recv() {
            Ok(CallAnswer::Refused(why)) => Some(why),
            _ => None,
        }
    }

    #[test]
    fn a_repeated_call_is_done_once_and_answered_as_often_as_it_is_asked() {
        let calls = Calls::new().unwrap();
        let (one, two) = (ask(&calls, "a"), ask(&calls, "a"));
        assert_eq!(calls.next().unwrap().request_id(), "a");
        assert!(calls.next().is_none(), "it was repeated");
        assert_eq!(calls.open(), ["a"]);
        calls.answer("a", &CallAnswer::Noted);
        for heard in [one, two, ask(&calls, "a")] {
            assert!(matches!(heard.try_recv(), Ok(CallAnswer::Noted)));
        }
    }

    #[test]
    fn calls_that_flood_are_refused_and_what_was_answered_long_ago_is_forgotten() {
        let calls = Calls::new().unwrap();
        let waiting: Vec<_> = (0..CALLS_WAITING_MAX)
            .map(|it| ask(&calls, &it.to_string()))
            .collect();
        assert!(waiting.iter().all(|it| it.try_recv().is_err()));
        let more = ask(&calls, "more");
        assert_eq!(refusal(&more), Some(CallRefusal::TooMany));
        for number in 0..=CALL_ANSWERS_KEPT {
            let id = number.to_string();
            let _heard = (number >= CALLS_WAITING_MAX).then(|| ask(&calls, &id));
            assert_eq!(calls.next().unwrap().request_id(), id);
            calls.answer(&id, &CallAnswer::Noted);
        }
        assert_eq!(
            refusal(&ask(&calls, "0")),
            Some(CallRefusal::AnsweredBefore)
        );
    }

    #[test]
    fn nothing_is_done_after_the_end() {
        let calls = Calls::new().unwrap();
        let waits = ask(&calls, "a");
        calls.close();
        assert_eq!(refusal(&waits), Some(CallRefusal::Ended));
        assert_eq!(refusal(&ask(&calls, "b")), Some(CallRefusal::Ended));
        assert!(calls.is_over() && calls.next().is_none());
    }
}
