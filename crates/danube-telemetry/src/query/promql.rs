//! A question as `PromQL` text, with no parenthesis that isn't needed.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::expr::{Aggregation, BinaryOp, CompareOp, Expr, Function, Selector, Window};

/// How tightly an operator binds; `PromQL`'s own order. All are left-associative.
type Binding = u8;
const OR: Binding = 1;
const COMPARE: Binding = 2;
const SUB: Binding = 3;
const MUL: Binding = 4;
const ATOM: Binding = 5;

impl Expr {
    /// The question as `PromQL`. `panel` is what stands for [`Window::Panel`]: a
    /// duration (`5m`), or [`GRAFANA_WINDOW`](super::GRAFANA_WINDOW).
    pub fn promql(&self, panel: &str) -> String {
        let mut out = String::new();
        // A `String` takes everything.
        let _ = write(self, panel, &mut out);
        out
    }

    fn binding(&self) -> Binding {
        match self {
            Self::Number(_)
            | Self::Time
            | Self::Select(_)
            | Self::Over { .. }
            | Self::Aggregate { .. }
            | Self::Quantile { .. }
            | Self::Absent(_) => ATOM,
            Self::Binary { op, .. } => match op {
                BinaryOp::Sub => SUB,
                BinaryOp::Mul | BinaryOp::Div => MUL,
            },
            Self::Compare { .. } => COMPARE,
            Self::Or { .. } => OR,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        let mut open = '{';
        for matcher in &self.matchers {
            write!(f, "{open}{}=\"{}\"", matcher.label, quoted(matcher.value))?;
            open = ',';
        }
        f.write_str(if open == ',' { "}" } else { "" })
    }
}

/// Escaped for a double-quoted string.
fn quoted(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

impl Function {
    /// Name of the function.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Increase => "increase",
        }
    }
}

impl Aggregation {
    /// Name of the aggregation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Min => "min",
        }
    }
}

impl BinaryOp {
    /// The operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
        }
    }
}

impl CompareOp {
    /// The operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::Less => "<",
            Self::Equal => "==",
        }
    }
}

fn write(expr: &Expr, panel: &str, out: &mut String) -> fmt::Result {
    match expr {
        Expr::Number(number) => write!(out, "{number}"),
        Expr::Time => out.write_str("time()"),
        Expr::Select(of) => write!(out, "{of}"),
        Expr::Absent(of) => write!(out, "absent({of})"),
        Expr::Over {
            function,
            of,
            window,
        } => {
            let length = match window {
                Window::Last(length) => duration(*length),
                Window::Panel => panel.to_owned(),
            };
            write!(out, "{}({of}[{length}])", function.as_str())
        }
        Expr::Aggregate { how, by, of } => {
            out.write_str(how.as_str())?;
            if !by.is_empty() {
                write!(out, " by ({}) ", by.join(", "))?;
            }
            out.write_char('(')?;
            write(of, panel, out)?;
            out.write_char(')')
        }
        Expr::Quantile { q, of } => {
            write!(out, "histogram_quantile({q}, ")?;
            write(of, panel, out)?;
            out.write_char(')')
        }
        Expr::Binary { op, left, right } => sides(expr, (left, op.as_str(), right), panel, out),
        Expr::Compare { op, left, right } => sides(expr, (left, op.as_str(), right), panel, out),
        Expr::Or { left, right } => sides(expr, (left, "or", right), panel, out),
    }
}

fn sides(
    of: &Expr,
    (left, op, right): (&Expr, &str, &Expr),
    panel: &str,
    out: &mut String,
) -> fmt::Result {
    side(left, left.binding() >= of.binding(), panel, out)?;
    write!(out, " {op} ")?;
    side(right, right.binding() > of.binding(), panel, out)
}

fn side(expr: &Expr, is_bare: bool, panel: &str, out: &mut String) -> fmt::Result {
    if is_bare {
        return write(expr, panel, out);
    }
    out.write_char('(')?;
    write(expr, panel, out)?;
    out.write_char(')')
}

/// As Prometheus writes it: `90s` is `1m30s`. Windows are whole seconds.
pub(super) fn duration(length: Duration) -> String {
    let mut left = length.as_secs();
    let mut out = String::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if left >= seconds {
            // A `String` takes everything.
            let _ = write!(out, "{}{unit}", left / seconds);
            left %= seconds;
        }
    }
    if out.is_empty() {
        out.push_str("0s");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::build::{absent, buckets, quantile, ratio, series, time};
    use super::super::expr::UP;
    use super::*;
    use crate::metric::FamilyDecl;

    static JOBS: FamilyDecl = FamilyDecl::counter("test.jobs", "Jobs.").bounded("status");
    static TOOK: FamilyDecl =
        FamilyDecl::histogram("test.took", "Time.", &[0.1, 1.0]).bounded("route");

    fn check(expr: &Expr, text: &str) {
        assert_eq!(expr.promql("$__rate_interval"), text);
    }

    #[test]
    fn a_question_is_written_as_a_careful_operator_would() {
        let rate = || series(&JOBS).rate(Window::Panel);
        check(
            &rate().sum_by(&["status"]),
            "sum by (status) (rate(test_jobs_total[$__rate_interval]))",
        );
        check(
            &ratio(
                series(&JOBS)
                    .with("status", "failed")
                    .rate(Window::Panel)
                    .sum(),
                rate().sum(),
            ),
            "sum(rate(test_jobs_total{status=\"failed\"}[$__rate_interval])) / (sum(rate(test_jobs_total[$__rate_interval])) > 0)",
        );
        check(
            &quantile(0.95, buckets(&TOOK), Window::minutes(5), &["route"]),
            "histogram_quantile(0.95, sum by (le, route) (rate(test_took_seconds_bucket[5m])))",
        );
        let up = || series(&UP).ours();
        check(
            &up().now().equal_to(0.0).or(absent(up())),
            "up{job=\"danube\"} == 0 or absent(up{job=\"danube\"})",
        );
        check(
            &time().minus(series(&JOBS).now()).above(600.0),
            "time() - test_jobs_total > 600",
        );
    }

    #[test]
    fn parentheses_stand_where_the_order_would_be_another() {
        let x = || series(&UP).now();
        check(&x().minus(x()).times(2.0), "(up - up) * 2");
        check(&x().times(2.0).minus(x()), "up * 2 - up");
        check(&x().minus(x().minus(x())), "up - (up - up)");
        check(&x().above(1.0).divided_by(x()), "(up > 1) / up");
        check(&x().or(x()).above(1.0), "(up or up) > 1");
        check(&x().above(1.0).or(x()), "up > 1 or up");
    }

    #[test]
    fn values_are_escaped() {
        check(
            &series(&JOBS).with("status", "a\"b\\c\n").now(),
            "test_jobs_total{status=\"a\\\"b\\\\c\\n\"}",
        );
    }

    #[test]
    fn durations_are_written_in_the_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (15, "15s"),
            (90, "1m30s"),
            (3_600, "1h"),
            (90_000, "1d1h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
