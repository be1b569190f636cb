//! Answers questions from samples, as Prometheus 2 does: look-back of five minutes,
//! windows that include both ends, extrapolated rates, series matched by all labels.
//!
//! A question is answered for all steps at once. Series flow through it one by one, so
//! that a sum over thousands of them holds one line and not thousands.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use super::expr::{Aggregation, BinaryOp, CompareOp, Expr, Selector};
use super::history::{Labels, Point, Source};
use super::quantile::{self, Bucket};
use super::window::{self, Steps};

/// How old a sample may be and still count as the latest; Prometheus' own default.
pub const LOOK_BACK: Duration = Duration::from_secs(300);

/// Values that an answer and what lies between may hold: 64 MiB of them. A question
/// about more is refused.
pub const VALUES_MAX: usize = 4 * 1024 * 1024;

/// The times for which a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The first, Unix milliseconds.
    pub from: i64,
    /// The last, if the steps meet it; Unix milliseconds.
    pub to: i64,
    /// Between two of them; more than nothing.
    pub step: Duration,
    /// What stands for a panel's window.
    pub panel: Duration,
}

impl Times {
    /// One time.
    pub fn once(at: i64) -> Self {
        Self {
            from: at,
            to: at,
            step: Duration::from_secs(1),
            panel: Self::panel_window(Duration::ZERO),
        }
    }

    /// What Grafana takes for `$__rate_interval` with this step: enough for at least
    /// four samples, and no gap between two windows.
    pub fn panel_window(step: Duration) -> Duration {
        let tick = super::history::TICK;
        (step + tick).max(4 * tick)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let step = i64::try_from(self.step.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let steps = self.to.saturating_sub(self.from).max(0) / step;
        usize::try_from(steps)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    }

    fn all(&self) -> Vec<i64> {
        let step = i64::try_from(self.step.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let mut at = self.from;
        let mut all = Vec::new();
        while at <= self.to {
            all.push(at);
            at = at.saturating_add(step);
        }
        all
    }
}

/// One value a step; `None` where there is none.
pub type Values = Vec<Option<f64>>;

/// A line of an answer: one value a step, `None` where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its labels, sorted, without the name.
    pub labels: Labels,
    /// One a step.
    pub values: Values,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the answer has more than {VALUES_MAX} values")
    }
}

impl std::error::Error for TooLarge {}

/// Answers a question for each step. A plain number is a line without labels.
///
/// # Errors
/// [`TooLarge`] when more would have to be held than [`VALUES_MAX`].
pub fn answer(expr: &Expr, source: &dyn Source, times: Times) -> Result<Vec<Line>, TooLarge> {
    if times.count() > VALUES_MAX {
        return Err(TooLarge);
    }
    let asked = Asked {
        source,
        at: times.all(),
        panel: times.panel,
    };
    let mut lines = match asked.number(expr) {
        Some(values) => vec![Line {
            labels: Vec::new(),
            values: values.into_iter().map(Some).collect(),
        }],
        None => asked.lines(expr)?,
    };
    lines.retain(|it| it.values.iter().any(Option::is_some));
    lines.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(lines)
}

/// What is shown each line of a part, which it may change.
type Each<'a> = &'a mut dyn FnMut(Labels, Values);

struct Asked<'a> {
    source: &'a dyn Source,
    at: Vec<i64>,
    panel: Duration,
}

impl Asked<'_> {
    /// The value of each step, where the question is a number and no series.
    fn number(&self, expr: &Expr) -> Option<Vec<f64>> {
        match expr {
            Expr::Number(number) => Some(vec![*number; self.at.len()]),
            #[expect(
                clippy::cast_precision_loss,
                reason = "milliseconds of this millennium have 45 bits"
            )]
            Expr::Time => Some(self.at.iter().map(|it| *it as f64 / 1e3).collect()),
            Expr::Binary { op, left, right } => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                Some(
                    left.into_iter()
                        .zip(right)
                        .map(|(l, r)| op.of(l, r))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    fn lines(&self, expr: &Expr) -> Result<Vec<Line>, TooLarge> {
        let mut lines = Vec::new();
        let mut held = 0_usize;
        self.each(expr, &mut |labels, values| {
            held += values.len();
            if held <= VALUES_MAX {
                lines.push(Line { labels, values });
            }
        })?;
        if held > VALUES_MAX {
            Err(TooLarge)
        } else {
            Ok(lines)
        }
    }

    fn each(&self, expr: &Expr, each: Each<'_>) -> Result<(), TooLarge> {
        match expr {
            Expr::Number(_) | Expr::Time => {}
            Expr::Select(of) => self.select(of, each),
            Expr::Over {
                function,
                of,
                window,
            } => {
                let length = window.length(self.panel);
                self.windows(of, length, &mut |labels, points| {
                    let steps = Steps {
                        at: &self.at,
                        length,
                    };
                    each(labels.clone(), window::over(*function, points, steps));
                });
            }
            Expr::Absent(of) => self.absent(of, each),
            Expr::Aggregate { how, by, of } => self.aggregate(*how, by, of, each)?,
            Expr::Quantile { q, of } => self.quantile(*q, of, each)?,
            Expr::Binary { op, left, right } => {
                self.paired((left, right), each, &|l, r| Some(op.of(l, r)))?;
            }
            Expr::Compare { op, left, right } => {
                // A number on the left is compared, and the series' value kept.
                let keeps_right = self.number(left).is_some();
                self.paired((left, right), each, &|l, r| {
                    op.holds(l, r).then_some(if keeps_right { r } else { l })
                })?;
            }
            Expr::Or { left, right } => self.joined(left, right, each)?,
        }
        Ok(())
    }

    /// Shows each chosen series with the samples that any window may need.
    fn windows(&self, of: &Selector, length: Duration, each: &mut dyn FnMut(&Labels, &[Point])) {
        let (Some(first), Some(last)) = (self.at.first(), self.at.last()) else {
            return;
        };
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        self.source
            .each_series(of, first.saturating_sub(length), *last, each);
    }

    fn select(&self, of: &Selector, each: Each<'_>) {
        self.windows(of, LOOK_BACK, &mut |labels, points| {
            let steps = Steps {
                at: &self.at,
                length: LOOK_BACK,
            };
            each(labels.clone(), window::latest(points, steps));
        });
    }

    fn absent(&self, of: &Selector, each: Each<'_>) {
        let mut values = vec![Some(1.0); self.at.len()];
        self.select(of, &mut |_, found| {
            for (value, found) in values.iter_mut().zip(found) {
                if found.is_some() {
                    *value = None;
                }
            }
        });
        let mut labels: Labels = of
            .matchers
            .iter()
            .map(|it| (it.label.to_owned(), it.value.to_owned()))
            .collect();
        labels.sort();
        each(labels, values);
    }

    fn aggregate(
        &self,
        how: Aggregation,
        by: &[&str],
        of: &Expr,
        each: Each<'_>,
    ) -> Result<(), TooLarge> {
        let mut groups: BTreeMap<Labels, Vec<Group>> = BTreeMap::new();
        let mut is_too_large = false;
        self.each(of, &mut |mut labels, values| {
            labels.retain(|(name, _)| by.contains(&name.as_str()));
            let count = groups.len();
            let group = match groups.entry(labels) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if (count + 1) * values.len() > VALUES_MAX => {
                    is_too_large = true;
                    return;
                }
                Entry::Vacant(new) => new.insert(vec![Group::default(); values.len()]),
            };
            for (group, value) in group.iter_mut().zip(values) {
                if let Some(value) = value {
                    group.add(how, value);
                }
            }
        })?;
        if is_too_large {
            return Err(TooLarge);
        }
        for (labels, group) in groups {
            each(labels, group.into_iter().map(Group::value).collect());
        }
        Ok(())
    }

    fn quantile(&self, q: f64, of: &Expr, each: Each<'_>) -> Result<(), TooLarge> {
        let mut groups: BTreeMap<Labels, Vec<(f64, Values)>> = BTreeMap::new();
        for Line { mut labels, values } in self.lines(of)? {
            let Some(at) = labels.iter().position(|(name, _)| name == "le") else {
                continue;
            };
            let (_, bound) = labels.remove(at);
            let bound = if bound == "+Inf" {
                Ok(f64::INFINITY)
            } else {
                bound.parse()
            };
            let Ok(bound) = bound else { continue };
            groups.entry(labels).or_default().push((bound, values));
        }
        for (labels, bounds) in groups {
            let value = |step: usize| {
                let buckets = bounds
                    .iter()
                    .filter_map(|(bound, counts)| {
                        let count = counts[step]?;
                        Some(Bucket {
                            bound: *bound,
                            count,
                        })
                    })
                    .collect::<Vec<_>>();
                (!buckets.is_empty()).then(|| quantile::of(q, buckets))
            };
            each(labels, (0..self.at.len()).map(value).collect());
        }
        Ok(())
    }

    /// Makes one value of two, where both sides have one.
    fn paired(
        &self,
        (left, right): (&Expr, &Expr),
        each: Each<'_>,
        make: &dyn Fn(f64, f64) -> Option<f64>,
    ) -> Result<(), TooLarge> {
        let pair = |left: &[Option<f64>], right: &[Option<f64>]| -> Values {
            let both = left.iter().zip(right);
            both.map(|(l, r)| make((*l)?, (*r)?)).collect()
        };
        let some = |values: Vec<f64>| values.into_iter().map(Some).collect::<Vec<_>>();
        match (self.number(left), self.number(right)) {
            (Some(_), Some(_)) => Ok(()),
            (Some(number), None) => {
                let number = some(number);
                self.each(right, &mut |labels, values| {
                    each(labels, pair(&number, &values));
                })
            }
            (None, Some(number)) => {
                let number = some(number);
                self.each(left, &mut |labels, values| {
                    each(labels, pair(&values, &number));
                })
            }
            (None, None) => {
                let right = self.by_labels(right)?;
                self.each(left, &mut |labels, values| {
                    if let Some(other) = right.get(&labels) {
                        let made = pair(&values, other);
                        each(labels, made);
                    }
                })
            }
        }
    }

    fn joined(&self, left: &Expr, right: &Expr, each: Each<'_>) -> Result<(), TooLarge> {
        let mut right = self.by_labels(right)?;
        self.each(left, &mut |labels, mut values| {
            let other = right.remove(&labels);
            for (step, value) in values.iter_mut().enumerate() {
                let other = other.as_ref().and_then(|it| it[step]);
                *value = value.or(other);
            }
            each(labels, values);
        })?;
        for (labels, values) in right {
            each(labels, values);
        }
        Ok(())
    }

    fn by_labels(&self, expr: &Expr) -> Result<BTreeMap<Labels, Values>, TooLarge> {
        let lines = self.lines(expr)?;
        Ok(lines.into_iter().map(|it| (it.labels, it.values)).collect())
    }
}

/// What an aggregation has seen at one step.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    is_any: bool,
    value: f64,
}

impl Group {
    fn add(&mut self, how: Aggregation, value: f64) {
        if !self.is_any {
            (self.is_any, self.value) = (true, value);
            return;
        }
        match how {
            Aggregation::Sum => self.value += value,
            // A comparison with NaN doesn't hold: a number takes its place.
            Aggregation::Max if self.value < value || self.value.is_nan() => self.value = value,
            Aggregation::Min if self.value > value || self.value.is_nan() => self.value = value,
            Aggregation::Max | Aggregation::Min => {}
        }
    }

    fn value(self) -> Option<f64> {
        self.is_any.then_some(self.value)
    }
}

impl BinaryOp {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
        }
    }
}

impl CompareOp {
    /// Whether the comparison holds; with NaN none does.
    #[expect(clippy::float_cmp, reason = "the operator of the language is exact")]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Greater => left > right,
            Self::Less => left < right,
            Self::Equal => left == right,
        }
    }
}
