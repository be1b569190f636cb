//! One-time codes: what a browser that is signed in hands to the command line on its machine.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{hash, token};

/// How long a code is good: it goes from one program to another on one machine.
const CODE_LIFE: Duration = Duration::from_secs(60);

/// Codes at once; the oldest goes first.
const CODES_MAX: usize = 1_000;

/// Codes that weren't used, by their hash.
#[derive(Default)]
pub(crate) struct Codes {
    waiting: Mutex<HashMap<[u8; 32], Waiting>>,
}

struct Waiting {
    user: String,
    challenge: String,
    until: Instant,
}

impl Codes {
    /// A code for whoever knows the text behind the challenge.
    pub(crate) fn new_code(&self, user: &str, challenge: &str, now: Instant) -> String {
        let code = token();
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, it| now < it.until);
        if all.len() >= CODES_MAX
            && let Some(oldest) = all.iter().min_by_key(|(_, it)| it.until)
        {
            let oldest = *oldest.0;
            all.remove(&oldest);
        }
        let waiting = Waiting {
            user: user.to_owned(),
            challenge: challenge.to_owned(),
            until: now + CODE_LIFE,
        };
        all.insert(hash(&code), waiting);
        code
    }

    /// The user whose code it is; it is used up by whoever shows it.
    pub(crate) fn take(&self, code: &str, verifier: &str, now: Instant) -> Option<String> {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.remove(&hash(code))?;
        let challenge = URL_SAFE_NO_PAD.encode(hash(verifier));
        (now < waiting.until && challenge == waiting.challenge).then_some(waiting.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_for_a_minute_and_for_who_asked() {
        let (codes, now) = (Codes::default(), Instant::now());
        let challenge = URL_SAFE_NO_PAD.encode(hash("verifier"));
        let code = || codes.new_code("alice", &challenge, now);
        let good = code();
        assert_eq!(codes.take(&good, "verifier", now).as_deref(), Some("alice"));
        assert_eq!(codes.take(&good, "verifier", now), None);
        let stolen = code();
        assert_eq!(codes.take(&stolen, "guess", now), None);
        assert_eq!(codes.take(&stolen, "verifier", now), None, "it is used up");
        assert_eq!(codes.take(&code(), "verifier", now + CODE_LIFE), None);
        for _ in 0..CODES_MAX + 10 {
            code();
        }
        assert_eq!(codes.waiting.lock().unwrap().len(), CODES_MAX);
    }
}
