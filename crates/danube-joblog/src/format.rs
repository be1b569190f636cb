//! The index file's bytes. `docs/joblog-index.md` describes them.

use crate::types::{Mark, StreamKind};

/// Bytes of the header and of each record.
pub(crate) const RECORD_BYTES: usize = 48;

/// The same in version 1.
const V1_RECORD_BYTES: usize = 32;

/// The kind of a flush.
const FLUSH: u8 = 1;

/// The stream of bytes from both.
const MIXED: u8 = 3;

/// The high half of a flush's number: what begins or ends there.
const PLAY: u64 = 1;
const TASK: u64 = 2;
const PLAYS_END: u64 = 3;
/// Or that the low half is a checksum of its bytes.
const SUMMED: u64 = 4;

const MAGIC: &[u8; 8] = b"DANUBEIX";

/// [`RECORD_BYTES`] as the header says it.
const RECORD_BYTES_WORD: u16 = 48;
const _: () = assert!(RECORD_BYTES_WORD as usize == RECORD_BYTES);

/// How an index is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Without totals. Read, and rewritten by the next writer.
    V1,
    V2,
}

impl Version {
    pub(crate) fn record_bytes(self) -> usize {
        match self {
            Self::V1 => V1_RECORD_BYTES,
            Self::V2 => RECORD_BYTES,
        }
    }
}

/// One record of the index, in the order in which things happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Bytes up to the logical offset `end` are in the current file; with the checksum
    /// that they had when they were written, where that is known.
    Flush {
        end: u64,
        time_us: Option<u64>,
        stream: StreamKind,
        sum: Option<u32>,
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

/// What the records so far add up to. Every record carries both numbers, and
/// neither ever falls, so that any record will do to search by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Ends of line up to the record's offset, also those that are gone by now.
    pub(crate) lines: u64,
    /// The latest time of any record so far, whatever the clock did since.
    pub(crate) peak_us: u64,
}

/// A record as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// `None` in version 1.
    pub(crate) totals: Option<Totals>,
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

    /// When it happened, if that is known.
    pub(crate) fn time_us(&self) -> Option<u64> {
        match *self {
            Self::Flush { time_us, .. }
            | Self::Mark { time_us, .. }
            | Self::Open { time_us, .. }
            | Self::Close { time_us, .. } => time_us,
            Self::Gap { .. } | Self::Segment { .. } => None,
        }
    }

    pub(crate) fn encode(&self, totals: Totals) -> [u8; RECORD_BYTES] {
        let Fields {
            kind,
            stream,
            number,
            word,
        } = self.fields();
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = kind;
        bytes[1] = stream;
        bytes[4..8].copy_from_slice(&number[..4]);
        bytes[8..16].copy_from_slice(&self.offset().to_le_bytes());
        bytes[16..24].copy_from_slice(&word.to_le_bytes());
        bytes[24..32].copy_from_slice(&totals.lines.to_le_bytes());
        bytes[32..40].copy_from_slice(&totals.peak_us.to_le_bytes());
        bytes[40..44].copy_from_slice(&number[4..]);
        seal(&mut bytes);
        bytes
    }

    /// As version 1 had it.
    #[cfg(test)]
    pub(crate) fn encode_v1(&self) -> [u8; V1_RECORD_BYTES] {
        let whole = self.encode(Totals::default());
        let mut bytes = [0; V1_RECORD_BYTES];
        bytes[..24].copy_from_slice(&whole[..24]);
        bytes[24..28].copy_from_slice(&whole[40..44]);
        seal(&mut bytes);
        bytes
    }

    fn fields(&self) -> Fields {
        let (mut stream, mut number) = (0, 0);
        let time = |time_us: Option<u64>| time_us.unwrap_or(0);
        let (kind, word) = match *self {
            Self::Flush {
                time_us,
                stream: kind,
                sum,
                ..
            } => {
                stream = stream_code(kind);
                number = sum.map_or(0, |it| SUMMED << 32 | u64::from(it));
                (FLUSH, time(time_us))
            }
            Self::Mark { mark, time_us, .. } => {
                let (kind, of_mark) = mark_fields(mark);
                number = of_mark;
                match mark {
                    Mark::StepSpan(id) => (kind, u64::from_le_bytes(id)),
                    _ => {
                        stream = if kind == FLUSH { MIXED } else { 0 };
                        (kind, time(time_us))
                    }
                }
            }
            Self::Gap { from, len, .. } => {
                number = len;
                (5, from)
            }
            Self::Segment { .. } => (6, 0),
            Self::Close { time_us, .. } => (7, time(time_us)),
            Self::Open { time_us, .. } => (8, time(time_us)),
        };
        Fields {
            kind,
            stream,
            number: number.to_le_bytes(),
            word,
        }
    }

    fn from_fields(fields: &Fields, offset: u64) -> Option<Self> {
        let number = u64::from_le_bytes(fields.number);
        let time_us = (fields.word != 0).then_some(fields.word);
        let mark = |mark: fn(u32) -> Mark| {
            Some(Self::Mark {
                mark: mark(u32::try_from(number).ok()?),
                at: offset,
                time_us,
            })
        };
        match fields.kind {
            FLUSH => {
                let stream = stream_of(fields.stream)?;
                Some(match fold_mark(number) {
                    Some(mark) => Self::Mark {
                        mark,
                        at: offset,
                        time_us,
                    },
                    None => Self::Flush {
                        end: offset,
                        time_us,
                        stream,
                        sum: sum_of(number),
                    },
                })
            }
            2 => mark(Mark::Attempt),
            3 => mark(Mark::StepStart),
            4 => mark(Mark::StepEnd),
            5 => Some(Self::Gap {
                from: fields.word,
                len: number,
                end: offset,
            }),
            6 => Some(Self::Segment { base: offset }),
            7 => Some(Self::Close {
                end: offset,
                time_us,
            }),
            8 => Some(Self::Open {
                at: offset,
                time_us,
            }),
            9 if fields.word != 0 => Some(Self::Mark {
                mark: Mark::StepSpan(fields.word.to_le_bytes()),
                at: offset,
                time_us: None,
            }),
            _ => None,
        }
    }
}

/// The kind of a mark's record, and its number. Those of plays and tasks are flushes that
/// bring no bytes, with a number that says what they are: readers that don't know them
/// look at no number of a flush, where a kind that they don't know would end the index.
fn mark_fields(mark: Mark) -> (u8, u64) {
    match mark {
        Mark::Attempt(n) => (2, u64::from(n)),
        Mark::StepStart(n) => (3, u64::from(n)),
        Mark::StepEnd(n) => (4, u64::from(n)),
        Mark::StepSpan(_) => (9, 0),
        Mark::Play(n) => (FLUSH, PLAY << 32 | u64::from(n)),
        Mark::Task(n) => (FLUSH, TASK << 32 | u64::from(n)),
        Mark::PlaysEnd => (FLUSH, PLAYS_END << 32),
    }
}

/// What a flush with this number means beside; none for an ordinary one, and for what
/// only later versions know.
fn fold_mark(number: u64) -> Option<Mark> {
    let of = u32::try_from(number & u64::from(u32::MAX)).ok()?;
    match number >> 32 {
        PLAY => Some(Mark::Play(of)),
        TASK => Some(Mark::Task(of)),
        PLAYS_END => Some(Mark::PlaysEnd),
        _ => None,
    }
}

/// The checksum in the number of a flush, if that is what it holds.
fn sum_of(number: u64) -> Option<u32> {
    let sum = u32::try_from(number & u64::from(u32::MAX)).ok()?;
    (number >> 32 == SUMMED).then_some(sum)
}

/// What the kinds of record use differently.
struct Fields {
    kind: u8,
    stream: u8,
    /// Its halves stand apart in the file.
    number: [u8; 8],
    word: u64,
}

impl Entry {
    /// `None` for a record that is torn, damaged or of a kind not known.
    pub(crate) fn decode(version: Version, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != version.record_bytes() || !is_sealed(bytes) || bytes[2..4] != [0, 0] {
            return None;
        }
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (high, totals) = match version {
            Version::V1 => (24, None),
            Version::V2 => {
                let (lines, peak_us) = (word(24)?, word(32)?);
                (40, Some(Totals { lines, peak_us }))
            }
        };
        let mut number = [0; 8];
        number[..4].copy_from_slice(&bytes[4..8]);
        number[4..].copy_from_slice(&bytes[high..high + 4]);
        let fields = Fields {
            kind: bytes[0],
            stream: bytes[1],
            number,
            word: word(16)?,
        };
        let record = Record::from_fields(&fields, word(8)?)?;
        Some(Self { record, totals })
    }
}

/// The file's first bytes.
pub(crate) fn header(created_us: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&2_u16.to_le_bytes());
    bytes[10..12].copy_from_slice(&RECORD_BYTES_WORD.to_le_bytes());
    bytes[12..20].copy_from_slice(&created_us.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// The file's first bytes in version 1.
#[cfg(test)]
pub(crate) fn header_v1() -> [u8; V1_RECORD_BYTES] {
    let mut bytes = [0; V1_RECORD_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8] = 1;
    bytes[10] = 32;
    seal(&mut bytes);
    bytes
}

/// What index these are the first bytes of; `None` if not of one that we can
/// read. Looks at [`RECORD_BYTES`] at most.
pub(crate) fn version_of(bytes: &[u8]) -> Option<Version> {
    [(Version::V1, 1_u16), (Version::V2, 2)]
        .into_iter()
        .find_map(|(version, word)| {
            let bytes = bytes.get(..version.record_bytes())?;
            let fits = is_sealed(bytes) && bytes[..8] == *MAGIC;
            (fits && bytes[8..10] == word.to_le_bytes()).then_some(version)
        })
}

/// The last four bytes are the checksum of those before.
fn seal(bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    let sum = crc32fast::hash(&bytes[..at]);
    bytes[at..].copy_from_slice(&sum.to_le_bytes());
}

fn is_sealed(bytes: &[u8]) -> bool {
    let at = bytes.len() - 4;
    bytes[at..] == crc32fast::hash(&bytes[..at]).to_le_bytes()
}

fn stream_code(stream: StreamKind) -> u8 {
    match stream {
        StreamKind::Stdout => 1,
        StreamKind::Stderr => 2,
        StreamKind::Mixed => MIXED,
    }
}

fn stream_of(code: u8) -> Option<StreamKind> {
    match code {
        1 => Some(StreamKind::Stdout),
        2 => Some(StreamKind::Stderr),
        MIXED => Some(StreamKind::Mixed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(mark: Mark, time_us: Option<u64>) -> Record {
        let at = 3;
        Record::Mark { mark, at, time_us }
    }

    #[test]
    fn every_record_survives_and_any_flipped_bit_is_seen() {
        let records = [
            Record::Flush {
                end: 7,
                time_us: Some(1),
                stream: StreamKind::Stderr,
                sum: Some(0),
            },
            Record::Flush {
                end: 8,
                time_us: Some(1),
                stream: StreamKind::Stdout,
                sum: Some(u32::MAX),
            },
            Record::Flush {
                end: u64::MAX,
                time_us: None,
                stream: StreamKind::Mixed,
                sum: None,
            },
            marked(Mark::Attempt(u32::MAX), Some(9)),
            marked(Mark::StepStart(1), None),
            marked(Mark::StepEnd(1), None),
            marked(Mark::StepSpan([0xff, 2, 3, 4, 5, 6, 7, 0]), None),
            marked(Mark::Play(0), Some(9)),
            marked(Mark::Task(u32::MAX), None),
            marked(Mark::PlaysEnd, Some(9)),
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
        let totals = Totals {
            lines: u64::MAX - 2,
            peak_us: 5,
        };
        for record in records {
            let bytes = record.encode(totals);
            survives(Version::V2, record, Some(totals), &bytes);
            survives(Version::V1, record, None, &record.encode_v1());
        }
        assert_eq!(version_of(&header(5)), Some(Version::V2));
        assert_eq!(version_of(&header_v1()), Some(Version::V1));
        assert_eq!(version_of(&[0; RECORD_BYTES]), None);
        assert_eq!(Entry::decode(Version::V2, &[0; RECORD_BYTES]), None);
    }

    #[test]
    fn a_mark_of_a_play_is_a_flush_without_bytes_to_whoever_does_not_know_it() {
        let mark = Record::Mark {
            mark: Mark::Task(7),
            at: 30,
            time_us: Some(9),
        };
        let mut bytes = mark.encode(Totals::default());
        assert_eq!((bytes[0], bytes[1]), (FLUSH, MIXED));
        // What a version of later says so is one to this version.
        bytes[40..44].copy_from_slice(&9_u32.to_le_bytes());
        seal(&mut bytes);
        let expected = Record::Flush {
            end: 30,
            time_us: Some(9),
            stream: StreamKind::Mixed,
            sum: None,
        };
        let read = Entry::decode(Version::V2, &bytes).unwrap();
        assert_eq!(read.record, expected);
    }

    fn survives(version: Version, record: Record, totals: Option<Totals>, bytes: &[u8]) {
        let entry = Entry { record, totals };
        assert_eq!(Entry::decode(version, bytes), Some(entry));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Entry::decode(version, &bad), None, "{record:?} bit {bit}");
        }
    }
}
