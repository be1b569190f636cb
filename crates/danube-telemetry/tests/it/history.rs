//! The history of samples: what it keeps, what it lets go, and what it answers.

use std::time::Duration;

use danube_telemetry::metric::LabelValues;
use danube_telemetry::query::{
    BYTES_MAX, Bounds, Expr, History, Labels, Line, Selector, Times, TooLarge, Window, absent,
    answer, buckets, counts, quantile, ratio, series, sums,
};
use danube_telemetry::{FamilyDecl, FloatGauge, Histogram, Open, Registry, Single};

static JOBS: FamilyDecl = FamilyDecl::counter("test.jobs", "Jobs.")
    .label("went", LabelValues::Closed(&["well", "badly"]))
    .bounded("pipeline");
static SIZE: FamilyDecl = FamilyDecl::gauge("test.size", "Size.").bounded("of");
static FREE: FamilyDecl = FamilyDecl::gauge("test.free", "Free share.").when_set();
static TOOK: FamilyDecl = FamilyDecl::histogram("test.took", "Time.", &[0.5, 1.0]);

/// Milliseconds between ticks.
const TICK: i64 = 15_000;
/// Ticks of a block.
const BLOCK: i64 = 120;

fn sizes() -> Selector {
    series(&SIZE)
}

fn keeping(bounds: Bounds) -> History {
    History::new(&[sizes(), series(&JOBS)], bounds)
}

/// Sizes at a tick, by what they are of.
fn put(history: &History, tick: i64, sizes: &[(&str, f64)]) {
    let of = self::sizes();
    let samples: Vec<_> = sizes
        .iter()
        .map(|(name, value)| (&of, format!("of=\"{name}\""), *value))
        .collect();
    history.insert(tick * TICK, &samples);
}

fn now(expr: &Expr, history: &History, tick: i64) -> Vec<(Labels, f64)> {
    let lines = answer(expr, history, Times::once(tick * TICK)).unwrap();
    let one = |it: Line| (it.labels, it.values[0].unwrap());
    lines.into_iter().map(one).collect()
}

fn label(name: &str, value: &str) -> Labels {
    vec![(name.to_owned(), value.to_owned())]
}

#[test]
fn a_series_that_vanishes_is_gone_at_once_wherever_its_block_ends() {
    for last in [5, BLOCK - 1, BLOCK, BLOCK + 1] {
        let history = keeping(Bounds::default());
        for tick in 0..=last {
            put(&history, tick, &[("a", 1.0), ("b", 2.0)]);
        }
        put(&history, last + 1, &[("b", 2.0)]);
        assert_eq!(now(&sizes().now(), &history, last).len(), 2, "{last}");
        let left = now(&sizes().now(), &history, last + 1);
        assert_eq!(left, [(label("of", "b"), 2.0)], "{last}");
        // It is back where it was.
        put(&history, last + 2, &[("a", 3.0), ("b", 2.0)]);
        assert_eq!(now(&sizes().now(), &history, last + 2).len(), 2, "{last}");
    }
}

#[test]
fn what_is_older_than_it_is_kept_goes_by_blocks_and_a_series_with_its_last_one() {
    let bounds = Bounds {
        kept: Duration::from_secs(3_600),
        ..Bounds::default()
    };
    let history = keeping(bounds);
    put(&history, 0, &[("old", 1.0)]);
    for tick in 1..5 * BLOCK {
        put(&history, tick, &[("new", 1.0)]);
    }
    let (oldest, latest) = history.reach().unwrap();
    assert_eq!(latest, (5 * BLOCK - 1) * TICK);
    let kept = latest - oldest;
    // An hour, and what its oldest block holds besides.
    assert!(
        (3_600_000..3_600_000 + BLOCK * TICK).contains(&kept),
        "{kept}"
    );
    assert_eq!(history.held().series, 1);
}

#[test]
fn a_series_too_many_is_left_out_and_counted_and_the_others_go_on() {
    let bounds = Bounds {
        series: 2,
        ..Bounds::default()
    };
    let history = keeping(bounds);
    for tick in 0..3 {
        put(&history, tick, &[("a", 1.0), ("b", 2.0), ("c", 3.0)]);
    }
    assert_eq!(history.held().series, 2);
    assert_eq!(history.held().left_out, 3);
    assert_eq!(now(&sizes().now().sum(), &history, 2), [(vec![], 3.0)]);
}

#[test]
fn too_many_bytes_make_the_day_shorter() {
    let bounds = Bounds {
        bytes: 200_000,
        ..Bounds::default()
    };
    let history = keeping(bounds);
    for tick in 0..10 * BLOCK {
        // Numbers that don't pack.
        let sizes: Vec<_> = (0..50_i32)
            .map(|at| {
                (
                    at.to_string(),
                    (f64::from(at) + 0.1).powf(tick as f64 % 17.0),
                )
            })
            .collect();
        let sizes: Vec<_> = sizes
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        put(&history, tick, &sizes);
        assert!(history.held().bytes <= bounds.bytes, "{:?}", history.held());
    }
    let held = history.held();
    assert!(held.ticks >= 2 * 120 && held.ticks < 10 * 120, "{held:?}");
    assert_eq!(held.series, 50);
}

#[test]
fn a_day_of_a_busy_server_fits_many_times() {
    // 100 series: a tenth of them counts by random steps, a tenth is a float that
    // always changes, the others stand still, as most do.
    let history = keeping(Bounds::default());
    let names: Vec<String> = (0..100).map(|it| format!("pipeline-{it}")).collect();
    let mut values = vec![0.0; names.len()];
    let mut state = 1_u64;
    for tick in 0..49 * BLOCK {
        for (at, value) in values.iter_mut().enumerate() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            match at % 10 {
                0 => *value += (state >> 56) as f64,
                1 => *value += (state >> 40) as f64 / 1e9,
                _ => {}
            }
        }
        let all: Vec<_> = names
            .iter()
            .map(String::as_str)
            .zip(values.iter().copied())
            .collect();
        put(&history, tick, &all);
    }
    let held = history.held();
    assert_eq!(held.left_out, 0);
    assert!(held.ticks >= 24 * 240, "{held:?}");
    // Forty times as many fit.
    assert!(held.bytes < BYTES_MAX / 40, "{held:?}");
}

#[test]
fn a_clock_that_is_set_back_by_a_tick_changes_nothing_that_was_seen() {
    let history = keeping(Bounds::default());
    put(&history, 10, &[("a", 1.0)]);
    put(&history, 9, &[("a", 2.0)]);
    put(&history, 10, &[("a", 3.0)]);
    assert_eq!(history.held().ticks, 1);
    assert_eq!(now(&sizes().now().sum(), &history, 10), [(vec![], 1.0)]);
}

#[test]
fn a_clock_that_is_set_back_by_more_drops_what_lies_ahead_and_goes_on() {
    // Within a block, to its first tick, to the one before, and by several blocks.
    for back_to in [2 * BLOCK + 7, 2 * BLOCK, 2 * BLOCK - 1, 5] {
        let history = keeping(Bounds::default());
        for tick in 0..=2 * BLOCK + 20 {
            let late = ("late", 2.0);
            let all = [("a", tick as f64), late];
            let is_there = usize::from(tick > 2 * BLOCK + 10);
            put(&history, tick, &all[..1 + is_there]);
        }
        put(&history, back_to, &[("a", 0.5)]);
        put(&history, back_to + 1, &[("a", 1.5)]);
        assert_eq!(history.reach(), Some((0, (back_to + 1) * TICK)));
        let held = history.held();
        assert_eq!(held.ticks as i64, back_to + 2);
        // What was only seen ahead is forgotten.
        assert_eq!(held.series, 1);
        for (tick, value) in [
            (back_to - 1, (back_to - 1) as f64),
            (back_to, 0.5),
            (back_to + 1, 1.5),
        ] {
            let seen = now(&sizes().now(), &history, tick);
            assert_eq!(seen, [(label("of", "a"), value)], "{back_to} {tick}");
        }
        // A block is filled and closed as ever.
        for tick in back_to + 2..back_to + 3 * BLOCK {
            put(&history, tick, &[("a", 3.0)]);
        }
        assert_eq!(history.held().ticks as i64, back_to + 3 * BLOCK);
    }
}

#[test]
fn a_clock_that_is_set_back_before_everything_begins_anew() {
    let history = keeping(Bounds::default());
    for tick in 1_000..1_300 {
        put(&history, tick, &[("a", 1.0), ("b", 2.0)]);
    }
    put(&history, 3, &[("b", 4.0)]);
    assert_eq!(history.reach(), Some((3 * TICK, 3 * TICK)));
    assert_eq!(history.held().series, 1);
    assert_eq!(now(&sizes().now().sum(), &history, 3), [(vec![], 4.0)]);
}

#[test]
fn a_registry_is_sampled_as_a_scrape_sees_it() {
    let registry = Registry::new();
    let free: Single<FloatGauge> = registry.add(&FREE);
    let took: Single<Histogram> = registry.add(&TOOK);
    let asked = [
        series(&FREE),
        buckets(&TOOK),
        sums(&TOOK),
        counts(&TOOK).ours(),
    ];
    let history = History::new(&asked, Bounds::default());
    history.sample(&registry, 0);
    assert_eq!(now(&series(&FREE).now(), &history, 0), []);
    assert_eq!(
        now(&absent(series(&FREE).ours()), &history, 0),
        [(label("job", "danube"), 1.0)]
    );
    free.set(0.25);
    for (tick, value) in [(1, 0.4), (2, 0.6), (3, 7.0)] {
        took.observe(value);
        history.sample(&registry, tick * TICK);
    }
    assert_eq!(
        now(&series(&FREE).now(), &history, 3),
        [(label("job", "danube"), 0.25)]
    );
    assert_eq!(
        now(&counts(&TOOK).ours().now().sum(), &history, 3),
        [(vec![], 3.0)]
    );
    assert_eq!(now(&sums(&TOOK).now().sum(), &history, 3), [(vec![], 8.0)]);
    let p50 = quantile(0.5, buckets(&TOOK), Window::minutes(1), &[]);
    assert_eq!(now(&p50, &history, 3), [(vec![], 0.75)]);
}

#[test]
fn series_that_nobody_asks_for_are_not_kept() {
    let registry = Registry::new();
    let sizes: Open<1, (), FloatGauge> = registry.add(&SIZE);
    sizes.with(["asked"]).set(1.0);
    sizes.with(["other"]).set(1.0);
    let asked = [series(&SIZE).with("of", "asked")];
    let history = History::new(&asked, Bounds::default());
    history.sample(&registry, 0);
    assert_eq!(history.held().series, 1);
    assert_eq!(history.held().left_out, 0);
}

#[test]
fn a_ratio_has_no_value_without_traffic() {
    let history = keeping(Bounds::default());
    let jobs = series(&JOBS);
    let put = |tick: i64, badly: f64, well: f64| {
        let labels = |went: &str| format!("went=\"{went}\",pipeline=\"p\"");
        let samples = [
            (&jobs, labels("badly"), badly),
            (&jobs, labels("well"), well),
        ];
        history.insert(tick * TICK, &samples);
    };
    let window = Window::minutes(1);
    let failures = ratio(
        series(&JOBS).with("went", "badly").rate(window).sum(),
        series(&JOBS).rate(window).sum(),
    );
    for tick in 0..5 {
        put(tick, 3.0, 7.0);
    }
    assert_eq!(now(&failures, &history, 4), []);
    put(5, 4.0, 8.0);
    assert_eq!(now(&failures, &history, 5), [(vec![], 0.5)]);
}

#[test]
fn sets_are_joined_by_their_labels() {
    let history = keeping(Bounds::default());
    put(&history, 0, &[("a", 1.0), ("b", 2.0), ("c", 3.0)]);
    let all = || sizes().now();
    let values = |expr: Expr| {
        let found = now(&expr, &history, 0).into_iter();
        found
            .map(|(labels, value)| (labels[0].1.clone(), value))
            .collect::<Vec<_>>()
    };
    let pair = |name: &str, value: f64| (name.to_owned(), value);
    assert_eq!(
        values(all().below(2.0).or(all().times(10.0).above(10.0))),
        [pair("a", 1.0), pair("b", 20.0), pair("c", 30.0)]
    );
    assert_eq!(
        now(&all().max_by(&[]).minus(Expr::Number(0.5)), &history, 0),
        [(vec![], 2.5)]
    );
}

#[test]
fn a_question_about_too_much_is_refused_before_it_takes_the_memory() {
    let history = keeping(Bounds::default());
    let names: Vec<String> = (0..100).map(|it| it.to_string()).collect();
    let all: Vec<_> = names.iter().map(|it| (it.as_str(), 1.0)).collect();
    put(&history, 0, &all);
    let times = |steps: i64| Times {
        from: 0,
        to: steps * 1_000,
        step: Duration::from_secs(1),
        panel: Duration::from_secs(60),
    };
    let each = sizes().now();
    assert_eq!(answer(&each, &history, times(50_000)), Err(TooLarge));
    assert_eq!(
        answer(&each.sum_by(&["of"]), &history, times(50_000)),
        Err(TooLarge)
    );
    assert_eq!(
        answer(&Expr::Time, &history, times(i64::MAX / 1_000)),
        Err(TooLarge)
    );
    let one = sizes().now().sum();
    assert_eq!(answer(&one, &history, times(50_000)).unwrap().len(), 1);
}
