//! Job ids: a `UUIDv7` in full, eight characters for people.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Characters of a short id: 40 random bits, so that among a million jobs two
/// share one about once in two thousand runs of a whole installation. Whoever
/// looks a job up by short id must be ready for more than one answer.
pub const SHORT_ID_CHARS: usize = 8;

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u` to misread aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Names a job for ever. Sorts by the time of creation (RFC 9562, version 7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

/// The text isn't a job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a job id: expected 36 characters such as 0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6, or a short id of {SHORT_ID_CHARS}"
)]
pub struct BadId;

impl JobId {
    /// A new id. Ids made by one process ascend, even within a millisecond.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The form for people: the last 40 bits, which are random, in base 32.
    #[must_use]
    pub fn short(self) -> String {
        let bits = self.0.as_u128();
        (0..SHORT_ID_CHARS)
            .rev()
            .map(|place| {
                let digit = (bits >> (5 * place)) & 31;
                char::from(ALPHABET[usize::try_from(digit).expect("five bits fit")])
            })
            .collect()
    }

    /// Whether `text` has the shape of a short id (case doesn't matter).
    #[must_use]
    pub fn is_short(text: &str) -> bool {
        text.len() == SHORT_ID_CHARS
            && text
                .bytes()
                .all(|byte| ALPHABET.contains(&byte.to_ascii_lowercase()))
    }

    /// The 16 bytes in network order, as the store keeps them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(out)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for JobId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        // Only the hyphenated form: one job has one spelling in paths and logs.
        if text.len() != 36 {
            return Err(BadId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| BadId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_later_sort_later() {
        let ids: Vec<JobId> = (0..1_000).map(|_| JobId::new()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            ids.windows(2)
                .all(|pair| pair[0].to_string() < pair[1].to_string())
        );
    }

    #[test]
    fn an_id_survives_its_text_and_its_bytes() {
        let id = JobId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(JobId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn the_short_form_is_the_random_end() {
        let id: JobId = "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6".parse().unwrap();
        // c3d4e5f6 and the byte before it, b2, are the last 40 bits.
        assert_eq!(id.short(), "pb1x9sfp");
        assert!(JobId::is_short(&id.short()));
        assert!(JobId::is_short(&id.short().to_uppercase()));
        let other: JobId = "ffffffff-ffff-7fff-8fff-ffb2c3d4e5f6".parse().unwrap();
        assert_eq!(id.short(), other.short(), "only the last 40 bits count");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "job",
            "0192f0c12b3c7d4e8f90a1b2c3d4e5f6",
            "../../etc/passwd",
            "{0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6}",
        ] {
            assert_eq!(text.parse::<JobId>(), Err(BadId), "{text}");
        }
        assert!(!JobId::is_short("../../ab"));
    }
}
