//! What Danube pushed over OTLP, read by `opentelemetry-proto` in Python and laid
//! out for comparison with an exposition.

use std::collections::BTreeMap;

use serde_json::Value;

use super::python::read_otlp;
use super::receiver::{Received, Receiver, Reply};

/// Names and values of attributes, sorted.
pub(crate) type Attributes = Vec<(String, String)>;

/// One family as it was pushed, with the latest point of each series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pushed {
    pub(crate) unit: String,
    pub(crate) description: String,
    /// `sum`, `gauge` or `histogram`.
    pub(crate) kind: String,
    pub(crate) is_monotonic: bool,
    pub(crate) temporality: String,
    pub(crate) points: BTreeMap<Attributes, Point>,
}

/// A point of a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) start_nanos: u64,
    pub(crate) time_nanos: u64,
    /// The value, or the sum of a histogram.
    pub(crate) value: f64,
    /// Observations of a histogram.
    pub(crate) count: u64,
    /// Observations at most as large as each bound, then all.
    pub(crate) cumulative: Vec<u64>,
    pub(crate) bounds: Vec<f64>,
    pub(crate) exemplars: Vec<Value>,
}

/// A receiver for OTLP: 200 and an empty message, which says that all was taken.
pub(crate) fn receiver() -> Receiver {
    Receiver::answering(Reply::text("application/x-protobuf", ""))
}

/// Reads the requests at `path`.
#[track_caller]
pub(crate) fn read(received: &[Received], path: &str) -> Vec<Value> {
    if received.iter().all(|it| it.path != path) {
        return Vec::new();
    }
    let requests = received.iter().filter(|it| it.path == path);
    let requests: Vec<_> = requests
        .map(|it| (path, it.header("content-encoding"), it.body.as_slice()))
        .collect();
    read_otlp(&requests)
}

/// Families as they arrive, by their OpenTelemetry names.
#[derive(Default)]
pub(crate) struct Families {
    /// Requests that have been read: reading starts Python, so only what is new is.
    read: usize,
    pub(crate) all: BTreeMap<String, Pushed>,
}

impl Families {
    /// Reads what is new of `received`; whether there was anything.
    #[track_caller]
    pub(crate) fn take(&mut self, received: &[Received]) -> bool {
        let new = &received[self.read..];
        self.read = received.len();
        let requests = read(new, "/v1/metrics");
        let resources = requests.iter().flat_map(|it| list(&it["resourceMetrics"]));
        let scopes = resources.flat_map(|it| list(&it["scopeMetrics"]));
        for metric in scopes.flat_map(|it| list(&it["metrics"])) {
            self.add(metric);
        }
        !requests.is_empty()
    }

    #[track_caller]
    fn add(&mut self, metric: &Value) {
        let kind = ["sum", "gauge", "histogram"];
        let kind = kind.into_iter().find(|it| metric.get(it).is_some());
        let kind = kind.unwrap_or_else(|| panic!("no kind that we know: {metric}"));
        let data = &metric[kind];
        let family = self.all.entry(text(&metric["name"])).or_default();
        family.unit = text(&metric["unit"]);
        family.description = text(&metric["description"]);
        kind.clone_into(&mut family.kind);
        family.is_monotonic = data["isMonotonic"] == true;
        family.temporality = text(&data["aggregationTemporality"]);
        for point in list(&data["dataPoints"]) {
            let is = read_point(point);
            let key = attributes(&point["attributes"]);
            let was = family.points.get(&key);
            if was.is_none_or(|was| is.time_nanos >= was.time_nanos) {
                family.points.insert(key, is);
            }
        }
    }
}

fn read_point(point: &Value) -> Point {
    let mut below = 0;
    let buckets = list(&point["bucketCounts"]).iter().map(whole);
    let value = ["asInt", "asDouble", "sum"];
    let value = value.into_iter().find_map(|it| point.get(it));
    Point {
        start_nanos: whole(&point["startTimeUnixNano"]),
        time_nanos: whole(&point["timeUnixNano"]),
        value: value.map_or(0.0, number),
        count: whole(&point["count"]),
        cumulative: buckets
            .map(|it| {
                below += it;
                below
            })
            .collect(),
        bounds: list(&point["explicitBounds"]).iter().map(number).collect(),
        exemplars: list(&point["exemplars"]).to_vec(),
    }
}

/// Attributes of a point, a record or a resource, their values as text.
pub(crate) fn attributes(of: &Value) -> Attributes {
    let one = |it: &Value| {
        let value = it["value"].as_object().and_then(|it| it.values().next());
        let value = value.map_or(String::new(), |it| match it {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        (text(&it["key"]), value)
    };
    let mut all: Attributes = list(of).iter().map(one).collect();
    all.sort();
    all
}

pub(crate) fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(of: &Value) -> String {
    of.as_str().unwrap_or_default().to_owned()
}

/// Protobuf's JSON writes 64-bit numbers as strings and leaves zeros out.
fn whole(of: &Value) -> u64 {
    match of {
        Value::String(text) => text.parse().expect("a whole number"),
        other => other.as_u64().unwrap_or_default(),
    }
}

fn number(of: &Value) -> f64 {
    match of {
        Value::String(text) => text.parse().expect("a number"),
        other => other.as_f64().unwrap_or_default(),
    }
}
