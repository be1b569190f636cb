//! The chain that binds each entry of the audit log to all before it.
//!
//! `hash = SHA-256(hash before ‖ number, 8 bytes big-endian ‖ text of the entry)`, and 32 zero
//! bytes stand before the first. The text is hashed as it is stored, byte by byte, so that
//! nobody has to agree on how JSON is written. Whoever keeps a number and its hash elsewhere
//! can tell later that nothing up to there was changed, left out or put in.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// How far a log goes, and what it is bound by. The default is that of an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditHead {
    /// Number of the last entry; 0 for none. They begin at 1 and leave nothing out.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A text that is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the number of an entry, a colon, and its hash in 64 hexadecimal digits")]
pub struct BadAuditHead;

impl AuditHead {
    /// The head once this entry follows.
    #[must_use]
    pub fn then(&self, entry: &str) -> Self {
        let seq = self.seq + 1;
        let hash = Sha256::new()
            .chain_update(self.hash)
            .chain_update(seq.to_be_bytes())
            .chain_update(entry)
            .finalize();
        Self {
            seq,
            hash: hash.into(),
        }
    }
}

/// `NUMBER:HASH`, as people keep it.
impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.hash.iter().try_for_each(|it| write!(f, "{it:02x}"))
    }
}

impl FromStr for AuditHead {
    type Err = BadAuditHead;

    fn from_str(text: &str) -> Result<Self, BadAuditHead> {
        let (seq, digits) = text.split_once(':').ok_or(BadAuditHead)?;
        if digits.len() != 64 || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(BadAuditHead);
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| BadAuditHead)?;
        }
        let seq = seq.parse().map_err(|_| BadAuditHead)?;
        Ok(Self { seq, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_tells_what_was_changed_left_out_or_moved() {
        let chain = |entries: &[&str]| {
            let start = AuditHead::default();
            entries.iter().fold(start, |head, it| head.then(it))
        };
        let whole = chain(&["a", "b", "c"]);
        assert_eq!(whole.seq, 3);
        for other in [
            &["a", "B", "c"][..],
            &["a", "c", "b"],
            &["a", "b"],
            &["a", "bc"],
            &["", "a", "b", "c"],
        ] {
            assert_ne!(chain(other), whole, "{other:?}");
        }
        // Reckoned by `printf '%064d000000000000000161' 0 | xxd -r -p | sha256sum`.
        assert_eq!(
            chain(&["a"]).to_string(),
            "1:00f87f5348b32d1caf5e59cbfadc31d568b7b2d04679e0d52b5aad8c5d4dfeed"
        );
    }

    #[test]
    fn a_head_is_read_as_it_is_shown_and_nothing_else_is() {
        let head = AuditHead::default().then("x");
        assert_eq!(head.to_string().parse(), Ok(head));
        for bad in [
            "",
            "1",
            "1:",
            "x:00",
            "1:zz",
            &format!("-1:{}", "0".repeat(64)),
            &format!("1:{}", "é".repeat(32)),
        ] {
            assert_eq!(bad.parse::<AuditHead>(), Err(BadAuditHead), "{bad}");
        }
    }
}
