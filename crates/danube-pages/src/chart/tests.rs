//! Charts of data that is usual, and of data that nothing was made for.

use std::collections::BTreeMap;

use danube_api::{PanelData, PanelLine, PanelView};

use super::*;

const BEGIN: f64 = 1_769_860_800.0;
const FROM: &str = "2026-01-31T12:00:00Z";
const TO: &str = "2026-01-31T13:00:00Z";

fn line(legend: &str, points: Vec<(f64, f64)>) -> PanelLine {
    PanelLine {
        legend: legend.to_owned(),
        labels: BTreeMap::new(),
        points,
    }
}

fn data(unit: &str, (from, to): (&str, &str), series: Vec<PanelLine>) -> PanelData {
    PanelData {
        panel: PanelView {
            name: "jobs_per_hour".to_owned(),
            dashboard: "job_overview".to_owned(),
            title: "Jobs per hour".to_owned(),
            description: "Jobs that ended.".to_owned(),
            unit: unit.to_owned(),
            state: "live".to_owned(),
            waits_for: None,
            queries: Vec::new(),
        },
        from: from.to_owned(),
        to: to.to_owned(),
        step_seconds: 60,
        window_seconds: 75,
        series,
    }
}

fn hour(unit: &str, series: Vec<PanelLine>) -> Chart {
    Chart::of(&data(unit, (FROM, TO), series))
}

#[test]
fn a_line_runs_from_side_to_side_and_from_zero_up() {
    let points = vec![(BEGIN, 0.0), (BEGIN + 30.0, 5.0), (BEGIN + 60.0, 10.0)];
    let to = "2026-01-31T12:01:00Z";
    let chart = Chart::of(&data("count", (FROM, to), vec![line("all", points)]));
    let Plot {
        left,
        top,
        right,
        bottom,
    } = chart.plot;
    let middle = (
        place(&f64::midpoint(left, right)),
        place(&f64::midpoint(top, bottom)),
    );
    let expected = format!(
        "M{} {}L{} {}L{} {}",
        place(&left),
        place(&bottom),
        middle.0,
        middle.1,
        place(&right),
        place(&top)
    );
    assert_eq!(chart.lines[0].path, expected);
    assert_eq!(chart.lines[0].latest, "10");
    assert_eq!(chart.lines[0].latest_at, None);
}

#[test]
fn where_there_is_no_point_there_is_a_gap() {
    let points = [0.0, 60.0, 180.0, 300.0, 360.0].map(|at| (BEGIN + at, 1.0));
    let chart = hour("count", vec![line("all", points.to_vec())]);
    let line = &chart.lines[0];
    assert_eq!(line.path.matches('M').count(), 2, "{}", line.path);
    assert_eq!(line.path.matches('L').count(), 2, "{}", line.path);
    assert_eq!(line.dots.len(), 1);
    // The last point is an old one, and that is said.
    assert_eq!(line.latest_at.as_deref(), Some("12:06:00"));
}

#[test]
fn the_highest_lines_are_drawn_and_the_others_counted() {
    let series = (0..12)
        .map(|it| line(&format!("l{it}"), vec![(BEGIN, f64::from(it))]))
        .collect();
    let chart = hour("count", series);
    let names: Vec<&str> = chart.lines.iter().map(|it| it.legend.as_str()).collect();
    assert_eq!(names, ["l4", "l5", "l6", "l7", "l8", "l9", "l10", "l11"]);
    assert_eq!(chart.left_out, 4);
}

#[test]
fn every_moment_has_a_row_with_the_values_of_all_lines() {
    let chart = hour(
        "seconds",
        vec![
            line("p50", vec![(BEGIN, 0.25), (BEGIN + 60.0, 0.5)]),
            line("p99", vec![(BEGIN + 60.0, f64::NAN), (BEGIN + 120.0, 2.0)]),
        ],
    );
    let rows: Vec<(&str, String)> = chart
        .rows
        .iter()
        .map(|it| (it.time.as_str(), it.values.join("|")))
        .collect();
    assert_eq!(
        rows,
        [
            ("12:02:00", "|2 s".to_owned()),
            ("12:01:00", "500 ms|".to_owned()),
            ("12:00:00", "250 ms|".to_owned()),
        ]
    );
    // Three moments within a few points' width of each other share the parts that say them.
    assert_eq!(chart.slices[0].says, "12:02:00 · p99 2 s");
    assert_eq!(
        chart.about,
        "Jobs per hour from 12:00:00 to 13:00:00 UTC. p50: 500 ms last, 250 ms to 500 ms in all. \
         p99: 2 s last, 2 s to 2 s in all."
    );
}

#[test]
fn lines_lead_to_the_jobs_that_their_labels_name() {
    let with = |name: &str, value: &str| {
        let mut it = line("x", vec![(BEGIN, 1.0)]);
        it.labels.insert(name.to_owned(), value.to_owned());
        hour("count", vec![it]).lines.remove(0).jobs
    };
    assert_eq!(with("pipeline", "a&b").as_deref(), Some("/?pipeline=a%26b"));
    assert_eq!(
        with("status", "failure").as_deref(),
        Some("/?status=failure")
    );
    assert_eq!(with("kind", "logs"), None);
}

#[test]
fn without_values_there_are_still_axes() {
    for unit in ["count", "bytes", "ratio", "seconds", "flag"] {
        let chart = hour(unit, Vec::new());
        assert!(chart.is_empty() && chart.values.len() >= 2, "{unit}");
        assert_eq!(chart.times.len(), 5, "{unit}");
        assert!(chart.about.ends_with("There are no values."));
    }
}

/// Numbers that break arithmetic, and any others: the same ones in each run.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        // Xorshift, of 64 bits.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len() as u64);
        from[usize::try_from(at).unwrap()]
    }

    fn number(&mut self) -> f64 {
        const AWKWARD: [f64; 14] = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            -5e-324,
            -0.0,
            0.0,
            1.0,
            -1.0,
            1e300,
            BEGIN,
        ];
        match self.below(4) {
            0 => self.pick(&AWKWARD),
            1 => f64::from_bits(self.bits()),
            2 => self.below(1_000) as f64 / 7.0,
            _ => self.below(1_000_000_000_000) as f64 - 1e6,
        }
    }

    fn time(&mut self) -> f64 {
        match self.below(3) {
            0 => self.number(),
            _ => BEGIN + self.below(4_000) as f64,
        }
    }

    fn line(&mut self) -> PanelLine {
        let points = (0..self.below(30)).map(|_| (self.time(), self.number()));
        line("any", points.collect())
    }
}

/// All places of a path, across and down.
fn places(path: &str) -> Vec<(f64, f64)> {
    let points = path.split(['M', 'L']).filter(|it| !it.is_empty());
    points
        .map(|it| {
            let (x, y) = it.split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        })
        .collect()
}

#[track_caller]
fn check_inside(chart: &Chart) {
    // What is written has one decimal.
    const NEAR: f64 = 0.051;
    let plot = chart.plot;
    let across = |x: f64| x >= plot.left - NEAR && x <= plot.right + NEAR;
    let down = |y: f64| y >= plot.top - NEAR && y <= plot.bottom + NEAR;
    assert!(plot.left >= 0.0 && plot.right <= WIDTH && plot.bottom <= HEIGHT);
    for line in &chart.lines {
        for (x, y) in places(&line.path).iter().chain(&line.dots) {
            assert!(across(*x) && down(*y), "{x} {y} in {plot:?}");
        }
    }
    assert!((2..=9).contains(&chart.values.len()), "{:?}", chart.values);
    assert!(chart.times.len() <= 7, "{:?}", chart.times);
    assert!(chart.values.iter().all(|it| down(it.at)));
    assert!(chart.times.iter().all(|it| across(it.at)));
    assert!(chart.slices.len() <= SLICES_MAX);
    for slice in &chart.slices {
        assert!(across(slice.left) && across(slice.left + slice.width));
    }
}

#[test]
fn whatever_the_data_all_places_are_inside() {
    const ROUNDS: u32 = 1_000;
    const UNITS: [&str; 5] = ["count", "ratio", "seconds", "bytes", "cores"];
    const TIMES: [(&str, &str); 4] = [(FROM, TO), (TO, FROM), ("never", TO), (FROM, FROM)];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUNDS {
        let unit = numbers.pick(&UNITS);
        let times = numbers.pick(&TIMES);
        let series = (0..numbers.below(12)).map(|_| numbers.line()).collect();
        check_inside(&Chart::of(&data(unit, times, series)));
    }
}
