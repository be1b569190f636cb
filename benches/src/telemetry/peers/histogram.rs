//! Histograms of others.

use std::time::SystemTime;

use danube_telemetry::TraceContext;
use danube_telemetry::metric::LabelEnum;
use opentelemetry::metrics::MeterProvider as _;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::counter::{Labels, pairs};
use crate::field::Case;
use crate::keys::{BOUNDS, each_observation};

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = prometheus_client();
    cases.extend(prometheus());
    cases.extend(metrics());
    cases.extend(opentelemetry());
    cases
}

/// An exemplar's labels at their cheapest: two arrays, written out at a scrape.
#[derive(Debug, Clone, Copy)]
struct Trace(TraceContext);

fn prometheus_client() -> Vec<Case> {
    let held = Histogram::new(BOUNDS.iter().copied());
    let traced = HistogramWithExemplars::<Trace>::new(BOUNDS.iter().copied());
    let trace = Trace(TraceContext::random());
    let family = Family::<Labels, Histogram>::new_with_constructor(|| {
        Histogram::new(BOUNDS.iter().copied())
    });
    vec![
        Case::new(
            "prometheus-client: held, no exemplar",
            move |times, thread| {
                each_observation(times, thread, |it| held.observe(it.seconds));
            },
        ),
        Case::new(
            "prometheus-client: held, an exemplar in 16",
            move |times, thread| {
                std::hint::black_box(trace.0);
                each_observation(times, thread, |it| {
                    let labels = it.traced.then_some(trace);
                    let at = it.traced.then(SystemTime::now);
                    traced.observe(it.seconds, labels, at);
                });
            },
        ),
        Case::new(
            "prometheus-client: looked up each time, no exemplar",
            move |times, thread| {
                each_observation(times, thread, |it| {
                    let labels = Labels {
                        method: it.method,
                        outcome: it.outcome,
                    };
                    family.get_or_create(&labels).observe(it.seconds);
                });
            },
        ),
    ]
}

fn prometheus() -> Vec<Case> {
    let options = prometheus::HistogramOpts::new("bench_seconds", "Times.").buckets(BOUNDS.into());
    let held = prometheus::Histogram::with_opts(options.clone()).expect("the bounds are right");
    let family = prometheus::HistogramVec::new(options, &["method", "outcome"])
        .expect("the names are right");
    vec![
        Case::new("prometheus: held", move |times, thread| {
            each_observation(times, thread, |it| held.observe(it.seconds));
        }),
        Case::new("prometheus: looked up each time", move |times, thread| {
            each_observation(times, thread, |it| {
                family
                    .with_label_values(&[it.method.as_str(), it.outcome.as_str()])
                    .observe(it.seconds);
            });
        }),
    ]
}

/// It keeps each sample until somebody drains it, which isn't timed here.
fn metrics() -> Vec<Case> {
    super::recorder();
    let held = metrics::histogram!("bench_held_seconds");
    let drain = || super::recorder().run_upkeep();
    vec![
        Case::new("metrics: held, drained later", move |times, thread| {
            each_observation(times, thread, |it| held.record(it.seconds));
        })
        .after(drain),
        Case::new(
            "metrics: looked up each time, drained later",
            |times, thread| {
                each_observation(times, thread, |it| {
                    metrics::histogram!(
                        "bench_seconds",
                        "method" => it.method.as_str(),
                        "outcome" => it.outcome.as_str()
                    )
                    .record(it.seconds);
                });
            },
        )
        .after(drain),
    ]
}

fn opentelemetry() -> Vec<Case> {
    let (provider, _) = super::otel();
    let histogram = provider
        .meter("bench")
        .f64_histogram("bench")
        .with_boundaries(BOUNDS.into())
        .build();
    let held = histogram.bind(&[]);
    let kept = provider.clone();
    vec![
        Case::new("opentelemetry_sdk: held (bound)", move |times, thread| {
            let _provider = &kept;
            each_observation(times, thread, |it| held.record(it.seconds));
        }),
        Case::new(
            "opentelemetry_sdk: looked up each time",
            move |times, thread| {
                let _provider = &provider;
                each_observation(times, thread, |it| {
                    histogram.record(it.seconds, &pairs(it.method, it.outcome));
                });
            },
        ),
    ]
}
