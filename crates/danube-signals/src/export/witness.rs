//! Series that make a question have a wanted answer: what the tests of the rules feed to
//! Prometheus, found from the question itself.

use danube_telemetry::FamilyDecl;
use danube_telemetry::metric::LabelValues;
use danube_telemetry::query::{
    BinaryOp, CompareOp, Expr, Function, Part, Selector, TARGET, TARGET_LABEL, Window,
};

/// Growth a minute of all jobs, calls or deliveries together, where a share of them is
/// asked for: a round number, so that shares are too.
const TRAFFIC_PER_MINUTE: f64 = 100.0;

/// Value of a label that takes any.
const EXAMPLE: &str = "example";

/// A counter that stands still stands here, not at 0: what counts is that it doesn't move.
const IDLE: f64 = 1_000.0;

/// Seconds of a minute, the interval between samples.
pub(super) const MINUTE: f64 = 60.0;

/// A series whose samples lie on a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// Name, with `_bucket` and the like.
    pub(super) name: String,
    /// Labels, those of the scrape too.
    pub(super) labels: Vec<(&'static str, String)>,
    /// First sample.
    pub(super) start: f64,
    /// From one sample to the next, a minute later.
    pub(super) step: f64,
}

/// Series, and what the question then answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Witness {
    pub(super) series: Vec<Series>,
    /// The answer's value: the wanted one, or the next that a histogram can tell.
    pub(super) value: f64,
    /// The answer's labels.
    pub(super) labels: Vec<(&'static str, String)>,
}

/// Makes `expr` be `value` at the time `at`, in seconds. None for shapes of questions that
/// no alert has had yet: add them here.
pub(super) fn witness(expr: &Expr, value: f64, at: f64) -> Option<Witness> {
    match expr {
        Expr::Select(of) => Some(one(of, value, 0.0)),
        Expr::Over {
            function,
            of,
            window,
        } => Some(Witness {
            value,
            ..one(of, 0.0, growth(*function, *window, value)?)
        }),
        Expr::Aggregate { by, of, .. } => {
            let mut inner = witness(of, value, at)?;
            inner.labels.retain(|(name, _)| by.contains(name));
            Some(inner)
        }
        Expr::Quantile { q, of } => quantile(*q, of, value),
        Expr::Binary {
            op: BinaryOp::Sub,
            left,
            right,
        } if **left == Expr::Time => {
            let mut inner = witness(right, at - value, at)?;
            inner.value = value;
            Some(inner)
        }
        Expr::Binary {
            op: BinaryOp::Div,
            left,
            right,
        } => match &**right {
            Expr::Compare {
                op: CompareOp::Greater,
                left: whole,
                ..
            } => share(left, whole, value),
            _ => None,
        },
        _ => None,
    }
}

/// The same series, standing still: no traffic. None where nothing is counted.
pub(super) fn idle(of: &Witness) -> Option<Vec<Series>> {
    if of.series.iter().all(|it| it.step == 0.0) {
        return None;
    }
    let still = of.series.iter().cloned().map(|it| Series {
        start: IDLE,
        step: 0.0,
        ..it
    });
    Some(still.collect())
}

/// The same series with so little traffic that the question, a share of more than some
/// number, has no answer: `part` of that number. None where any traffic answers it.
pub(super) fn little(expr: &Expr, of: &Witness, part: f64) -> Option<Vec<Series>> {
    let Expr::Binary { right, .. } = expr else {
        return None;
    };
    let Expr::Compare { left, right, .. } = &**right else {
        return None;
    };
    let (Expr::Aggregate { of: whole, .. }, Expr::Number(few)) = (&**left, &**right) else {
        return None;
    };
    let Expr::Over {
        function, window, ..
    } = **whole
    else {
        return None;
    };
    if *few <= 0.0 {
        return None;
    }
    let wanted = growth(function, window, few * part)?;
    let all: f64 = of.series.iter().map(|it| it.step).sum();
    let less = of.series.iter().cloned().map(|it| Series {
        step: it.step * wanted / all,
        ..it
    });
    Some(less.collect())
}

/// What a sample has more than the one a minute before, when the function is `value`.
fn growth(function: Function, window: Window, value: f64) -> Option<f64> {
    let Window::Last(window) = window else {
        return None;
    };
    Some(match function {
        Function::Rate => value * MINUTE,
        Function::Increase => value * MINUTE / window.as_secs_f64(),
    })
}

fn one(of: &Selector, start: f64, step: f64) -> Witness {
    let labels = labels_of(of);
    let series = Series {
        name: of.name(),
        labels: labels.clone(),
        start,
        step,
    };
    Witness {
        value: start,
        labels,
        series: vec![series],
    }
}

/// The labels of one series that the selector chooses.
fn labels_of(of: &Selector) -> Vec<(&'static str, String)> {
    let matched = |label: &str| {
        let found = of.matchers.iter().find(|it| it.label == label)?;
        Some(found.value)
    };
    let family: &'static FamilyDecl = of.family;
    let mut labels: Vec<(&'static str, String)> = family
        .labels()
        .iter()
        .map(|label| {
            let any = match label.values {
                LabelValues::Closed(values) => values.first().copied().unwrap_or(EXAMPLE),
                LabelValues::Sparse | LabelValues::Bounded | LabelValues::Expiring => EXAMPLE,
            };
            let value = matched(label.name()).unwrap_or(any);
            (label.name(), value.to_owned())
        })
        .collect();
    labels.push((TARGET_LABEL, TARGET.to_owned()));
    labels.push(("instance", "localhost:8080".to_owned()));
    labels
}

/// All observations in the bucket that holds `value`.
fn quantile(q: f64, of: &Expr, value: f64) -> Option<Witness> {
    let mut buckets = None;
    of.selectors(&mut |it| buckets = Some(it));
    let of = buckets.filter(|it| it.part == Part::Bucket)?;
    let bounds = of.family.buckets;
    let holds = bounds.iter().position(|bound| value <= *bound)?;
    let lower = if holds == 0 { 0.0 } else { bounds[holds - 1] };
    let shown = bounds.iter().map(ToString::to_string);
    let series = shown
        .chain(["+Inf".to_owned()])
        .enumerate()
        .map(|(at, le)| {
            let step = if at < holds { 0.0 } else { 1.0 };
            let mut one = one(of, 0.0, step).series.remove(0);
            one.labels.push(("le", le));
            one
        });
    Some(Witness {
        series: series.collect(),
        value: lower + (bounds[holds] - lower) * q,
        labels: Vec::new(),
    })
}

/// The share of one label value in all of the family.
fn share(share: &Expr, whole: &Expr, value: f64) -> Option<Witness> {
    let selector = |of: &Expr| {
        let mut found = None;
        of.selectors(&mut |it| found = Some(it.clone()));
        found
    };
    let (part, all) = (selector(share)?, selector(whole)?);
    let asked = part.matchers.iter().find(|it| !all.matchers.contains(it))?;
    let asked_value = asked.value;
    let label = part
        .family
        .labels()
        .iter()
        .find(|it| it.name() == asked.label)?;
    let LabelValues::Closed(values) = label.values else {
        return None;
    };
    let rest_value = values.iter().find(|it| **it != asked_value)?;
    let rest = Selector {
        matchers: all.matchers.clone(),
        ..part.clone()
    }
    .with(asked.label, rest_value);
    let grow = |of: &Selector, share: f64| one(of, 0.0, rounded(share * TRAFFIC_PER_MINUTE)).series;
    Some(Witness {
        series: [grow(&part, value), grow(&rest, 1.0 - value)].concat(),
        value,
        labels: Vec::new(),
    })
}

/// Without the noise of binary fractions.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
