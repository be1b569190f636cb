//! The functions that build a question.

use super::expr::{
    Aggregation, BinaryOp, CompareOp, Expr, Function, Matcher, Part, Selector, TARGET,
    TARGET_LABEL, Window,
};
use crate::metric::FamilyDecl;

/// The series of a counter or gauge.
pub fn series(family: &'static FamilyDecl) -> Selector {
    part(family, Part::Value)
}

/// The buckets of a histogram.
pub fn buckets(family: &'static FamilyDecl) -> Selector {
    part(family, Part::Bucket)
}

/// The sums of a histogram.
pub fn sums(family: &'static FamilyDecl) -> Selector {
    part(family, Part::Sum)
}

/// The counts of a histogram.
pub fn counts(family: &'static FamilyDecl) -> Selector {
    part(family, Part::Count)
}

fn part(family: &'static FamilyDecl, part: Part) -> Selector {
    Selector {
        family,
        part,
        matchers: Vec::new(),
    }
}

/// `share / whole` wherever there is a whole: without traffic it has no value, which
/// alerts on nothing.
pub fn ratio(share: Expr, whole: Expr) -> Expr {
    ratio_beyond(0.0, share, whole)
}

/// The same wherever the whole is more than `few`: a share of little says little.
pub fn ratio_beyond(few: f64, share: Expr, whole: Expr) -> Expr {
    share.divided_by(whole.above(few))
}

/// The quantile `q` of a histogram in `window`, by the labels `by`.
pub fn quantile(q: f64, of: Selector, window: Window, by: &[&'static str]) -> Expr {
    let mut all = vec!["le"];
    all.extend(by);
    Expr::Quantile {
        q,
        of: Box::new(of.rate(window).sum_by(&all)),
    }
}

/// The mean of what a histogram observed in `window`, by the labels `by`.
pub fn mean(family: &'static FamilyDecl, window: Window, by: &[&'static str]) -> Expr {
    ratio(
        sums(family).rate(window).sum_by(by),
        counts(family).rate(window).sum_by(by),
    )
}

/// 1 where no series is chosen, with the labels that were asked for by value.
pub fn absent(of: Selector) -> Expr {
    Expr::Absent(of)
}

/// Now, Unix time in seconds.
pub fn time() -> Expr {
    Expr::Time
}

impl Selector {
    /// Those whose label has this value.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: &'static str) -> Self {
        self.matchers.push(Matcher { label, value });
        self
    }

    /// Those that were scraped from Danube, where other programs have series of this name.
    #[must_use]
    pub fn ours(self) -> Self {
        self.with(TARGET_LABEL, TARGET)
    }

    /// Growth a second.
    pub fn rate(self, window: Window) -> Expr {
        self.over(Function::Rate, window)
    }

    /// Growth in the window.
    pub fn increase(self, window: Window) -> Expr {
        self.over(Function::Increase, window)
    }

    fn over(self, function: Function, window: Window) -> Expr {
        Expr::Over {
            function,
            of: self,
            window,
        }
    }

    /// The latest samples.
    pub fn now(self) -> Expr {
        Expr::Select(self)
    }
}

impl Expr {
    /// All added to one number.
    #[must_use]
    pub fn sum(self) -> Self {
        self.sum_by(&[])
    }

    /// Added by these labels.
    #[must_use]
    pub fn sum_by(self, by: &[&'static str]) -> Self {
        self.aggregate(Aggregation::Sum, by)
    }

    /// The greatest by these labels.
    #[must_use]
    pub fn max_by(self, by: &[&'static str]) -> Self {
        self.aggregate(Aggregation::Max, by)
    }

    /// The least by these labels.
    #[must_use]
    pub fn min_by(self, by: &[&'static str]) -> Self {
        self.aggregate(Aggregation::Min, by)
    }

    fn aggregate(self, how: Aggregation, by: &[&'static str]) -> Self {
        Self::Aggregate {
            how,
            by: by.to_vec(),
            of: Box::new(self),
        }
    }

    /// Times a number.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        self.binary(BinaryOp::Mul, Self::Number(factor))
    }

    /// Minus.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.binary(BinaryOp::Sub, other)
    }

    /// Divided. Between series, [`ratio`] is what you want.
    #[must_use]
    pub fn divided_by(self, other: Self) -> Self {
        self.binary(BinaryOp::Div, other)
    }

    fn binary(self, op: BinaryOp, right: Self) -> Self {
        Self::Binary {
            op,
            left: Box::new(self),
            right: Box::new(right),
        }
    }

    /// Keeps what is greater.
    #[must_use]
    pub fn above(self, threshold: f64) -> Self {
        self.compare(CompareOp::Greater, threshold)
    }

    /// Keeps what is less.
    #[must_use]
    pub fn below(self, threshold: f64) -> Self {
        self.compare(CompareOp::Less, threshold)
    }

    /// Keeps what is equal.
    #[must_use]
    pub fn equal_to(self, value: f64) -> Self {
        self.compare(CompareOp::Equal, value)
    }

    fn compare(self, op: CompareOp, threshold: f64) -> Self {
        Self::Compare {
            op,
            left: Box::new(self),
            right: Box::new(Self::Number(threshold)),
        }
    }

    /// Those of the left side, and those of the right one whose labels the left one hasn't.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::Or {
            left: Box::new(self),
            right: Box::new(other),
        }
    }
}
