//! Text of others.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use danube_telemetry::metric::LabelEnum;
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use prometheus::{Encoder as _, TextEncoder};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::exposition::{HELP, PROMETHEUS, PROMETHEUS_CLIENT, Series, Status, family_name, mega};
use crate::field::Case;
use crate::keys::BOUNDS;

/// Looks whether a text has everything.
type Check<'a> = &'a dyn Fn(&str);

impl EncodeLabelValue for Status {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    status: Status,
    pipeline: String,
}

/// All of them, with these series.
pub(crate) fn cases(series: &[Series], check: Check<'_>) -> Vec<Case> {
    vec![
        prometheus_client(series, check),
        prometheus(series, check),
        metrics(series, check),
        opentelemetry(series, check),
    ]
}

fn families(series: &[Series]) -> usize {
    series.iter().map(|it| it.family + 1).max().unwrap_or(0)
}

fn prometheus_client(series: &[Series], check: Check<'_>) -> Case {
    let mut registry = Registry::default();
    let families: Vec<Family<Labels, Counter>> = (0..families(series))
        .map(|family| {
            let counters = Family::default();
            // It adds a full stop itself.
            let help = HELP.trim_end_matches('.');
            registry.register(family_name(family), help, Family::clone(&counters));
            counters
        })
        .collect();
    for it in series {
        let labels = Labels {
            status: it.status,
            pipeline: it.pipeline.clone(),
        };
        families[it.family].get_or_create(&labels).inc_by(it.value);
    }
    client_text(PROMETHEUS_CLIENT, registry, check)
}

/// Into a buffer that is used again.
fn client_text(name: &str, registry: Registry, check: Check<'_>) -> Case {
    let mut text = String::new();
    encode(&mut text, &registry).expect("it can be written");
    check(&text);
    let bytes = text.len();
    let buffer = Mutex::new(text);
    Case::new(name, move |times, _| {
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..times {
            buffer.clear();
            encode(black_box(&mut *buffer), &registry).expect("it can be written");
        }
    })
    .note(mega(bytes))
}

/// Gathers and writes, into a buffer that is used again.
fn gathered(name: &str, registry: prometheus::Registry, check: Check<'_>) -> Case {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    encoder
        .encode(&registry.gather(), &mut text)
        .expect("it can be written");
    check(std::str::from_utf8(&text).expect("it is text"));
    let bytes = text.len();
    let buffer = Mutex::new(text);
    Case::new(name, move |times, _| {
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..times {
            buffer.clear();
            TextEncoder::new()
                .encode(&registry.gather(), black_box(&mut *buffer))
                .expect("it can be written");
        }
    })
    .note(mega(bytes))
}

fn prometheus(series: &[Series], check: Check<'_>) -> Case {
    let registry = prometheus::Registry::new();
    let families: Vec<_> = (0..families(series))
        .map(|family| {
            let options = prometheus::Opts::new(format!("{}_total", family_name(family)), HELP);
            let counters = prometheus::IntCounterVec::new(options, &["status", "pipeline"])
                .expect("the names are right");
            registry
                .register(Box::new(counters.clone()))
                .expect("each name is there once");
            counters
        })
        .collect();
    for it in series {
        families[it.family]
            .with_label_values(&[it.status.as_str(), it.pipeline.as_str()])
            .inc_by(it.value);
    }
    gathered(PROMETHEUS, registry, check)
}

fn metrics(series: &[Series], check: Check<'_>) -> Case {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        for it in series {
            let name = format!("{}_total", family_name(it.family));
            metrics::describe_counter!(name.clone(), HELP);
            metrics::counter!(name, "status" => it.status.as_str(), "pipeline" => it.pipeline.clone())
                .increment(it.value);
        }
    });
    let text = handle.render();
    check(&text);
    Case::new("metrics-exporter-prometheus, 0.0.4", move |times, _| {
        for _ in 0..times {
            black_box(handle.render());
        }
    })
    .note(mega(text.len()))
}

fn opentelemetry(series: &[Series], check: Check<'_>) -> Case {
    let (provider, registry) = super::otel();
    let meter = provider.meter("bench");
    let counters: Vec<_> = (0..families(series))
        .map(|family| {
            let counter = meter.u64_counter(family_name(family));
            counter.with_description(HELP).build()
        })
        .collect();
    for it in series {
        counters[it.family].add(
            it.value,
            &[
                KeyValue::new("status", it.status.as_str()),
                KeyValue::new("pipeline", it.pipeline.clone()),
            ],
        );
    }
    // Its readers stop with it.
    let kept = Arc::new(provider);
    let case = gathered(
        "opentelemetry_sdk + opentelemetry-prometheus, 0.0.4",
        registry,
        check,
    );
    case.after(move || drop(Arc::clone(&kept)))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pipeline {
    pipeline: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Trace {
    trace_id: String,
    span_id: String,
}

/// So many histograms, an exemplar in each bucket where that is possible.
pub(crate) fn histograms(count: usize) -> Vec<Case> {
    let mut client = Registry::default();
    let family = Family::<Pipeline, HistogramWithExemplars<Trace>>::new_with_constructor(|| {
        HistogramWithExemplars::new(BOUNDS.iter().copied())
    });
    client.register(
        "bench_job_duration_seconds",
        "Time of a job",
        family.clone(),
    );
    let registry = prometheus::Registry::new();
    let options = prometheus::HistogramOpts::new("bench_job_duration_seconds", "Time of a job.")
        .buckets(BOUNDS.into());
    let vec = prometheus::HistogramVec::new(options, &["pipeline"]).expect("the names are right");
    registry
        .register(Box::new(vec.clone()))
        .expect("it is the only one");
    for pipeline in 0..count {
        let pipeline = format!("build-{pipeline:04}");
        let trace = Trace {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            span_id: "00f067aa0ba902b7".to_owned(),
        };
        for bound in BOUNDS {
            vec.with_label_values(&[&pipeline]).observe(bound * 0.9);
            let labels = Pipeline {
                pipeline: pipeline.clone(),
            };
            let at = Some(SystemTime::now());
            family
                .get_or_create(&labels)
                .observe(bound * 0.9, Some(trace.clone()), at);
        }
    }
    let lines = (BOUNDS.len() + 3) * count;
    let check = move |text: &str| {
        let found = text.lines().filter(|it| !it.starts_with('#')).count();
        assert_eq!(found, lines, "lines are missing");
    };
    vec![
        client_text(
            "prometheus-client, OpenMetrics, an exemplar in each bucket",
            client,
            &check,
        ),
        gathered("prometheus, 0.0.4, no exemplars", registry, &check),
    ]
}
