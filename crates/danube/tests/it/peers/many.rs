//! A hundred thousand series, as many as our exposition is measured with.

use danube_telemetry::metric::{Context, SeriesRoom};
use danube_telemetry::{Counter, FamilyDecl, Format, Open, Registry};

use super::prometheus::Prometheus;
use super::receiver::{Receiver, Reply};

/// Families.
pub(crate) const FAMILIES: usize = 100;

/// Series of each: as many as a family holds.
const SERIES_EACH: usize = 1_000;

/// Counters that have counted their own places, from 0 on.
pub(crate) fn registry() -> Registry {
    let registry = Registry::with(Context {
        // More than a server would hold.
        room: SeriesRoom::of(FAMILIES * SERIES_EACH),
        ..Context::default()
    });
    for family in 0..FAMILIES {
        let name = Box::leak(format!("many.{family:02}").into_boxed_str());
        let decl = FamilyDecl::counter(name, "Many.").bounded("number");
        let counter: Open<1, (), Counter> = registry.add(Box::leak(Box::new(decl)));
        for number in 0..SERIES_EACH {
            let value = family * SERIES_EACH + number;
            counter.with([&number.to_string()]).add(value as u64);
        }
    }
    registry
}

/// Number of all series.
pub(crate) const ALL: f64 = (FAMILIES * SERIES_EACH) as f64;

/// Sum of all values.
pub(crate) const SUM: f64 = ALL * (ALL - 1.0) / 2.0;

#[test]
fn prometheus_takes_a_hundred_thousand_series_whole() {
    let format = Format::OpenMetrics1;
    let reply = Reply::text(format.content_type(), &registry().encode(format));
    let target = Receiver::answering(reply);
    let prometheus = Prometheus::scraping_at(&target.url, "key");
    prometheus.scraped();
    let all = "{__name__=~\"many_.*\"}";
    assert_eq!(prometheus.value(&format!("count({all})")), ALL);
    assert_eq!(prometheus.value(&format!("sum({all})")), SUM);
    assert_eq!(prometheus.value("scrape_samples_scraped"), ALL);
}
