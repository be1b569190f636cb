//! Others, doing the same: each as its own documentation has it done.

pub(crate) mod counter;
pub(crate) mod exposition;
pub(crate) mod histogram;
pub(crate) mod line;
pub(crate) mod spans;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::keys::BOUNDS;

/// A meter provider that somebody reads; the registry is what reads it.
pub(super) fn otel() -> (SdkMeterProvider, prometheus::Registry) {
    let registry = prometheus::Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .without_target_info()
        .build()
        .expect("the registry is empty");
    let provider = SdkMeterProvider::builder()
        .with_reader(reader)
        // The default of 2,000 is less than a table has.
        .with_view(|_: &opentelemetry_sdk::metrics::Instrument| {
            opentelemetry_sdk::metrics::Stream::builder()
                .with_cardinality_limit(20_000)
                .build()
                .ok()
        })
        .build();
    (provider, registry)
}

/// The recorder of `metrics` belongs to the process.
pub(super) fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets(BOUNDS);
        let recorder = builder.expect("there are bounds").build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).expect("the only one");
        handle
    })
}
