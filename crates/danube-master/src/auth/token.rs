//! Random texts that open something, and the hashes by which alone they are remembered.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::random;

/// Random bytes of a token: nobody guesses 256 bits.
const TOKEN_BYTES: usize = 32;

/// A new one: letters, digits, `-` and `_`.
pub(crate) fn token() -> String {
    URL_SAFE_NO_PAD.encode(random::<TOKEN_BYTES>())
}

/// Whether a text has the form of one.
pub(crate) fn is_token(text: &str) -> bool {
    let random = URL_SAFE_NO_PAD.decode(text);
    random.is_ok_and(|it| it.len() == TOKEN_BYTES)
}

/// What is remembered of one. Hashes are compared, so the time tells nothing of the token.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
