//! What can be asked: a small tree, and the functions that build it.

use std::time::Duration;

use crate::metric::FamilyDecl;

/// What Prometheus itself says of each target it scrapes. Danube's own history doesn't
/// have it: what could be asked isn't down.
pub static UP: FamilyDecl = FamilyDecl::gauge(
    "up",
    "Whether the last scrape worked: written by Prometheus.",
)
.named("up");

/// The label that a scrape adds to every series: the name of the scrape's job.
/// Questions may use it with each family.
pub const TARGET_LABEL: &str = "job";

/// Its value for Danube, in the scrape configuration and in the own history.
pub const TARGET: &str = "danube";

/// What stands for [`Window::Panel`] in Grafana.
pub const GRAFANA_WINDOW: &str = "$__rate_interval";

/// A question whose answer is a set of labelled numbers, or one number.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// The same number always.
    Number(f64),
    /// Now, Unix time in seconds.
    Time,
    /// The latest samples of the chosen series.
    Select(Selector),
    /// A function of the samples in a window that ends now.
    Over {
        /// Which.
        function: Function,
        /// Of which series.
        of: Selector,
        /// How long the window is.
        window: Window,
    },
    /// One number for all series that agree in the labels `by`.
    Aggregate {
        /// How they are put together.
        how: Aggregation,
        /// Labels that stay, by their Prometheus names.
        by: Vec<&'static str>,
        /// Of what.
        of: Box<Expr>,
    },
    /// `histogram_quantile`: `of` has the label `le`.
    Quantile {
        /// From 0 to 1.
        q: f64,
        /// Buckets, summed by `le` and what else stays.
        of: Box<Expr>,
    },
    /// Arithmetic, between numbers or between series with equal labels.
    Binary {
        /// Which.
        op: BinaryOp,
        /// Left side.
        left: Box<Expr>,
        /// Right side.
        right: Box<Expr>,
    },
    /// Keeps what compares so, with the value of the left side.
    Compare {
        /// How.
        op: CompareOp,
        /// What is kept.
        left: Box<Expr>,
        /// With what it is compared.
        right: Box<Expr>,
    },
    /// The left series, and the right ones whose labels the left side hasn't.
    Or {
        /// Left side.
        left: Box<Expr>,
        /// Right side.
        right: Box<Expr>,
    },
    /// 1 where no series is chosen.
    Absent(Selector),
}

/// Which series of a family.
#[derive(Debug, Clone)]
pub struct Selector {
    /// The family.
    pub family: &'static FamilyDecl,
    /// Which of its series.
    pub part: Part,
    /// What their labels must be; all of it.
    pub matchers: Vec<Matcher>,
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.matchers == other.matchers
    }
}

/// Which series of a family: a histogram has three kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The value of a counter or gauge.
    Value,
    /// `_bucket`: cumulative counts by `le`.
    Bucket,
    /// `_sum` of all observations.
    Sum,
    /// `_count` of them.
    Count,
}

impl Part {
    /// What is added to the family's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Value => "",
            Self::Bucket => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

impl Selector {
    /// Prometheus name of the series.
    pub fn name(&self) -> String {
        format!("{}{}", self.family.name(), self.part.suffix())
    }
}

/// What one label must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matcher {
    /// Prometheus name of the label.
    pub label: &'static str,
    /// Its value. A label that isn't there has an empty one.
    pub value: &'static str,
}

/// How far back a function looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Always as long.
    Last(Duration),
    /// As long as suits the resolution that is drawn: [`GRAFANA_WINDOW`] in Grafana.
    Panel,
}

impl Window {
    /// A window of minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self::Last(Duration::from_secs(minutes * 60))
    }

    /// Its length where a panel's window is `panel`.
    pub fn length(self, panel: Duration) -> Duration {
        match self {
            Self::Last(length) => length,
            Self::Panel => panel,
        }
    }
}

/// A function of the samples in a window. Both count resets of a counter and
/// extrapolate to the window's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Growth a second.
    Rate,
    /// Growth in the window.
    Increase,
}

/// How series are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// All added.
    Sum,
    /// The greatest.
    Max,
    /// The least.
    Min,
}

/// Arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
}

/// Comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `==`
    Equal,
}

impl Expr {
    /// Comparison and number of the outermost comparison: an alert's threshold.
    pub fn threshold(&self) -> Option<(CompareOp, f64)> {
        match self {
            Self::Compare { op, right, .. } => match **right {
                Self::Number(number) => Some((*op, number)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Shows every selector in it.
    pub fn selectors<'a>(&'a self, each: &mut dyn FnMut(&'a Selector)) {
        match self {
            Self::Number(_) | Self::Time => {}
            Self::Select(of) | Self::Absent(of) | Self::Over { of, .. } => each(of),
            Self::Aggregate { of, .. } | Self::Quantile { of, .. } => of.selectors(each),
            Self::Binary { left, right, .. }
            | Self::Compare { left, right, .. }
            | Self::Or { left, right } => {
                left.selectors(each);
                right.selectors(each);
            }
        }
    }

    /// The families that it asks for, each once, in the order of first use.
    pub fn families(&self) -> Vec<&'static FamilyDecl> {
        let mut all: Vec<&'static FamilyDecl> = Vec::new();
        self.selectors(&mut |it| {
            if all.iter().all(|seen| seen.name() != it.family.name()) {
                all.push(it.family);
            }
        });
        all
    }

    /// The longest look back of any part, where a panel's window is `panel`: how much
    /// history before a time its answer needs, without the look-back for samples.
    pub fn reach(&self, panel: Duration) -> Duration {
        match self {
            Self::Number(_) | Self::Time | Self::Select(_) | Self::Absent(_) => Duration::ZERO,
            Self::Over { window, .. } => window.length(panel),
            Self::Aggregate { of, .. } | Self::Quantile { of, .. } => of.reach(panel),
            Self::Binary { left, right, .. }
            | Self::Compare { left, right, .. }
            | Self::Or { left, right } => left.reach(panel).max(right.reach(panel)),
        }
    }
}
