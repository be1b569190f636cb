//! The token of one attempt: what the job's own processes show to the server.
//!
//! It dies with the attempt. The worker keeps a hash of it; the token itself is
//! in the environment of the steps alone.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What every token begins with: the redactor knows it as it knows an API key.
const PREFIX: &str = "dnb_job_";

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// A token that nobody has seen yet. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct JobToken(String);

impl JobToken {
    /// A new one with 256 random bits.
    #[must_use]
    pub fn mint() -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).expect("Linux gives random bytes to every process since 3.17");
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that was minted elsewhere.
    #[must_use]
    pub const fn of(text: String) -> Self {
        Self(text)
    }

    /// What the steps are given that a coordinator with this token has run: it opens what
    /// any step's token opens, and tells nothing of this one.
    #[must_use]
    pub fn of_steps(&self) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"danube: token of called steps\n");
        hash.update(self.0.as_bytes());
        Self(format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(hash.finalize())
        ))
    }

    /// For the environment of the steps.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for JobToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JobToken")
    }
}

/// What is kept of a token. There is no `==` by accident: only
/// [`TokenHash::fits`] compares.
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash that a worker told of a token which it minted.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> [u8; 32] {
        self.0
    }

    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether this is the token, in a time that says nothing of how much of it
    /// was right.
    #[must_use]
    pub fn fits(&self, token: &str) -> bool {
        let shown = Self::of(token);
        let pairs = self.0.iter().zip(shown.0);
        pairs.fold(0, |all, (kept, shown)| all | (kept ^ shown)) == 0
    }
}

#[cfg(test)]
mod tests {
    use danube_redact::{MASK, Rules, Secrets};

    use super::*;

    #[test]
    fn a_token_fits_its_own_hash_alone() {
        let (one, two) = (JobToken::mint(), JobToken::mint());
        assert!(one.hash().fits(one.text()));
        assert!(!one.hash().fits(two.text()));
        assert!(!one.hash().fits(""));
        assert_eq!(format!("{one:?}"), "JobToken");
    }

    #[test]
    fn the_token_of_called_steps_is_another_and_always_the_same() {
        let token = JobToken::mint();
        let steps = token.of_steps();
        assert!(!token.hash().fits(steps.text()));
        assert_eq!(steps.text(), token.of_steps().text());
        assert_eq!(steps.text().len(), token.text().len());
    }

    #[test]
    fn the_rules_know_a_token_that_nobody_registered() {
        for _ in 0..100 {
            let token = JobToken::mint();
            let shown = Secrets::new(Rules::builtin()).redact(&format!("see {} !", token.text()));
            assert_eq!(shown, format!("see {MASK} !"));
        }
    }
}
