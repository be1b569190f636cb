//! The registry as OTLP messages: the cells that a scrape reads, under the names,
//! units and attribute keys of OpenTelemetry.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar,
};
use prost::Message;

use super::courier::Courier;
use super::value::{Source, Value, pair};
use crate::metric::{FamilyDecl, HistogramSample, Kind, Registry, Sample, SeriesRef, pairs};
use crate::tasks::Task;

/// Points of one message: collectors take 4 MiB by default, and one of 100,000
/// series has 7.
pub(super) const POINTS_MAX: usize = 10_000;

/// Bytes of one message before it is compressed, for the same reason: a point of a
/// histogram has several hundred.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One message.
pub(super) struct Chunk {
    pub(super) body: Bytes,
    pub(super) points: u64,
}

/// Pushes the registry again and again until the exporter ends, and then once more.
pub(super) fn push(
    task: &Task,
    courier: &Courier,
    registry: &Registry,
    source: &Source,
    interval: Duration,
) {
    let stop = &courier.office.stop;
    // A place in the interval of our own: servers that are started together don't
    // push together.
    let mut next = Instant::now() + part_of(interval);
    loop {
        task.rest();
        let ended = stop.wait(next.saturating_duration_since(Instant::now()));
        task.beat();
        // The next push says all that this one says.
        let give_up = if ended {
            Instant::now()
        } else {
            next + interval
        };
        for chunk in encode(registry, source, SystemTime::now(), POINTS_MAX) {
            if !ended && Instant::now() >= give_up {
                let account = &courier.office.account;
                account.lose(courier.stream.signal, chunk.points);
            } else {
                courier.deliver(&chunk.body, chunk.points, Some(give_up));
            }
        }
        if ended {
            return;
        }
        // Pushes whose time came while this one ran are left out.
        let now = Instant::now();
        while next <= now {
            next += interval;
        }
    }
}

fn part_of(interval: Duration) -> Duration {
    let mut byte = [0];
    // Without a random byte the first push comes at once, which is right too.
    let _ = getrandom::fill(&mut byte);
    interval.mul_f64(f64::from(byte[0]) / 256.0)
}

/// All series, in messages of at most `points_max` points.
pub(super) fn encode(
    registry: &Registry,
    source: &Source,
    now: SystemTime,
    points_max: usize,
) -> Vec<Chunk> {
    let mut chunks = Chunks {
        source,
        points_max,
        now: nanos(now),
        metrics: Vec::new(),
        points: 0,
        bytes: 0,
        done: Vec::new(),
    };
    registry.collect(&mut |family| {
        let decl = family.decl();
        chunks.begin(decl);
        family.visit(&mut |series| chunks.add(decl, &series));
        chunks.end();
    });
    chunks.cut();
    chunks.done
}

struct Chunks<'a> {
    source: &'a Source,
    points_max: usize,
    now: u64,
    /// The last one is the family that is being visited.
    metrics: Vec<Metric>,
    points: usize,
    bytes: usize,
    done: Vec<Chunk>,
}

impl Chunks<'_> {
    fn begin(&mut self, decl: &FamilyDecl) {
        let metric = Metric {
            name: decl.otel_name.to_owned(),
            description: decl.help.to_owned(),
            unit: decl.unit.to_owned(),
            metadata: Vec::new(),
            data: Some(empty(decl.kind)),
        };
        self.bytes += metric.encoded_len();
        self.metrics.push(metric);
    }

    /// A family without a series isn't sent.
    fn end(&mut self) {
        if self.metrics.last().is_some_and(is_empty) {
            self.metrics.pop();
        }
    }

    fn add(&mut self, decl: &FamilyDecl, series: &SeriesRef<'_>) {
        if self.points >= self.points_max || self.bytes >= MESSAGE_BYTES_MAX {
            self.end();
            self.cut();
            self.begin(decl);
        }
        let data = self.metrics.last_mut().and_then(|it| it.data.as_mut());
        let attributes = attributes(decl, series.labels);
        let start = series.start_unix_nanos;
        self.points += 1;
        self.bytes += match (data, &series.sample) {
            (Some(Data::Histogram(it)), Sample::Histogram(sample)) => {
                let point = histogram(sample, attributes, start, self.now);
                let bytes = point.encoded_len();
                it.data_points.push(point);
                bytes
            }
            (Some(Data::Sum(Sum { data_points, .. }) | Data::Gauge(Gauge { data_points })), it) => {
                let point = NumberDataPoint {
                    attributes,
                    start_time_unix_nano: if decl.kind == Kind::Counter { start } else { 0 },
                    time_unix_nano: self.now,
                    value: number(it),
                    ..NumberDataPoint::default()
                };
                let bytes = point.encoded_len();
                data_points.push(point);
                bytes
            }
            // The registry refuses a cell that doesn't fit its family.
            _ => 0,
        };
    }

    /// Ends the message.
    fn cut(&mut self) {
        let metrics = std::mem::take(&mut self.metrics);
        let points = std::mem::take(&mut self.points);
        self.bytes = 0;
        if metrics.is_empty() {
            return;
        }
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.source.proto_resource()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(self.source.proto_scope()),
                    metrics,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        };
        self.done.push(Chunk {
            body: request.encode_to_vec().into(),
            points: points as u64,
        });
    }
}

fn empty(kind: Kind) -> Data {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    match kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: Vec::new(),
            aggregation_temporality,
            is_monotonic: true,
        }),
        Kind::Gauge | Kind::Info => Data::Gauge(Gauge::default()),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: Vec::new(),
            aggregation_temporality,
        }),
    }
}

fn is_empty(metric: &Metric) -> bool {
    match &metric.data {
        Some(Data::Sum(it)) => it.data_points.is_empty(),
        Some(Data::Gauge(it)) => it.data_points.is_empty(),
        Some(Data::Histogram(it)) => it.data_points.is_empty(),
        _ => true,
    }
}

/// A label whose value is empty is one that isn't there, as Prometheus has it and as
/// the conventions want it: a run that went well has no `error.type`.
fn attributes(decl: &FamilyDecl, labels: &str) -> Vec<KeyValue> {
    pairs(labels)
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let declared = decl.labels().iter().find(|it| it.name() == name);
            pair(declared.map_or(name, |it| it.key), &Value::Text(value))
        })
        .collect()
}

fn number(sample: &Sample<'_>) -> Option<Number> {
    Some(match sample {
        // OTLP has no larger whole number.
        Sample::Counter(it) => Number::AsInt(i64::try_from(*it).unwrap_or(i64::MAX)),
        Sample::Gauge(it) => Number::AsInt(*it),
        Sample::FloatCounter(it) | Sample::FloatGauge(it) => Number::AsDouble(*it),
        Sample::Histogram(_) => return None,
    })
}

fn histogram(
    sample: &HistogramSample<'_>,
    attributes: Vec<KeyValue>,
    start: u64,
    now: u64,
) -> HistogramDataPoint {
    let mut before = 0;
    let counts = sample.cumulative.iter().map(|it| {
        let own = it.saturating_sub(before);
        before = *it;
        own
    });
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        bucket_counts: counts.collect(),
        explicit_bounds: sample.bounds.to_vec(),
        count: sample.cumulative.last().copied().unwrap_or_default(),
        sum: Some(sample.sum),
        exemplars: (0..sample.cumulative.len())
            .filter_map(|bucket| sample.exemplar(bucket))
            .map(exemplar)
            .collect(),
        ..HistogramDataPoint::default()
    }
}

fn exemplar(it: crate::metric::Exemplar) -> Exemplar {
    Exemplar {
        time_unix_nano: it.time_unix_nanos,
        trace_id: it.trace_id.to_vec(),
        span_id: it.span_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(it.value)),
        ..Exemplar::default()
    }
}

/// Nanoseconds since 1970; 0 before it.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
