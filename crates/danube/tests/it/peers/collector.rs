//! A real collector with its default limits takes more than a server would push.

use std::sync::Arc;
use std::time::Duration;

use danube_telemetry::otlp::{Endpoint, Options, Protocol, Retry, Signal, Source};

use super::many;
use super::otlp::{self, Families};
use super::rotel::Rotel;
use crate::master::DEADLINE;

#[test]
fn a_collector_with_its_usual_limits_takes_a_hundred_thousand_series() {
    let receiver = otlp::receiver();
    let collector = Rotel::handing_on_to(&receiver);
    let exporter = danube_telemetry::otlp::start(Options {
        endpoint: Endpoint {
            url: collector.grpc.clone(),
            protocol: Protocol::Grpc,
            headers: Vec::new(),
        },
        source: Source {
            resource: Vec::new(),
            scope: "danube",
            version: "1",
        },
        // Pushed once, at the end.
        metrics: Some((many::registry(), Duration::from_secs(3_600))),
        lines: false,
        records: false,
        spans: false,
        redact: None,
        retry: Retry::default(),
        tell: Arc::new(|told| panic!("{told:?}")),
    });
    let exporter = exporter.unwrap();
    let lost = exporter.lost();
    assert!(exporter.finish(DEADLINE));
    assert_eq!(lost.of(Signal::Metric), 0);

    let mut families = Families::default();
    receiver.until("every series comes", |received| {
        families.take(received);
        let count: usize = families.all.values().map(|it| it.points.len()).sum();
        (count as f64 >= many::ALL).then_some(())
    });
    assert_eq!(families.all.len(), many::FAMILIES);
    let points = families.all.values().flat_map(|it| it.points.values());
    let (mut count, mut sum) = (0.0, 0.0);
    for point in points {
        count += 1.0;
        sum += point.value;
    }
    assert_eq!((count, sum), (many::ALL, many::SUM));
}
