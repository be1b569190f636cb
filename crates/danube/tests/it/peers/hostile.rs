//! Label values and helps that would end a label, a line or the whole text, read
//! back by Prometheus and by Python.

use std::collections::BTreeSet;

use danube_telemetry::{Counter, FamilyDecl, Format, Gauge, Histogram, Open, Registry, Single};

use super::jobs::NAMED;
use super::prometheus::Prometheus;
use super::python::{Sample, read_openmetrics, read_text, value};
use super::receiver::{Receiver, Reply};

static HOSTILE: FamilyDecl = FamilyDecl::counter("hostile", "A \"quoted\" \\ help,\nof two lines.")
    .bounded("value")
    .bounded("second");
static HOSTILE_WAIT: FamilyDecl =
    FamilyDecl::histogram("hostile.wait", "Waits.", &[0.001, 1.0, 1e7]).bounded("value");
static HOSTILE_SIZE: FamilyDecl = FamilyDecl::gauge("hostile.size", "Sizes.").unit("By");

/// A size that a floating-point number holds exactly.
const SIZE: i64 = 1 << 60;

/// Values that end a label, a line or a text in one format or the other.
const VALUES: &[&str] = &[
    "",
    " ",
    "\"",
    "\\",
    "\\\"",
    "\\n",
    "\n",
    "a\nb",
    "\\\n\"",
    "\r",
    "\r\n",
    "\t",
    "\0",
    "\u{85}\u{2028}\u{2029}\u{b}\u{c}\u{1c}",
    "} 1 # {x=\"y\"} 2",
    ",le=\"1\"",
    "# EOF",
    "\n# EOF\n",
    "# HELP hostile_total x",
    "é日本🚀\u{301}",
    "\u{feff}\u{202e}",
    NAMED,
];

/// Each pair of values counts the place of its first one.
fn registry() -> Registry {
    let registry = Registry::new();
    let hostile: Open<2, (), Counter> = registry.add(&HOSTILE);
    let wait: Open<1, (), Histogram> = registry.add(&HOSTILE_WAIT);
    let size: Single<Gauge> = registry.add(&HOSTILE_SIZE);
    size.set(-SIZE);
    for (at, value) in VALUES.iter().enumerate() {
        for second in VALUES {
            hostile.with([value, second]).add(at as u64);
        }
        for seconds in [0.0005, 0.5, 2e6, 1e300] {
            wait.with([value]).observe(seconds);
        }
    }
    registry
}

#[test]
fn python_reads_every_label_value_back_as_it_was() {
    let registry = registry();
    let text = read_text(&registry.encode(Format::Text004));
    let open = read_openmetrics(&registry.encode(Format::OpenMetrics1));
    for samples in [&text, &open] {
        for (at, first) in VALUES.iter().enumerate() {
            for second in VALUES {
                let labels = [("second", *second), ("value", *first)];
                assert_eq!(value(samples, "hostile_total", &labels), at as f64);
            }
            let labels = [("le", "10000000.0"), ("value", *first)];
            assert_eq!(value(samples, "hostile_wait_seconds_bucket", &labels), 3.0);
            let labels = [("value", *first)];
            assert_eq!(value(samples, "hostile_wait_seconds_count", &labels), 4.0);
        }
        assert_eq!(value(samples, "hostile_size_bytes", &[]), -SIZE as f64);
    }
    assert_eq!(open[0].help, "A \"quoted\" \\ help,\nof two lines.");
    let values = |samples: &[Sample]| -> Vec<_> {
        let one = |it: &Sample| (it.name.clone(), it.labels.clone(), it.value.clone());
        samples.iter().map(one).collect()
    };
    assert_eq!(values(&text), values(&open));
    let count = VALUES.len() * VALUES.len() + VALUES.len() * 6 + 1;
    assert_eq!(open.len(), count);
}

#[test]
fn prometheus_reads_every_label_value_back_as_it_was() {
    let registry = registry();
    // Both are started first: each takes its time until it looks.
    let both = [Format::Text004, Format::OpenMetrics1].map(|format| {
        let reply = Reply::text(format.content_type(), &registry.encode(format));
        let target = Receiver::answering(reply);
        let prometheus = Prometheus::scraping_at(&target.url, "key");
        (format, target, prometheus)
    });
    for (format, target, prometheus) in both {
        prometheus.scraped();

        let points = prometheus.query("hostile_total");
        assert_eq!(points.len(), VALUES.len() * VALUES.len());
        let seen: BTreeSet<_> = points
            .iter()
            .map(|it| {
                // A label with an empty value is one that isn't there, to it.
                let label = |name| it.labels.get(name).map_or("", String::as_str);
                (label("value"), label("second"), it.value.to_string())
            })
            .collect();
        let wanted = VALUES.iter().enumerate();
        let wanted: BTreeSet<_> = wanted
            .flat_map(|(at, first)| {
                VALUES
                    .iter()
                    .map(move |second| (*first, *second, at.to_string()))
            })
            .collect();
        assert_eq!(seen, wanted, "{format:?}");
        assert_eq!(prometheus.value("hostile_size_bytes"), -SIZE as f64);
        assert_eq!(
            prometheus.value("sum(hostile_wait_seconds_count)"),
            4.0 * VALUES.len() as f64
        );
        let asked = target.until("a scrape", |it| it.first().cloned());
        assert_eq!(asked.path, "/metrics");
        assert_eq!(asked.header("authorization"), "Bearer key");
    }
}
