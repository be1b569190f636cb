//! `GET /metrics`: one scrape is written at a time, off the threads that serve requests,
//! into buffers that are used again.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, Problem};
use danube_signals::Signals;
use danube_telemetry::{Format, negotiate};
use flate2::{Compression, write::GzEncoder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
use super::caller::Local;
use crate::app::{Shared, blocking};

/// How long a scrape waits for those before it: Prometheus gives up after 10 seconds.
const TURN_WAIT_MAX: Duration = Duration::from_secs(8);

/// Answers that may be on their way at once: scrapers are few, and each answer may be
/// megabytes that a client takes slowly.
const ANSWERS_MAX: usize = 8;

/// Buffers that are kept for the next scrape: text and compressed text of two scrapers.
const BUFFERS_KEPT: usize = 4;

/// A buffer that grew beyond this is given back: some 100,000 series.
const BUFFER_BYTES_KEPT: usize = 8 * 1024 * 1024;

/// The quickest level: compressing is most of what a scrape costs, and this one takes
/// less than half the time of the usual one for a tenth more bytes.
const GZIP_LEVEL: u32 = 1;

/// Below this, compressing saves no packet.
const GZIP_BYTES_MIN: usize = 1_400;

/// Turns and buffers of all scrapes.
pub(crate) struct Scrapes {
    /// One scrape is written at a time: two would only take processors from jobs.
    turn: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    buffers: Arc<Buffers>,
}

impl Default for Scrapes {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
            buffers: Arc::default(),
        }
    }
}

#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < BUFFERS_KEPT && buffer.capacity() <= BUFFER_BYTES_KEPT {
            kept.push(buffer);
        }
    }
}

/// A body that is on its way; its buffer and place come back when it is sent.
struct Sending {
    bytes: Vec<u8>,
    buffers: Arc<Buffers>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.buffers.give_back(std::mem::take(&mut self.bytes));
    }
}

/// The metrics, as Prometheus text or OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "health", security((), ("bearer" = []), ("x-api-key" = [])),
    responses(
        (status = 200, description = "Prometheus text 0.0.4, or OpenMetrics 1.0 with exemplars by `Accept`; gzip by `Accept-Encoding`", content_type = "text/plain"),
        (status = 404, description = "The metrics are switched off", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many scrapes are under way", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn metrics(
    State(app): State<Shared>,
    _: Local,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if !app.settings.metrics_enabled {
        let why = "the metrics are switched off; observability.metrics_enabled = true shows them";
        return Err(Problem::new(Code::NotFound, why).into());
    }
    let scrapes = &app.scrapes;
    let busy = || {
        Problem::new(
            Code::TooMany,
            "too many scrapes of the metrics are under way",
        )
    };
    let place = Arc::clone(&scrapes.answers).try_acquire_owned();
    let place = place.map_err(|_| busy())?;
    let turn = Arc::clone(&scrapes.turn).acquire_owned();
    let turn = tokio::time::timeout(TURN_WAIT_MAX, turn).await;
    let turn = turn.map_err(|_| busy())?;
    let format = negotiate(&value(&headers, &header::ACCEPT));
    let gzip = accepts_gzip(&value(&headers, &header::ACCEPT_ENCODING));
    let (signals, buffers) = (app.signals.clone(), Arc::clone(&scrapes.buffers));
    let (bytes, is_gzip) = blocking(move || {
        // Held by the writing, which goes on when the scraper leaves.
        let _turn = turn;
        write(&signals, format, gzip, &buffers)
    })
    .await?;
    let body = Sending {
        bytes,
        buffers: Arc::clone(&scrapes.buffers),
        _place: place,
    };
    let mut response = Body::from(Bytes::from_owner(body)).into_response();
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(format.content_type());
    headers.insert(header::CONTENT_TYPE, content_type);
    let vary = HeaderValue::from_static("accept, accept-encoding");
    headers.insert(header::VARY, vary);
    if is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// The value of a header; several lines of it are one list (RFC 9110, 5.3).
fn value(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&str> = lines.filter_map(|it| it.to_str().ok()).collect();
    lines.join(",")
}

/// Writes the text, compresses it where that is asked for, and tells what it cost.
fn write(signals: &Signals, format: Format, gzip: bool, buffers: &Buffers) -> (Vec<u8>, bool) {
    let started = Instant::now();
    let mut text = buffers.take();
    let series = signals.registry().encode_into(format, &mut text);
    signals.telemetry_series.set_u64(series as u64);
    signals.telemetry_scrape_bytes.set_u64(text.len() as u64);
    let compressed = (gzip && text.len() >= GZIP_BYTES_MIN)
        .then(|| compress(&text, buffers.take()))
        .flatten();
    let answer = match compressed {
        Some(compressed) => {
            buffers.give_back(text);
            (compressed, true)
        }
        None => (text, false),
    };
    let spent = started.elapsed();
    signals
        .telemetry_scrape_duration_seconds
        .observe_duration(spent);
    answer
}

fn compress(text: &[u8], into: Vec<u8>) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(into, Compression::new(GZIP_LEVEL));
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}

/// Whether `Accept-Encoding` names gzip and doesn't rule it out (RFC 9110, 12.5.3).
fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let is_gzip = name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip");
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        is_gzip && quality.is_none_or(|it| it.parse().is_ok_and(|quality: f32| quality > 0.0))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use danube_signals::{BuildInfo, Limits};

    use super::*;

    #[test]
    fn gzip_is_given_to_those_who_name_it() {
        for accepted in ["gzip", "deflate, gzip;q=0.5", "X-GZIP", "gzip; q=1"] {
            assert!(accepts_gzip(accepted), "{accepted}");
        }
        for accepted in ["", "identity", "gzip;q=0", "gzip;q=none", "br", "*;q=0"] {
            assert!(!accepts_gzip(accepted), "{accepted}");
        }
    }

    #[test]
    fn a_compressed_scrape_is_the_same_text_and_its_buffer_comes_back() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        let buffers = Arc::new(Buffers::default());
        let (packed, is_gzip) = write(&signals, Format::Text004, true, &buffers);
        assert!(is_gzip);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*packed)
            .read_to_string(&mut text)
            .unwrap();
        assert!(packed.len() < text.len() / 3);
        assert!(text.starts_with("# HELP danube_"));
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        drop(Sending {
            bytes: packed,
            buffers: Arc::clone(&buffers),
            _place: place,
        });
        let kept = buffers.0.lock().unwrap().len();
        // The text's own, and the one that was sent.
        assert_eq!(kept, 2);
        let told = signals.registry().value("danube_telemetry_scrape_bytes");
        assert!(told.is_some_and(|bytes| bytes > 8_192.0));
        let scrapes = "danube_telemetry_scrape_duration_seconds_count";
        assert_eq!(signals.registry().value(scrapes), Some(1.0));
    }
}
