//! OTLP over HTTP with protobuf bodies, by a client that blocks: each signal has a
//! thread of its own that waits for nothing else.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, Response};

use super::transport::{ANSWER_BYTES_MAX, ASKED_WAIT_MAX, Again, Refused, Service};
use super::{Endpoint, StartError};
use crate::outgoing;

pub(super) struct Http {
    agent: Agent,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Http {
    pub(super) fn new(endpoint: &Endpoint, agent: &str) -> Result<Self, StartError> {
        let headers = endpoint.headers.iter().map(|(name, value)| {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| StartError::Header(name.clone()))?;
            let mut value =
                HeaderValue::from_str(value).map_err(|_| StartError::Header(name.clone()))?;
            value.set_sensitive(true);
            Ok((key, value))
        });
        let headers = headers.collect::<Result<Vec<_>, StartError>>()?;
        let made = outgoing::agent(&endpoint.url, agent);
        Ok(Self {
            agent: made.map_err(|error| StartError::Endpoint(error.to_string()))?,
            url: endpoint.url.trim_end_matches('/').to_owned(),
            headers,
        })
    }

    pub(super) fn send(
        &self,
        service: Service,
        body: &Bytes,
        deadline: Duration,
    ) -> Result<Bytes, Refused> {
        let later = |why: String| Refused::new(Again::Later, why);
        let mut request = self
            .agent
            .post(format!("{}{}", self.url, service.http_path()))
            .config()
            .timeout_global(Some(deadline))
            .build()
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "gzip");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let packed = gzip(body).map_err(|error| later(format!("compress: {error}")))?;
        let mut response = request
            .send(&packed[..])
            .map_err(|error| later(error.to_string()))?;
        let answer = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX as u64)
            .read_to_vec();
        if response.status().is_success() {
            // What it says beyond "yes" is a count; without it all was taken.
            return Ok(answer.unwrap_or_default().into());
        }
        Err(refused(&response, &answer.unwrap_or_default()))
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    packer.write_all(body)?;
    packer.finish()
}

/// `google.rpc.Status`, which the answer to a refused request may be.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(string, tag = "2")]
    message: String,
}

/// What the protocol says of each status.
fn refused<B>(response: &Response<B>, answer: &[u8]) -> Refused {
    let status = response.status().as_u16();
    let asked = response
        .headers()
        .get("retry-after")
        .and_then(|it| it.to_str().ok())
        .and_then(|it| it.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(ASKED_WAIT_MAX));
    let again = match status {
        429 | 502 | 503 | 504 => asked.map_or(Again::Later, Again::After),
        _ => Again::Never,
    };
    let said = RpcStatus::decode(answer).map(|it| it.message);
    let said = said.ok().filter(|it| !it.is_empty());
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned());
    Refused::new(
        again,
        format!("HTTP {status}: {said}").trim_end_matches(": "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Again {
        let mut response = Response::builder().status(status);
        if let Some(text) = retry_after {
            response = response.header("retry-after", text);
        }
        refused(&response.body(()).unwrap(), b"").again
    }

    #[test]
    fn only_what_may_succeed_later_is_sent_again() {
        for status in [429, 502, 503, 504] {
            assert_eq!(answer(status, None), Again::Later, "{status}");
        }
        for status in [301, 400, 401, 404, 413, 500] {
            assert_eq!(answer(status, Some("5")), Again::Never, "{status}");
        }
    }

    #[test]
    fn a_collector_may_say_how_long_to_wait() {
        let five = Again::After(Duration::from_secs(5));
        assert_eq!(answer(503, Some("5")), five);
        assert_eq!(answer(429, Some(" 5 ")), five);
        assert_eq!(answer(503, Some("99999999")), Again::After(ASKED_WAIT_MAX));
        // A date is allowed too; our own wait does as well.
        assert_eq!(
            answer(503, Some("Fri, 31 Dec 1999 23:59:59 GMT")),
            Again::Later
        );
    }

    #[test]
    fn what_a_collector_says_reaches_the_log_short_and_in_one_line() {
        let response = Response::builder().status(400).body(()).unwrap();
        let status = RpcStatus {
            message: "bad\nfield".into(),
        };
        let said = refused(&response, &status.encode_to_vec());
        assert_eq!(said.why, "HTTP 400: bad field");
        let long = refused(&response, "x".repeat(100_000).as_bytes());
        assert!(long.why.len() < 400, "{}", long.why.len());
    }
}
