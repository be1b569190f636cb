//! OTLP over gRPC. Bodies are encoded once, by us, so that a retry costs no second
//! encoding; the connection lives on a runtime thread of its own.

use std::error::Error;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};

use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint as Target};
use tonic::{Code, Request, Status};

use super::transport::{ANSWER_BYTES_MAX, ASKED_WAIT_MAX, Again, Refused, Service};
use super::{Endpoint, StartError};

/// How long a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How often a connection is asked whether it is alive while an answer is waited for, so
/// that one that a firewall forgot is made anew. A silent one isn't asked: collectors
/// take that for abuse.
const PING_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Grpc {
    channel: Channel,
    headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    /// Gone only in `drop`, which may run in another runtime's thread.
    runtime: Option<Runtime>,
}

impl Grpc {
    pub(super) fn new(endpoint: &Endpoint, agent: &str) -> Result<Self, StartError> {
        let wrong = |why: String| StartError::Endpoint(why);
        let headers = endpoint.headers.iter().map(|(name, value)| {
            let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes())
                .map_err(|_| StartError::Header(name.clone()))?;
            let mut value = AsciiMetadataValue::try_from(value.as_str())
                .map_err(|_| StartError::Header(name.clone()))?;
            value.set_sensitive(true);
            Ok((key, value))
        });
        let headers = headers.collect::<Result<Vec<_>, StartError>>()?;
        let mut target = Target::from_shared(endpoint.url.clone())
            .and_then(|it| it.user_agent(agent.to_owned()))
            .map_err(|error| wrong(chain(&error)))?
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(PING_EVERY);
        if endpoint.url.starts_with("https://") {
            let tls = ClientTlsConfig::new().with_native_roots();
            target = target
                .tls_config(tls)
                .map_err(|error| wrong(chain(&error)))?;
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .thread_name("otlp-io")
            .enable_all()
            .build()
            .map_err(StartError::System)?;
        let channel = {
            let _in_runtime = runtime.enter();
            target.connect_lazy()
        };
        Ok(Self {
            channel,
            headers,
            runtime: Some(runtime),
        })
    }

    pub(super) fn send(
        &self,
        service: Service,
        body: &Bytes,
        deadline: Duration,
    ) -> Result<Bytes, Refused> {
        let runtime = self.runtime.as_ref().expect("it goes in `drop` only");
        let mut request = Request::new(body.clone());
        for (key, value) in &self.headers {
            request.metadata_mut().insert(key.clone(), value.clone());
        }
        request.set_timeout(deadline);
        let mut client = Client::new(self.channel.clone())
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        let answered = runtime.block_on(async {
            tokio::time::timeout(deadline, async {
                client
                    .ready()
                    .await
                    .map_err(|error| Status::unavailable(chain(&error)))?;
                let path = PathAndQuery::from_static(service.grpc_path());
                client.unary(request, path, Raw).await
            })
            .await
        });
        match answered {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(refused(&status)),
            Err(_) => Err(Refused::new(
                Again::Later,
                format!("no answer within {} s", deadline.as_secs_f64().ceil()),
            )),
        }
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A connection that hangs doesn't hold up the end.
            runtime.shutdown_background();
        }
    }
}

/// An error with what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// What the protocol says of each code.
fn refused(status: &Status) -> Refused {
    let asked = asked_wait(status.details());
    let again = match status.code() {
        // Full, but only for a while if it says for how long.
        Code::ResourceExhausted => asked.map_or(Again::Never, Again::After),
        // The one code for "this message is too large" that would be sent again for
        // nothing: a message doesn't shrink.
        Code::OutOfRange if status.message().contains("length too large") => Again::Never,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => asked.map_or(Again::Later, Again::After),
        // How a broken connection shows: the collector itself says it with a source
        // that is none of ours.
        Code::Unknown if Error::source(status).is_some() => Again::Later,
        _ => Again::Never,
    };
    let mut why = format!("{:?}: {}", status.code(), status.message());
    if let Some(source) = Error::source(status) {
        let source = chain(source);
        if !why.contains(&source) {
            why = format!("{why}: {source}");
        }
    }
    Refused::new(again, why)
}

/// `google.rpc.Status`, of which only the details matter here.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn asked_wait(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status
        .details
        .iter()
        .find(|it| it.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    let seconds = u64::try_from(delay.seconds).ok()?;
    let nanos = u32::try_from(delay.nanos).ok()?;
    Some(Duration::new(seconds, nanos.min(999_999_999)).min(ASKED_WAIT_MAX))
}

/// Hands bytes through as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_wait(seconds: i64) -> Vec<u8> {
        let info = RetryInfo {
            retry_delay: Some(Delay {
                seconds,
                nanos: 500_000_000,
            }),
        };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: info.encode_to_vec(),
        };
        RpcStatus { details: vec![any] }.encode_to_vec()
    }

    #[test]
    fn a_collector_may_say_how_long_to_wait() {
        let cases = [
            (with_wait(2), Some(Duration::from_millis(2_500))),
            (with_wait(1_000_000), Some(ASKED_WAIT_MAX)),
            (with_wait(-1), None),
            (Vec::new(), None),
            (b"nonsense".to_vec(), None),
        ];
        for (details, expected) in cases {
            assert_eq!(asked_wait(&details), expected);
        }
    }

    #[test]
    fn only_what_may_succeed_later_is_sent_again() {
        let plain = |code| refused(&Status::new(code, "")).again;
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            assert_eq!(plain(code), Again::Later, "{code:?}");
        }
        for code in [
            Code::InvalidArgument,
            Code::ResourceExhausted,
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::Unimplemented,
            Code::Internal,
            Code::Unknown,
        ] {
            assert_eq!(plain(code), Again::Never, "{code:?}");
        }
        let full = Status::with_details(Code::ResourceExhausted, "", with_wait(2).into());
        assert_eq!(
            refused(&full).again,
            Again::After(Duration::from_millis(2_500))
        );
        let large = "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";
        assert_eq!(refused(&Status::out_of_range(large)).again, Again::Never);
    }
}
