//! An answer: its head, and its body as a stream that ends at a limit.

use std::fmt;
use std::io::{self, Read};

use ureq::BodyReader;
use ureq::http::HeaderMap;

/// What a host answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    headers: HeaderMap,
    /// Its body, not yet read.
    pub body: Body,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: HeaderMap, body: Body) -> Self {
        Self {
            status,
            headers,
            body,
        }
    }

    /// The first header of this name, when it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The bytes of an answer. Reading one byte more than allowed is an error, and so is reading
/// after the call's deadline.
pub struct Body {
    reader: BodyReader<'static>,
    left: u64,
    limit: u64,
}

impl Body {
    pub(crate) fn new(body: ureq::Body, limit: u64) -> Self {
        Self {
            // ours is the limit that counts
            reader: body.into_with_config().limit(u64::MAX).reader(),
            left: limit,
            limit,
        }
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        // One byte is asked for when none is left: whether the body ends here shows only so.
        let room = usize::try_from(self.left.max(1)).unwrap_or(usize::MAX);
        let room = room.min(into.len());
        let read = self.reader.read(&mut into[..room]).map_err(plain)?;
        if read as u64 > self.left {
            let why = format!("the answer is larger than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Says a passed deadline in the words of the standard library.
fn plain(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    match inner {
        Some(ureq::Error::Timeout(_)) => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish()
    }
}
