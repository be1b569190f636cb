//! Counts the parts of a message before it is read: an empty attribute has two bytes on
//! the wire and a hundred in memory, so that bytes alone bound nothing.

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It has more parts than it may.
    TooMany,
    /// It isn't protobuf.
    Broken,
}

/// A type of OTLP's, as far as it has parts.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceSpans,
    Resource,
    EntityRef,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Attribute,
    Value,
    Array,
    Map,
    /// A text or a type without parts of its own.
    Leaf,
}

impl Kind {
    /// What stands in a field, if there may be many of it.
    fn part(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Request, 1) => Self::ResourceSpans,
            (Self::ResourceSpans, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::Resource, 1) => Self::Attribute,
            (Self::Resource, 3) => Self::EntityRef,
            (Self::EntityRef, 3 | 4) => Self::Leaf,
            (Self::ScopeSpans, 1) => Self::Scope,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::Scope, 3) => Self::Attribute,
            (Self::Span, 9) => Self::Attribute,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Event, 3) | (Self::Link, 4) => Self::Attribute,
            (Self::Attribute, 2) => Self::Value,
            (Self::Value, 5) => Self::Array,
            (Self::Value, 6) => Self::Map,
            (Self::Array, 1) => Self::Value,
            (Self::Map, 1) => Self::Attribute,
            _ => return None,
        })
    }
}

/// How deep messages are looked into. The reader itself refuses what is deeper than 100.
const DEPTH_MAX: usize = 100;

/// Whether a message in protobuf has at most so many parts.
pub(super) fn check(message: &[u8], parts_max: usize) -> Result<(), Wrong> {
    let mut parts = 0;
    // Not by calls: how deep it goes is up to whoever sent it.
    let mut waiting = vec![(Kind::Request, message, 0)];
    while let Some((kind, mut bytes, depth)) = waiting.pop() {
        while !bytes.is_empty() {
            let (field, value) = field(&mut bytes)?;
            let Some(part) = kind.part(field) else {
                continue;
            };
            parts += 1;
            if parts > parts_max {
                return Err(Wrong::TooMany);
            }
            if depth == DEPTH_MAX {
                return Err(Wrong::Broken);
            }
            if let (Some(value), false) = (value, matches!(part, Kind::Leaf)) {
                waiting.push((part, value, depth + 1));
            }
        }
    }
    Ok(())
}

/// The same for JSON, roughly: objects, and what commas part. Those in texts count too.
pub(super) fn check_json(message: &[u8], parts_max: usize) -> Result<(), Wrong> {
    let objects = memchr::memchr2_iter(b'{', b'[', message).count();
    let listed = memchr::memchr_iter(b',', message).count();
    // A span has some ten fields, an attribute two with its value's one.
    if objects > 4 * parts_max || listed > 8 * parts_max {
        return Err(Wrong::TooMany);
    }
    Ok(())
}

/// Takes a field off the front: its number, and its bytes if it has a length.
fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Option<&'a [u8]>), Wrong> {
    let key = varint(bytes)?;
    let skipped = match key & 7 {
        0 => {
            varint(bytes)?;
            0
        }
        1 => 8,
        2 => {
            let len = usize::try_from(varint(bytes)?).map_err(|_| Wrong::Broken)?;
            let (value, rest) = bytes.split_at_checked(len).ok_or(Wrong::Broken)?;
            *bytes = rest;
            return Ok((key >> 3, Some(value)));
        }
        5 => 4,
        // Groups, which nobody writes any more.
        _ => return Err(Wrong::Broken),
    };
    *bytes = bytes.get(skipped..).ok_or(Wrong::Broken)?;
    Ok((key >> 3, None))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Wrong> {
    let mut value = 0_u64;
    for at in 0..10 {
        let byte = *bytes.get(at).ok_or(Wrong::Broken)?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(value);
        }
    }
    Err(Wrong::Broken)
}
