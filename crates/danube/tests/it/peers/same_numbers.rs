//! The same question has the same answer here and in a real Prometheus: every declared
//! panel and alert, over the same made-up hours of resets, gaps, new series, series
//! that vanish, and times without traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use danube_signals::{Expected, alerts, panels};
use danube_telemetry::metric::{Kind, LabelValues, pairs};
use danube_telemetry::query::{Bounds, Expr, History, Part, Selector, TICK, Times, answer, series};

use super::prometheus::Prometheus;
use super::remote_write::{self, Series};

/// Ticks of the made-up data: five hours.
const TICKS: u32 = 1_200;

/// When they begin, Unix milliseconds. No tick lies on a whole second, so that it
/// doesn't matter whether a window includes its ends: Prometheus 2 and 3 differ there.
const BEGIN: i64 = 1_780_000_003_700;

/// Every counter starts again: the process did.
const RESTART: u32 = 250;
/// Nothing is sampled at all, for longer than samples count.
const SUSPENDED: std::ops::Range<u32> = 300..330;
/// Counters stand still, for longer than the longest window.
const QUIET: std::ops::Range<u32> = 700..1_000;

/// A generator whose numbers are the same in each run.
struct Numbers(u64);

impl Numbers {
    /// The numbers of what is called so. Each family has its own, so that one more
    /// panel doesn't change what the others are asked about.
    fn of(name: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(limit)).unwrap()
    }
}

/// One series, or all of one histogram.
struct Made {
    selectors: Vec<(Selector, String)>,
    bounds: Option<&'static [f64]>,
    kind: Kind,
    /// Cumulative counts and sum, or the value alone.
    values: Vec<f64>,
    /// From which tick on it is there.
    from: u32,
    /// When it is gone for a while.
    gone: std::ops::Range<u32>,
    /// What it usually grows by, or is.
    scale: u32,
    numbers: Numbers,
}

fn questions() -> Vec<(String, Expr)> {
    let panels = panels().iter().flat_map(|panel| {
        let queries = panel.queries.iter().enumerate();
        queries.map(|(at, it)| (format!("{} {at}", panel.name), it.expr.clone()))
    });
    let alerts = alerts(Expected { workers: 3 });
    let alerts = alerts
        .into_iter()
        .map(|it| (it.name.to_owned(), it.condition));
    panels.chain(alerts).collect()
}

/// The label sets of a family: every closed value, and some open ones.
fn label_sets(of: &Selector) -> Vec<String> {
    let mut sets = vec!["job=\"danube\"".to_owned()];
    for label in of.family.labels() {
        let values: Vec<String> = match label.values {
            LabelValues::Closed(values) => values.iter().map(|it| (*it).to_owned()).collect(),
            _ if label.name() == "check" => vec!["dex".into(), "registry".into()],
            _ => vec!["one".into(), "tw\\\"o".into()],
        };
        sets = sets
            .iter()
            .flat_map(|set| {
                values
                    .iter()
                    .map(move |it| format!("{set},{}=\"{it}\"", label.name()))
            })
            .collect();
    }
    sets
}

/// How much more often something like this happens.
fn often(labels: &str) -> u32 {
    match labels {
        it if it.contains("fail") => 8,
        it if it.contains("timeout") => 4,
        _ => 1,
    }
}

/// All series that the questions ask for, each family once.
fn made(asked: &[Selector]) -> Vec<Made> {
    let mut families: Vec<&Selector> = Vec::new();
    for selector in asked {
        if families
            .iter()
            .all(|it| it.family.name() != selector.family.name())
        {
            families.push(selector);
        }
    }
    let mut all = Vec::new();
    for of in families {
        let part = |part| Selector {
            part,
            matchers: Vec::new(),
            ..of.clone()
        };
        for labels in label_sets(of) {
            let is_histogram = of.family.kind == Kind::Histogram;
            let bounds = is_histogram.then_some(of.family.buckets);
            let selectors = match bounds {
                None => vec![(series(of.family), labels.clone())],
                Some(bounds) => {
                    let les = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                    let buckets =
                        les.map(|le| (part(Part::Bucket), format!("{labels},le=\"{le}\"")));
                    let rest = [part(Part::Sum), part(Part::Count)];
                    buckets.chain(rest.map(|it| (it, labels.clone()))).collect()
                }
            };
            let mut numbers = Numbers::of(&format!("{}{labels}", of.family.name()));
            let gone = numbers.below(TICKS);
            all.push(Made {
                values: vec![0.0; selectors.len()],
                selectors,
                bounds,
                kind: of.family.kind,
                from: [0, 0, 100 + numbers.below(100)][numbers.below(3) as usize],
                gone: gone..gone + numbers.below(80),
                // So many fail, and run out of time, that the alerts on shares have
                // something to say.
                scale: (1 + numbers.below(400)) * often(&labels),
                numbers,
            });
        }
    }
    all
}

impl Made {
    /// The values at the next tick; none while it isn't there.
    fn tick(&mut self, tick: u32) -> Option<&[f64]> {
        let mut numbers = Numbers(self.numbers.0);
        let restarts = tick == RESTART || numbers.below(400) == 0;
        let is_quiet = QUIET.contains(&tick);
        match (self.kind, self.bounds) {
            (_, Some(bounds)) => {
                if restarts {
                    self.values.fill(0.0);
                }
                for _ in 0..if is_quiet { 0 } else { numbers.below(4) } {
                    self.observe(bounds, &mut numbers);
                }
            }
            (Kind::Counter, None) => {
                if restarts {
                    self.values[0] = 0.0;
                }
                if !is_quiet {
                    self.values[0] += f64::from(numbers.below(3) * numbers.below(self.scale)) / 8.0;
                }
            }
            (Kind::Gauge | Kind::Info | Kind::Histogram, None) => {
                self.values[0] = self.gauge(tick, &mut numbers);
            }
        }
        self.numbers = numbers;
        let is_there = tick >= self.from && !self.gone.contains(&tick);
        is_there.then_some(self.values.as_slice())
    }

    fn observe(&mut self, bounds: &[f64], numbers: &mut Numbers) {
        let highest = bounds[bounds.len() - 1];
        // Mostly small ones, now and then one above all bounds.
        let share = f64::from(numbers.below(1_000) * numbers.below(1_000)) / 900_000.0;
        let value = highest * share;
        for (count, bound) in self
            .values
            .iter_mut()
            .zip(bounds.iter().chain([&f64::INFINITY]))
        {
            if value <= *bound {
                *count += 1.0;
            }
        }
        let sum = bounds.len() + 1;
        self.values[sum] += value;
        self.values[sum + 1] += 1.0;
    }

    /// Values on both sides of what alerts compare with.
    fn gauge(&self, tick: u32, numbers: &mut Numbers) -> f64 {
        match self.selectors[0].0.family.name() {
            "up" => f64::from(u32::from(numbers.below(10) > 0)),
            "danube_health_check_status" => f64::from(numbers.below(3)) / 2.0,
            "danube_health_check_consecutive_failures" => f64::from(numbers.below(6)),
            "danube_disk_free_ratio" => f64::from(numbers.below(200)) / 1_000.0,
            "danube_workers_active" => f64::from(numbers.below(5)),
            "danube_blueprint_sync_last_success" => {
                let at = BEGIN / 1_000 + i64::from(tick) * 15;
                f64::from(u32::try_from(at).unwrap() - numbers.below(1_200))
            }
            _ => f64::from(numbers.below(self.scale)),
        }
    }
}

/// Puts the same samples into both.
fn fill(asked: &[Selector], history: &History, prometheus: &Prometheus) {
    let mut all = made(asked);
    let mut written: BTreeMap<(usize, usize), Series> = BTreeMap::new();
    for tick in 0..TICKS {
        let now = BEGIN + i64::from(tick) * i64::try_from(TICK.as_millis()).unwrap();
        let mut samples = Vec::new();
        for (at, made) in all.iter_mut().enumerate() {
            let values = made.tick(tick).map(<[f64]>::to_vec);
            if SUSPENDED.contains(&tick) {
                continue;
            }
            for (part, (of, labels)) in made.selectors.iter().enumerate() {
                let series = written.entry((at, part)).or_insert_with(|| {
                    let name = ("__name__".to_owned(), of.name());
                    let labels = pairs(labels)
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value));
                    Series::of([name].into_iter().chain(labels))
                });
                series.sample(now, values.as_ref().map(|it| it[part]));
                if let Some(values) = &values {
                    samples.push((of, labels.clone(), values[part]));
                }
            }
        }
        if !SUSPENDED.contains(&tick) {
            history.insert(now, &samples);
        }
        // In pieces, and in the order of time: Prometheus takes nothing that is old.
        if tick % 100 == 99 {
            remote_write::write(prometheus, written.values_mut());
        }
    }
}

type Lines = BTreeMap<BTreeMap<String, String>, BTreeMap<i64, f64>>;

fn ours(expr: &Expr, history: &History, times: Times) -> Lines {
    let step = i64::try_from(times.step.as_millis()).unwrap();
    let lines = answer(expr, history, times).expect("it isn't too large");
    let line = |line: danube_telemetry::query::Line| {
        let points = (0..).zip(line.values);
        let points = points.filter_map(|(at, value)| Some((times.from + at * step, value?)));
        (line.labels.into_iter().collect(), points.collect())
    };
    lines.into_iter().map(line).collect()
}

fn theirs(expr: &Expr, prometheus: &Prometheus, times: Times) -> Lines {
    let panel = format!("{}s", times.panel.as_secs());
    let text = |millis: i64| format!("{}.{:03}", millis / 1_000, millis % 1_000);
    let query = [
        ("query", expr.promql(&panel)),
        ("start", text(times.from)),
        ("end", text(times.to)),
        ("step", times.step.as_secs().to_string()),
    ];
    let query: Vec<(&str, &str)> = query
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let data = prometheus.get("/api/v1/query_range", &query);
    let mut lines = Lines::new();
    for line in data["result"].as_array().unwrap() {
        let mut labels: BTreeMap<String, String> =
            serde_json::from_value(line["metric"].clone()).unwrap();
        // A filter keeps the name and `absent` has none: one alert, two lines.
        labels.remove("__name__");
        let points = lines.entry(labels).or_default();
        for point in line["values"].as_array().unwrap() {
            let seconds = point[0].as_f64().unwrap();
            #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
            let at = (seconds * 1e3).round() as i64;
            points.insert(at, point[1].as_str().unwrap().parse().unwrap());
        }
    }
    lines
}

/// Sums of the same numbers in another order differ in their last bits.
fn is_same(ours: f64, theirs: f64) -> bool {
    let both = ours.abs().max(theirs.abs());
    (ours.is_nan() && theirs.is_nan()) || ours == theirs || (ours - theirs).abs() <= both * 1e-9
}

/// A quantile jumps where its rank meets the count of a bucket and the next ones are
/// empty: the last bits of a sum decide between both ends. A little less and a little
/// more of `q` are the two ends.
fn nudged(expr: &Expr, by: f64) -> Expr {
    match expr.clone() {
        Expr::Quantile { q, of } => Expr::Quantile { q: q * by, of },
        Expr::Compare { op, left, right } => Expr::Compare {
            op,
            left: Box::new(nudged(&left, by)),
            right,
        },
        other => other,
    }
}

/// Ours first, then what it might be as well.
fn compare(name: &str, ours: &[Lines], theirs: &Lines) {
    let all = ours.iter().chain([theirs]);
    let labels: BTreeSet<_> = all.clone().flat_map(BTreeMap::keys).collect();
    for labels in labels {
        let times: BTreeSet<i64> = all
            .clone()
            .filter_map(|it| it.get(labels))
            .flat_map(|it| it.keys().copied())
            .collect();
        for at in times {
            let value = |lines: &Lines| lines.get(labels)?.get(&at).copied();
            let (there, here): (_, Vec<_>) = (value(theirs), ours.iter().map(value).collect());
            let is_one = here.iter().any(|here| match (here, there) {
                (Some(here), Some(there)) => is_same(*here, there),
                (here, there) => here.is_none() && there.is_none(),
            });
            let is_between = matches!((here.as_slice(), there), ([_, Some(less), Some(more)], Some(there)) if *less <= there && there <= *more);
            assert!(
                is_one || is_between,
                "{name} {labels:?} at {at}: {here:?} here, {there:?} there"
            );
        }
    }
}

#[test]
fn every_panel_and_alert_has_the_same_numbers_in_a_real_prometheus() {
    let questions = questions();
    let mut asked = Vec::new();
    for (_, expr) in &questions {
        expr.selectors(&mut |it| asked.push(it.clone()));
    }
    let history = History::new(&asked, Bounds::default());
    let prometheus = remote_write::receiver();
    fill(&asked, &history, &prometheus);
    assert_eq!(history.held().left_out, 0);
    let end = BEGIN + i64::from(TICKS) * 15_000;
    // Begins before the first sample and ends after the last; each step once per tick,
    // and steps that meet neither ticks nor each other's windows.
    for (from, to, step) in [
        (BEGIN - 3_700, end + 600_000, 15),
        (BEGIN - 60_000 - 3_700, end, 61),
        (BEGIN + 3_600_000, end, 420),
    ] {
        let step = Duration::from_secs(step);
        let times = Times {
            from,
            to,
            step,
            panel: Times::panel_window(step),
        };
        for (name, expr) in &questions {
            let mut here = vec![ours(expr, &history, times)];
            for by in [1.0 - 1e-9, 1.0 + 1e-9] {
                let nudged = nudged(expr, by);
                if nudged != *expr {
                    here.push(ours(&nudged, &history, times));
                }
            }
            assert!(
                !here[0].is_empty(),
                "{name}: {} asks for nothing here",
                expr.promql("5m")
            );
            compare(name, &here, &theirs(expr, &prometheus, times));
        }
    }
}
