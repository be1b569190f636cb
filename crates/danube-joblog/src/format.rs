//! The index file's bytes. `docs/joblog-index.md` describes them.

use crate::types::{Mark, StreamKind};

/// Bytes of the header and of each record.
pub(crate) const RECORD_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"DANUBEIX";
const VERSION: u16 = 1;

/// [`RECORD_BYTES`] as the header says it.
const RECORD_BYTES_WORD: u16 = 32;
const _: () = assert!(RECORD_BYTES_WORD as usize == RECORD_BYTES);

/// One record of the index, in the order in which things happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Bytes up to the logical offset `end` are in the current file.
    Flush {
        end: u64,
        time_us: Option<u64>,
        stream: StreamKind,
    },
    /// A mark at the logical offset `at`.
    Mark {
        mark: Mark,
        at: u64,
        time_us: Option<u64>,
    },
    /// `from..from + len` is lost; the log's logical end is then `end`. Without
    /// a length: an unknown number of bytes was lost before `end`.
    Gap { from: u64, len: u64, end: u64 },
    /// From the logical offset `base` on bytes go to a new tail file.
    Segment { base: u64 },
    /// A writer has opened the log; until it closes it, bytes may be missing.
    Open { at: u64, time_us: Option<u64> },
    /// The log was closed whole.
    Close { end: u64, time_us: Option<u64> },
}

impl Record {
    /// The logical offset up to which the log reaches with this record. Never
    /// falls from one record to the next.
    pub(crate) fn offset(&self) -> u64 {
        match *self {
            Self::Flush { end, .. } | Self::Gap { end, .. } | Self::Close { end, .. } => end,
            Self::Mark { at, .. } | Self::Open { at, .. } => at,
            Self::Segment { base } => base,
        }
    }

    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut number = [0; 4];
        let mut high = [0; 4];
        let (kind, stream, word) = match *self {
            Self::Flush {
                time_us, stream, ..
            } => (1, stream_code(stream), time_us.unwrap_or(0)),
            Self::Mark { mark, time_us, .. } => {
                let (kind, n) = match mark {
                    Mark::Attempt(n) => (2, n),
                    Mark::StepStart(n) => (3, n),
                    Mark::StepEnd(n) => (4, n),
                };
                number = n.to_le_bytes();
                (kind, 0, time_us.unwrap_or(0))
            }
            Self::Gap { from, len, .. } => {
                let len = len.to_le_bytes();
                number.copy_from_slice(&len[..4]);
                high.copy_from_slice(&len[4..]);
                (5, 0, from)
            }
            Self::Segment { .. } => (6, 0, 0),
            Self::Close { time_us, .. } => (7, 0, time_us.unwrap_or(0)),
            Self::Open { time_us, .. } => (8, 0, time_us.unwrap_or(0)),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = kind;
        bytes[1] = stream;
        bytes[4..8].copy_from_slice(&number);
        bytes[8..16].copy_from_slice(&self.offset().to_le_bytes());
        bytes[16..24].copy_from_slice(&word.to_le_bytes());
        bytes[24..28].copy_from_slice(&high);
        seal(&mut bytes);
        bytes
    }

    /// `None` for a record that is torn, damaged or of a kind not known.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        if !is_sealed(bytes) || bytes[2..4] != [0, 0] {
            return None;
        }
        let number: [u8; 4] = bytes[4..8].try_into().ok()?;
        let offset = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        let word = u64::from_le_bytes(bytes[16..24].try_into().ok()?);
        let time_us = (word != 0).then_some(word);
        let mark = |mark| Self::Mark {
            mark,
            at: offset,
            time_us,
        };
        let n = u32::from_le_bytes(number);
        Some(match bytes[0] {
            1 => Self::Flush {
                end: offset,
                time_us,
                stream: stream_of(bytes[1])?,
            },
            2 => mark(Mark::Attempt(n)),
            3 => mark(Mark::StepStart(n)),
            4 => mark(Mark::StepEnd(n)),
            5 => {
                let mut len = [0; 8];
                len[..4].copy_from_slice(&number);
                len[4..].copy_from_slice(&bytes[24..28]);
                Self::Gap {
                    from: word,
                    len: u64::from_le_bytes(len),
                    end: offset,
                }
            }
            6 => Self::Segment { base: offset },
            7 => Self::Close {
                end: offset,
                time_us,
            },
            8 => Self::Open {
                at: offset,
                time_us,
            },
            _ => return None,
        })
    }
}

/// The file's first bytes.
pub(crate) fn header(created_us: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[10..12].copy_from_slice(&RECORD_BYTES_WORD.to_le_bytes());
    bytes[12..20].copy_from_slice(&created_us.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Whether these are the first bytes of an index that we can read.
pub(crate) fn is_header(bytes: &[u8]) -> bool {
    let Ok(bytes) = <&[u8; RECORD_BYTES]>::try_from(bytes) else {
        return false;
    };
    is_sealed(bytes) && bytes[..8] == *MAGIC && bytes[8..10] == VERSION.to_le_bytes()
}

fn seal(bytes: &mut [u8; RECORD_BYTES]) {
    let sum = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&sum.to_le_bytes());
}

fn is_sealed(bytes: &[u8; RECORD_BYTES]) -> bool {
    bytes[28..] == crc32fast::hash(&bytes[..28]).to_le_bytes()
}

fn stream_code(stream: StreamKind) -> u8 {
    match stream {
        StreamKind::Stdout => 1,
        StreamKind::Stderr => 2,
        StreamKind::Mixed => 3,
    }
}

fn stream_of(code: u8) -> Option<StreamKind> {
    match code {
        1 => Some(StreamKind::Stdout),
        2 => Some(StreamKind::Stderr),
        3 => Some(StreamKind::Mixed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_survives_and_any_flipped_bit_is_seen() {
        let records = [
            Record::Flush {
                end: 7,
                time_us: Some(1),
                stream: StreamKind::Stderr,
            },
            Record::Flush {
                end: u64::MAX,
                time_us: None,
                stream: StreamKind::Mixed,
            },
            Record::Mark {
                mark: Mark::Attempt(u32::MAX),
                at: 3,
                time_us: Some(9),
            },
            Record::Mark {
                mark: Mark::StepStart(1),
                at: 3,
                time_us: None,
            },
            Record::Mark {
                mark: Mark::StepEnd(1),
                at: 3,
                time_us: None,
            },
            Record::Gap {
                from: 5,
                len: u64::MAX - 1,
                end: 12,
            },
            Record::Segment { base: 12 },
            Record::Close {
                end: 12,
                time_us: Some(2),
            },
            Record::Open {
                at: 12,
                time_us: Some(3),
            },
        ];
        for record in records {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            for bit in 0..RECORD_BYTES * 8 {
                let mut bad = bytes;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&bad), None, "{record:?} bit {bit}");
            }
        }
        assert!(is_header(&header(5)));
        assert_eq!(Record::decode(&[0; RECORD_BYTES]), None);
    }
}
