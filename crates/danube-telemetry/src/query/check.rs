//! What doesn't fit in a question, found without data: labels and values that aren't
//! declared, rates of gauges, sides of a division that aren't alike.

use std::collections::BTreeSet;

use super::expr::{Expr, Part, Selector, TARGET_LABEL};
use crate::metric::{Kind, LabelValues};

/// Label of a bucket's upper bound.
const LE: &str = "le";

/// The labels of an answer; a plain number has none to be matched by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Number,
    Series(BTreeSet<&'static str>),
}

impl Expr {
    /// Everything in the question that doesn't fit its families, in words. Empty for a
    /// question that holds.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let _ = shape(self, &mut found);
        found
    }
}

fn shape(expr: &Expr, found: &mut Vec<String>) -> Shape {
    match expr {
        Expr::Number(number) => {
            if !number.is_finite() {
                found.push(format!("{number} is no number to ask with"));
            }
            Shape::Number
        }
        Expr::Time => Shape::Number,
        Expr::Select(of) => {
            if of.part == Part::Bucket {
                found.push(format!("{of} are buckets: ask for their rate"));
            }
            selector(of, found)
        }
        Expr::Absent(of) => {
            selector(of, found);
            Shape::Series(of.matchers.iter().map(|it| it.label).collect())
        }
        Expr::Over { function, of, .. } => {
            if of.part == Part::Value && of.family.kind != Kind::Counter {
                found.push(format!("{}({of}) isn't of a counter", function.as_str()));
            }
            selector(of, found)
        }
        Expr::Aggregate { by, of, .. } => {
            let inner = shape(of, found);
            let by: BTreeSet<&'static str> = by.iter().copied().collect();
            match inner {
                Shape::Series(labels) => {
                    for label in by.difference(&labels) {
                        found.push(format!("`{}` has no label `{label}`", of.promql("5m")));
                    }
                }
                Shape::Number => found.push(format!("`{}` is one number", of.promql("5m"))),
            }
            Shape::Series(by)
        }
        Expr::Quantile { q, of } => {
            if !(0.0..=1.0).contains(q) {
                found.push(format!("{q} is no quantile"));
            }
            buckets_only(of, found);
            let Shape::Series(mut labels) = shape(of, found) else {
                return Shape::Number;
            };
            if !labels.remove(LE) {
                found.push(format!("`{}` has no label `le`", of.promql("5m")));
            }
            Shape::Series(labels)
        }
        Expr::Binary { left, right, .. }
        | Expr::Compare { left, right, .. }
        | Expr::Or { left, right } => {
            let sides = (shape(left, found), shape(right, found));
            joined(expr, sides, found)
        }
    }
}

/// The labels of what two sides make together.
fn joined(expr: &Expr, sides: (Shape, Shape), found: &mut Vec<String>) -> Shape {
    match sides {
        (Shape::Series(left), Shape::Series(right)) => {
            alike(expr, &left, &right, found);
            let is_or = matches!(expr, Expr::Or { .. });
            Shape::Series(if is_or { right } else { left })
        }
        (left, right) => {
            if matches!(expr, Expr::Or { .. }) {
                found.push(format!("`{}` joins a number", expr.promql("5m")));
            }
            if matches!(expr, Expr::Compare { .. }) && left == right {
                found.push(format!("`{}` compares two numbers", expr.promql("5m")));
            }
            if left == Shape::Number { right } else { left }
        }
    }
}

/// Like is compared with like: series match by all their labels.
fn alike(
    expr: &Expr,
    left: &BTreeSet<&'static str>,
    right: &BTreeSet<&'static str>,
    found: &mut Vec<String>,
) {
    if left != right {
        found.push(format!(
            "the sides of `{}` have the labels {left:?} and {right:?}",
            expr.promql("5m")
        ));
    }
}

fn buckets_only(of: &Expr, found: &mut Vec<String>) {
    of.selectors(&mut |it| {
        if it.part != Part::Bucket {
            found.push(format!("a quantile of {it}, which are no buckets"));
        }
    });
}

fn selector(of: &Selector, found: &mut Vec<String>) -> Shape {
    let is_histogram = of.family.kind == Kind::Histogram;
    if is_histogram != (of.part != Part::Value) {
        found.push(format!("{of} doesn't exist: {:?}", of.family.kind));
    }
    for matcher in &of.matchers {
        let declared = of
            .family
            .labels()
            .iter()
            .find(|it| it.name() == matcher.label);
        match declared.map(|it| it.values) {
            None if matcher.label == TARGET_LABEL => {}
            None => found.push(format!("{of}: there is no label `{}`", matcher.label)),
            Some(LabelValues::Closed(values)) => {
                let value = matcher.value;
                if !values.contains(&value) {
                    found.push(format!("{of}: `{value}` is no value of it"));
                }
            }
            Some(LabelValues::Sparse | LabelValues::Bounded | LabelValues::Expiring) => {}
        }
    }
    let mut labels: BTreeSet<&'static str> = of
        .family
        .labels()
        .iter()
        .map(crate::metric::LabelDecl::name)
        .collect();
    labels.insert(TARGET_LABEL);
    if of.part == Part::Bucket {
        labels.insert(LE);
    }
    Shape::Series(labels)
}

#[cfg(test)]
mod tests {
    use super::super::build::{buckets, counts, quantile, ratio, series};
    use super::super::expr::Window;
    use super::*;
    use crate::metric::FamilyDecl;

    static JOBS: FamilyDecl = FamilyDecl::counter("test.jobs", "Jobs.")
        .label("went", LabelValues::Closed(&["well", "badly"]))
        .bounded("pipeline");
    static TOOK: FamilyDecl = FamilyDecl::histogram("test.took", "Time.", &[0.1, 1.0]);
    static SIZE: FamilyDecl = FamilyDecl::gauge("test.size", "Size.");
    const FIVE: Window = Window::minutes(5);

    fn check(expr: &Expr, mistake: &str) {
        let found = expr.mistakes();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(mistake), "{found:?}");
    }

    #[test]
    fn a_question_that_holds_has_no_mistake() {
        let jobs = || series(&JOBS);
        for expr in [
            ratio(
                jobs()
                    .with("went", "badly")
                    .rate(FIVE)
                    .sum_by(&["pipeline"]),
                jobs().rate(FIVE).sum_by(&["pipeline"]),
            ),
            quantile(0.9, buckets(&TOOK), FIVE, &[]),
            Expr::Time.minus(series(&SIZE).now()).above(3.0),
        ] {
            assert_eq!(expr.mistakes(), Vec::<String>::new());
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let jobs = || series(&JOBS);
        let sum = |expr: Expr| expr.sum();
        check(
            &sum(jobs().with("wont", "well").rate(FIVE)),
            "no label `wont`",
        );
        check(
            &sum(jobs().with("went", "so so").rate(FIVE)),
            "`so so` is no value",
        );
        check(&sum(series(&SIZE).rate(FIVE)), "isn't of a counter");
        check(
            &jobs().rate(FIVE).sum_by(&["branch"]),
            "has no label `branch`",
        );
        check(&sum(series(&TOOK).now()), "doesn't exist");
        check(&sum(counts(&JOBS).rate(FIVE)), "doesn't exist");
        check(
            &ratio(
                jobs().rate(FIVE).sum_by(&["pipeline"]),
                jobs().rate(FIVE).sum(),
            ),
            "have the labels {\"pipeline\"} and {}",
        );
        check(
            &quantile(1.5, buckets(&TOOK), FIVE, &[]),
            "1.5 is no quantile",
        );
        let no_le = buckets(&TOOK).rate(FIVE).sum();
        check(
            &Expr::Quantile {
                q: 0.5,
                of: Box::new(no_le),
            },
            "has no label `le`",
        );
    }
}
