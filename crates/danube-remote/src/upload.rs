//! Brings a file of a step to the master, over the link that is there and with the job's own
//! token: what is checked there is what is checked of any upload.

use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use danube_api::{ArtifactView, artifact_path};
use danube_model::Attempt;
use danube_worker::{Leaving, Unkept};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body::{Body, Frame};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::link::{CallError, Link};

/// Bytes that are read and sent at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Pieces that wait for the network.
const PIECES_MAX: usize = 4;

/// How often it is looked whether the job was stopped.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long the master may take no more of a file.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long it may take to have all of it on its disk: a gigabyte on a slow one takes a minute.
const STORED_DEADLINE: Duration = Duration::from_secs(300);

/// What is sent: pieces, and an error for a file that can't be read to its end, so that
/// nobody takes what came for all of it.
pub(crate) struct Pieces(pub(crate) Receiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = self.0.poll_recv(context);
        next.map(|it| it.map(|piece| piece.map(Frame::data)))
    }
}

/// What the master answers.
type Answer = JoinHandle<Result<ArtifactView, CallError>>;

/// Sends a file; what the master says that its bytes hash to. It blocks.
pub(crate) fn upload(
    (runtime, link): (&Handle, &Link),
    attempt: Attempt,
    leaving: &Leaving<'_>,
) -> Result<[u8; 32], Unkept> {
    let (sender, pieces) = channel(PIECES_MAX);
    let request = request(attempt, leaving, Pieces(pieces))?;
    let link = link.clone();
    let mut answer = runtime.spawn(async move { link.upload(request).await });
    let fed = feed(runtime, leaving, &sender);
    // Without a piece for it the body ends; what was cut short must not look whole.
    if let Err(error) = fed {
        let why = io::Error::other("the file wasn't sent to its end");
        let _ = sender.try_send(Err(why));
        answer.abort();
        return Err(error);
    }
    drop(sender);
    let view = answered(runtime, leaving, &mut answer)?;
    hash(&view.sha256).ok_or_else(|| {
        Unkept::Refused("the master's answer isn't one of a Danube master".to_owned())
    })
}

fn request(
    attempt: Attempt,
    leaving: &Leaving<'_>,
    pieces: Pieces,
) -> Result<Request<tonic::body::Body>, Unkept> {
    let wrong = || Unkept::Refused("its name can't be sent".to_owned());
    let path = artifact_path(attempt.job, leaving.name, leaving.step);
    let mut request = Request::new(tonic::body::Body::new(pieces));
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| wrong())?;
    let bearer = format!("Bearer {}", leaving.token.text());
    let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| wrong())?;
    bearer.set_sensitive(true);
    let headers = request.headers_mut();
    headers.insert(header::AUTHORIZATION, bearer);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(leaving.bytes));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(request)
}

/// Hands the file on as fast as it is sent. When nobody takes any more, the answer says why.
fn feed(
    runtime: &Handle,
    leaving: &Leaving<'_>,
    sender: &Sender<io::Result<Bytes>>,
) -> Result<(), Unkept> {
    let mut left = leaving.bytes;
    let mut from = leaving.file;
    while left > 0 {
        let length = usize::try_from(left).map_or(PIECE_BYTES, |it| it.min(PIECE_BYTES));
        let mut piece = vec![0; length];
        let have = match from.read(&mut piece) {
            Ok(0) => {
                let shorter = io::Error::new(ErrorKind::UnexpectedEof, "it became shorter");
                return Err(shorter.into());
            }
            Ok(have) => have,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        piece.truncate(have);
        left -= have as u64;
        let since = Instant::now();
        let place = loop {
            if (leaving.is_over)() {
                return Err(Unkept::Stopped);
            }
            if since.elapsed() > SILENCE_MAX {
                let seconds = SILENCE_MAX.as_secs();
                return Err(Unkept::Away(format!(
                    "the server took nothing for {seconds} s"
                )));
            }
            match runtime.block_on(async { timeout(LOOK_EVERY, sender.reserve()).await }) {
                Ok(Ok(place)) => break place,
                Ok(Err(_)) => return Ok(()),
                Err(_) => {}
            }
        };
        place.send(Ok(Bytes::from(piece)));
    }
    Ok(())
}

fn answered(
    runtime: &Handle,
    leaving: &Leaving<'_>,
    answer: &mut Answer,
) -> Result<ArtifactView, Unkept> {
    let since = Instant::now();
    loop {
        match runtime.block_on(async { timeout(LOOK_EVERY, &mut *answer).await }) {
            Ok(Ok(answer)) => {
                return answer.map_err(|error| match error {
                    // A master that has just come back hears of tokens with the next heartbeat;
                    // if the attempt is over, the same heartbeat says so.
                    CallError::Away(why) | CallError::Unauthorized(why) => Unkept::Away(why),
                    CallError::Fenced => Unkept::Fenced,
                    CallError::Wrong(why) => Unkept::Refused(why),
                });
            }
            Ok(Err(_)) => return Err(Unkept::Away("the call ended early".to_owned())),
            Err(_) if (leaving.is_over)() => {
                answer.abort();
                return Err(Unkept::Stopped);
            }
            Err(_) if since.elapsed() > STORED_DEADLINE => {
                answer.abort();
                let seconds = STORED_DEADLINE.as_secs();
                return Err(Unkept::Away(format!("no answer within {seconds} s")));
            }
            Err(_) => {}
        }
    }
}

/// The hash in hexadecimal digits; none when it isn't one.
fn hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        assert_eq!(hash(&"0f".repeat(32)), Some([15; 32]));
        for text in ["", "0f", &"0g".repeat(32), &"ä".repeat(32)] {
            assert_eq!(hash(text), None, "{text}");
        }
    }
}
