//! Keeps secrets out of the server's own log.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use danube_redact::{Refused, Rules, Secrets, Texts};
use danube_telemetry::log::{Redact, Suspects};

/// The field that names a person on purpose and may hold an address.
const USER_FIELD: &str = "user";

/// What a log doesn't show: what the rules find, and addresses but for the field that
/// is there for them. Clones are the same.
#[derive(Clone)]
pub(crate) struct LogSecrets(Arc<Inner>);

struct Inner {
    /// For [`USER_FIELD`].
    user: Secrets,
    /// For all other fields.
    other: Secrets,
    /// Which of the process's log this is: each thread keeps what it needs for one.
    id: u64,
}

/// What a thread keeps.
struct Kept {
    id: u64,
    user: Texts,
    other: Texts,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

impl LogSecrets {
    pub(crate) fn new(rules: Rules) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Inner {
            user: Secrets::new(rules.clone()),
            other: Secrets::new(rules.with_email()),
            id: IDS.fetch_add(1, Ordering::Relaxed),
        }))
    }

    /// Masks this value in every field from now on.
    ///
    /// # Errors
    /// A value that would shred the log is refused.
    pub(crate) fn register(&self, value: &[u8]) -> Result<(), Refused> {
        self.0.user.register(value)?;
        self.0.other.register(value)
    }

    /// For the log's options.
    pub(crate) fn redact(&self) -> Box<Redact> {
        let inner = Arc::clone(&self.0);
        Box::new(move |field, value| {
            let is_user = field == USER_FIELD;
            let kept = inner.kept(|kept| {
                let texts = if is_user {
                    &mut kept.user
                } else {
                    &mut kept.other
                };
                texts.redact(value)
            });
            // A thread that is ending keeps nothing more.
            kept.unwrap_or_else(|| {
                let secrets = if is_user { &inner.user } else { &inner.other };
                Cow::Owned(secrets.redact(value))
            })
        })
    }

    /// For the log's options: whatever is found for [`USER_FIELD`] is found for the
    /// others too, so that one look will do.
    pub(crate) fn suspects(&self) -> Box<Suspects> {
        let inner = Arc::clone(&self.0);
        Box::new(move |line| {
            let kept = inner.kept(|kept| kept.other.may_hold(line));
            kept.unwrap_or(true)
        })
    }
}

impl Inner {
    /// Does something with what this thread keeps; `None` when it can't keep anything.
    fn kept<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let with = |kept: &RefCell<Option<Kept>>| {
            let mut kept = kept.try_borrow_mut().ok()?;
            if kept.as_ref().is_none_or(|it| it.id != self.id) {
                *kept = Some(Kept {
                    id: self.id,
                    user: Texts::new(&self.user),
                    other: Texts::new(&self.other),
                });
            }
            kept.as_mut().map(act)
        };
        KEPT.try_with(with).ok().flatten()
    }
}

#[cfg(test)]
mod tests;
