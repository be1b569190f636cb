//! Counters of others.

use std::sync::Arc;

use danube_telemetry::metric::LabelEnum;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::counter::FAMILY_OF_PROMETHEUS_CLIENT;
use crate::field::Case;
use crate::keys::{METHODS, Method, OUTCOMES, Outcome, cell, each_key};

/// The labels as prometheus-client has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    pub(super) method: Method,
    pub(super) outcome: Outcome,
}

impl EncodeLabelValue for Method {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// One of each cell, in the order of [`cell`].
pub(super) fn each_cell<T>(of: impl Fn(Method, Outcome) -> T) -> Vec<T> {
    let all = METHODS
        .iter()
        .flat_map(|method| OUTCOMES.map(|outcome| (*method, outcome)));
    all.map(|(method, outcome)| of(method, outcome)).collect()
}

pub(super) fn pairs(method: Method, outcome: Outcome) -> [KeyValue; 2] {
    [
        KeyValue::new("method", method.as_str()),
        KeyValue::new("outcome", outcome.as_str()),
    ]
}

/// All of them, looked up each time and held.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = prometheus_client();
    cases.extend(prometheus());
    cases.extend(metrics());
    cases.extend(opentelemetry());
    cases
}

fn prometheus_client() -> Vec<Case> {
    let family = Family::<Labels, Counter>::default();
    let held =
        each_cell(|method, outcome| family.get_or_create(&Labels { method, outcome }).clone());
    vec![
        Case::new(FAMILY_OF_PROMETHEUS_CLIENT, move |times, thread| {
            each_key(times, thread, |method, outcome| {
                family.get_or_create(&Labels { method, outcome }).inc();
            });
        }),
        Case::new("prometheus-client: held", move |times, thread| {
            each_key(times, thread, |method, outcome| {
                held[cell(method, outcome)].inc();
            });
        }),
    ]
}

fn prometheus() -> Vec<Case> {
    let options = prometheus::Opts::new("bench_total", "Two labels.");
    let family = prometheus::IntCounterVec::new(options, &["method", "outcome"])
        .expect("the names are right");
    let held =
        each_cell(|method, outcome| family.with_label_values(&[method.as_str(), outcome.as_str()]));
    vec![
        Case::new("prometheus: looked up each time", move |times, thread| {
            each_key(times, thread, |method, outcome| {
                family
                    .with_label_values(&[method.as_str(), outcome.as_str()])
                    .inc();
            });
        }),
        Case::new("prometheus: held", move |times, thread| {
            each_key(times, thread, |method, outcome| {
                held[cell(method, outcome)].inc();
            });
        }),
    ]
}

fn metrics() -> Vec<Case> {
    super::recorder();
    let held = each_cell(
        |method, outcome| metrics::counter!("bench_total", "method" => method.as_str(), "outcome" => outcome.as_str()),
    );
    vec![
        Case::new("metrics: looked up each time", |times, thread| {
            each_key(times, thread, |method, outcome| {
                metrics::counter!("bench_total", "method" => method.as_str(), "outcome" => outcome.as_str())
                    .increment(1);
            });
        }),
        Case::new("metrics: held", move |times, thread| {
            each_key(times, thread, |method, outcome| {
                held[cell(method, outcome)].increment(1);
            });
        }),
    ]
}

fn opentelemetry() -> Vec<Case> {
    let (provider, _) = super::otel();
    let counter = provider.meter("bench").u64_counter("bench").build();
    let held = each_cell(|method, outcome| counter.bind(&pairs(method, outcome)));
    // The instruments stop counting with their provider.
    let (kept, provider) = (Arc::new(provider.clone()), provider);
    vec![
        Case::new(
            "opentelemetry_sdk: looked up each time",
            move |times, thread| {
                let _provider = &provider;
                each_key(times, thread, |method, outcome| {
                    counter.add(1, &pairs(method, outcome));
                });
            },
        ),
        Case::new("opentelemetry_sdk: held (bound)", move |times, thread| {
            let _provider = &kept;
            each_key(times, thread, |method, outcome| {
                held[cell(method, outcome)].add(1);
            });
        }),
    ]
}
