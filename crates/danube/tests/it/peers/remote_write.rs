//! Gives samples to a real Prometheus with their times, by its remote-write receiver:
//! the one way in which hours of samples are there at once, stale markers included.

use super::prometheus::{Prometheus, agent};

/// What Prometheus writes where a series that was there isn't any more.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Bytes of a literal in Snappy's block format whose length needs two bytes.
const LITERAL_BYTES_MAX: usize = 65_536;

/// A series with samples that are not written yet.
pub(crate) struct Series {
    labels: Vec<(String, String)>,
    samples: Vec<(i64, f64)>,
    is_there: bool,
}

impl Series {
    pub(crate) fn of(labels: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort();
        Self {
            labels,
            samples: Vec::new(),
            is_there: false,
        }
    }

    /// Adds a sample as a scrape would: a series that isn't there any more is marked
    /// once.
    pub(crate) fn sample(&mut self, at: i64, value: Option<f64>) {
        match value {
            Some(value) => self.samples.push((at, value)),
            None if self.is_there => self.samples.push((at, f64::from_bits(STALE))),
            None => {}
        }
        self.is_there = value.is_some();
    }
}

/// A Prometheus that scrapes nothing and takes what is written to it.
pub(crate) fn receiver() -> Prometheus {
    Prometheus::with(&serde_json::json!({}), &[])
}

/// Writes and forgets the samples of these series.
#[track_caller]
pub(crate) fn write<'a>(prometheus: &Prometheus, all: impl Iterator<Item = &'a mut Series>) {
    let mut message = Vec::new();
    for series in all {
        if !series.samples.is_empty() {
            field(1, &encode(series), &mut message);
            series.samples.clear();
        }
    }
    let answer = agent()
        .post(format!("{}/api/v1/write", prometheus.url))
        .header("Content-Encoding", "snappy")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .send(snappy(&message).as_slice());
    let mut answer = answer.expect("write to Prometheus");
    let status = answer.status();
    let said = answer.body_mut().read_to_string().unwrap_or_default();
    assert_eq!(status, 204, "{said}");
}

/// A `prometheus.TimeSeries`.
fn encode(series: &Series) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in &series.labels {
        let mut label = Vec::new();
        field(1, name.as_bytes(), &mut label);
        field(2, value.as_bytes(), &mut label);
        field(1, &label, &mut out);
    }
    for (at, value) in &series.samples {
        // Field 1 is a double, field 2 a whole number.
        let mut sample = vec![1 << 3 | 1];
        sample.extend(value.to_bits().to_le_bytes());
        sample.push(2 << 3);
        varint(u64::try_from(*at).unwrap(), &mut sample);
        field(2, &sample, &mut out);
    }
    out
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// Snappy's block format with literals alone: nothing is packed.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(bytes.len() as u64, &mut out);
    for piece in bytes.chunks(LITERAL_BYTES_MAX) {
        out.push(61 << 2);
        out.extend(u16::try_from(piece.len() - 1).unwrap().to_le_bytes());
        out.extend(piece);
    }
    out
}
