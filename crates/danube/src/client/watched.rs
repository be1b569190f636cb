//! A long answer that is read on a thread, so that one that stops coming is noticed.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Pieces that wait to be used; the server's side then waits too.
const PIECES_MAX: usize = 8;

/// Reads from an answer for as long as something comes.
pub(crate) struct Watched {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    silence: Duration,
}

impl Watched {
    /// Reads `from`, and gives up when nothing came for so long.
    pub(crate) fn new(mut from: impl Read + Send + 'static, silence: Duration) -> Self {
        let (sender, pieces) = sync_channel(PIECES_MAX);
        thread::spawn(move || {
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = from.read(&mut piece).map(|have| {
                    piece.truncate(have);
                    piece
                });
                let is_last = !matches!(&read, Ok(piece) if !piece.is_empty());
                if sender.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        Self {
            pieces,
            piece: Vec::new(),
            at: 0,
            silence,
        }
    }
}

impl Read for Watched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.piece = match self.pieces.recv_timeout(self.silence) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Disconnected) => Vec::new(),
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("nothing came for {} s", self.silence.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
            };
            self.at = 0;
        }
        let some = (self.piece.len() - self.at).min(into.len());
        into[..some].copy_from_slice(&self.piece[self.at..self.at + some]);
        self.at += some;
        Ok(some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one piece and then nothing, for as long as the test lives.
    struct Stops(bool);

    impl Read for Stops {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                thread::park();
            }
            into[..2].copy_from_slice(b"ab");
            Ok(2)
        }
    }

    #[test]
    fn an_answer_comes_through_whole_and_one_that_stops_is_noticed() {
        let mut text = Vec::new();
        let long = vec![7; 3 * PIECE_BYTES + 1];
        Watched::new(io::Cursor::new(long.clone()), Duration::from_secs(60))
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, long);
        let mut stops = Watched::new(Stops(false), Duration::from_millis(50));
        let error = stops.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
