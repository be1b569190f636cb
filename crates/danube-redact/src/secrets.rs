//! Registers the values of one job (or of the server's own log).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Redactor;
use crate::encode::{self, Needle};
use crate::engine::Engine;
use crate::needles::{NeedleSet, Needles};
use crate::prefilter::Simd;
use crate::rules::Rules;

/// Shortest value that is masked. Shorter ones turn up by chance.
const VALUE_BYTES_MIN: usize = 8;

/// Shortest value that is masked when the caller insists.
const SHORT_VALUE_BYTES_MIN: usize = 6;

/// Words that stand in so many logs that masking them would shred the log, and
/// by contrast tell the secret.
const COMMON_WORDS: &[&str] = &[
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "abc12345",
    "access",
    "active",
    "admin123",
    "administrator",
    "application",
    "artifact",
    "changeit",
    "changeme",
    "configuration",
    "connection",
    "container",
    "database",
    "default",
    "deployment",
    "development",
    "disabled",
    "docker",
    "enabled",
    "environment",
    "example",
    "external",
    "failure",
    "github",
    "gitlab",
    "internal",
    "kubernetes",
    "latest",
    "letmein",
    "localhost",
    "master",
    "network",
    "password",
    "password1",
    "password123",
    "pipeline",
    "postgres",
    "postgresql",
    "private",
    "production",
    "public",
    "qwerty",
    "qwertyuiop",
    "registry",
    "release",
    "repository",
    "secret",
    "secrets",
    "server",
    "service",
    "staging",
    "success",
    "successful",
    "testing",
    "undefined",
    "username",
    "version",
    "warning",
    "welcome",
];

/// Why a value was not registered. Never says the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing but white space.
    #[error("the value is empty: give a value, or leave it out")]
    Empty,
    /// Would turn up by chance.
    #[error(
        "the value is too short to mask without shredding the log: use one of at least {min} bytes"
    )]
    TooShort {
        /// The least length in bytes.
        min: usize,
    },
    /// `aaaaaaaa`, `--------`.
    #[error("the value is one character repeated, which would shred the log: use a random value")]
    SingleRepeatedCharacter,
    /// `password`, `localhost`.
    #[error(
        "the value is a common word, which would shred the log and give itself away: use a random value"
    )]
    CommonWord,
}

/// The registered values and the rules under which a stream is redacted. A
/// cheap, thread-safe handle: clones share the values.
#[derive(Clone)]
pub struct Secrets {
    shared: Arc<Shared>,
}

struct Shared {
    simd: Simd,
    rules: Rules,
    /// Grows with every registration; redactors compare it with what they use.
    version: AtomicU64,
    state: Mutex<State>,
}

struct State {
    values: usize,
    /// In memory that is locked.
    needles: Arc<Needles>,
    /// Those that were registered since.
    fresh: Vec<Needle>,
    /// Made when first used after a registration, so that registering many
    /// values costs one build.
    engine: Option<Arc<Engine>>,
}

impl Secrets {
    /// No values yet, and these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::with_simd(rules, Simd::best())
    }

    /// As [`Secrets::new`], with a choice of how bytes are looked at. The output
    /// doesn't depend on it: this is for tests and benchmarks. A machine that
    /// can't do it takes [`Simd::Scalar`].
    #[must_use]
    pub fn with_simd(rules: Rules, simd: Simd) -> Self {
        let state = State {
            values: 0,
            needles: Arc::new(Needles::new([].into_iter())),
            fresh: Vec::new(),
            engine: None,
        };
        let shared = Shared {
            simd,
            rules,
            version: AtomicU64::new(1),
            state: Mutex::new(state),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Masks `value` (without white space at its ends) in all its encodings from
    /// now on: running redactors take it up at their next push, also for bytes
    /// they still hold. What they have already put out cannot be taken back.
    ///
    /// # Errors
    /// A value that would shred the log is refused.
    pub fn register(&self, value: &[u8]) -> Result<(), Refused> {
        self.add(value, VALUE_BYTES_MIN)
    }

    /// As [`Secrets::register`], for values of six bytes and more. Such a value
    /// is likely to mask innocent text too; the caller should warn.
    ///
    /// # Errors
    /// A value that would shred the log is refused.
    pub fn register_short(&self, value: &[u8]) -> Result<(), Refused> {
        self.add(value, SHORT_VALUE_BYTES_MIN)
    }

    fn add(&self, value: &[u8], min: usize) -> Result<(), Refused> {
        let value = value.trim_ascii();
        check(value, min)?;
        let needles = encode::needles(value, |line| check(line, encode::LINE_BYTES_MIN).is_ok());
        let mut state = self.state();
        state.values += 1;
        state.fresh.extend(needles);
        state.engine = None;
        self.shared.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Redacts a whole text at once: a reason, an error, a log line.
    #[must_use]
    pub fn redact(&self, whole: &str) -> String {
        let bytes = self.redact_bytes(whole.as_bytes());
        // Valid again unless a registered value was not UTF-8 itself.
        String::from_utf8(bytes)
            .unwrap_or_else(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
    }

    /// Redacts a whole text at once.
    #[must_use]
    pub fn redact_bytes(&self, whole: &[u8]) -> Vec<u8> {
        // Most texts have nothing to hide, and need no redactor of their own.
        if self.ranges(whole).is_empty() {
            return whole.to_vec();
        }
        let mut out = Vec::with_capacity(whole.len());
        let mut redactor = Redactor::new(self);
        redactor.push(whole, &mut out);
        redactor.finish(&mut out);
        out
    }

    pub(crate) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// The engine for all values so far, and the version it stands for.
    pub(crate) fn engine(&self) -> (Arc<Engine>, u64) {
        let mut state = self.state();
        let version = self.version();
        let State {
            needles,
            fresh,
            engine,
            ..
        } = &mut *state;
        let engine = engine.get_or_insert_with(|| {
            if !fresh.is_empty() {
                *needles = Arc::new(needles.with(fresh));
                fresh.clear();
            }
            let set = NeedleSet::new(needles);
            Arc::new(Engine::new(
                self.shared.simd,
                self.shared.rules.clone(),
                set,
            ))
        });
        (Arc::clone(engine), version)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole, so a panic elsewhere harms nothing.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Secrets {
    /// Counts only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Secrets")
            .field("rules", &self.shared.rules)
            .field("values", &state.values)
            .field("needles", &(state.needles.len() + state.fresh.len()))
            .finish()
    }
}

fn check(value: &[u8], min: usize) -> Result<(), Refused> {
    let Some(first) = value.first() else {
        return Err(Refused::Empty);
    };
    if value.len() < min {
        return Err(Refused::TooShort { min });
    }
    if value.iter().all(|b| b == first) {
        return Err(Refused::SingleRepeatedCharacter);
    }
    if COMMON_WORDS
        .iter()
        .any(|it| value.eq_ignore_ascii_case(it.as_bytes()))
    {
        return Err(Refused::CommonWord);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_shred_a_log_is_refused_with_a_reason() {
        let secrets = Secrets::new(Rules::none());
        assert_eq!(secrets.register(b" \n"), Err(Refused::Empty));
        assert_eq!(
            secrets.register(b"1234567"),
            Err(Refused::TooShort { min: 8 })
        );
        assert_eq!(
            secrets.register(b"--------"),
            Err(Refused::SingleRepeatedCharacter)
        );
        assert_eq!(secrets.register(b"LocalHost\n"), Err(Refused::CommonWord));
        assert_eq!(
            secrets.register_short(b"x1y2z"),
            Err(Refused::TooShort { min: 6 })
        );
        assert_eq!(secrets.register_short(b"x1y2z3"), Ok(()));
        assert_eq!(
            secrets.redact("a x1y2z3 b 1234567"),
            "a [redacted] b 1234567"
        );
    }

    #[test]
    fn debug_output_shows_counts_and_no_value() {
        let secrets = Secrets::new(Rules::builtin());
        secrets.register(b"hidden-value-1").unwrap();
        let shown = format!("{secrets:?}");
        assert!(shown.contains("values: 1"), "{shown}");
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn clones_share_the_values() {
        let one = Secrets::new(Rules::none());
        let two = one.clone();
        two.register(b"shared-value").unwrap();
        assert_eq!(one.redact("shared-value"), crate::MASK);
    }
}
