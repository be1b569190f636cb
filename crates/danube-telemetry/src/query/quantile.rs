//! The quantile of a histogram, interpolated as Prometheus does.

/// A bucket: how many observations were at most `bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub(super) bound: f64,
    pub(super) count: f64,
}

/// The value below which the share `q` of the observations lies. NaN where nothing was
/// observed or the buckets are not a histogram's.
pub(super) fn of(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|it| it.bound != f64::INFINITY) {
        return f64::NAN;
    }
    let buckets = monotonic(coalesced(buckets));
    let [.., below, all] = buckets.as_slice() else {
        return f64::NAN;
    };
    if all.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * all.count;
    let finite = buckets.len() - 1;
    let at = buckets[..finite].partition_point(|it| it.count < rank);
    if at == finite {
        // Above all bounds: the highest is as much as is known.
        return below.bound;
    }
    let upper = buckets[at];
    let Some(before) = at.checked_sub(1).map(|it| buckets[it]) else {
        if upper.bound <= 0.0 {
            return upper.bound;
        }
        return upper.bound * (rank / upper.count);
    };
    let share = (rank - before.count) / (upper.count - before.count);
    before.bound + (upper.bound - before.bound) * share
}

/// Buckets of one bound, which other labels may have split, are one.
fn coalesced(buckets: Vec<Bucket>) -> Vec<Bucket> {
    let mut out: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match out.last_mut() {
            #[expect(clippy::float_cmp, reason = "bounds are constants")]
            Some(last) if last.bound == bucket.bound => last.count += bucket.count,
            _ => out.push(bucket),
        }
    }
    out
}

/// Counts never go down with the bound; where they seem to, by buckets that were read at
/// different times, the greater one holds.
fn monotonic(mut buckets: Vec<Bucket>) -> Vec<Bucket> {
    let mut highest = f64::NEG_INFINITY;
    for bucket in &mut buckets {
        if bucket.count > highest {
            highest = bucket.count;
        } else if bucket.count < highest {
            bucket.count = highest;
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    fn check(q: f64, buckets: &[(f64, f64)], expected: f64) {
        let buckets = buckets.iter().map(|(bound, count)| Bucket {
            bound: *bound,
            count: *count,
        });
        let found = of(q, buckets.collect());
        let is_same = found == expected
            || (found - expected).abs() < 1e-12
            || (found.is_nan() && expected.is_nan());
        assert!(is_same, "{found} is not {expected}");
    }

    #[test]
    fn a_quantile_is_interpolated_in_its_bucket() {
        let buckets = [(1.0, 10.0), (2.0, 30.0), (INF, 40.0)];
        check(0.5, &buckets, 1.5);
        check(0.25, &buckets, 1.0);
        check(0.125, &buckets, 0.5);
        check(0.0, &buckets, 0.0);
    }

    #[test]
    fn above_all_bounds_the_highest_bound_is_told() {
        check(0.99, &[(1.0, 10.0), (2.0, 30.0), (INF, 40.0)], 2.0);
        check(1.0, &[(1.0, 0.0), (INF, 1.0)], 1.0);
    }

    #[test]
    fn what_is_no_histogram_has_no_quantile() {
        check(0.5, &[], f64::NAN);
        check(0.5, &[(1.0, 1.0), (2.0, 2.0)], f64::NAN);
        check(0.5, &[(INF, 2.0)], f64::NAN);
        check(0.5, &[(1.0, 0.0), (INF, 0.0)], f64::NAN);
        check(-0.1, &[(1.0, 1.0), (INF, 1.0)], -INF);
        check(1.1, &[(1.0, 1.0), (INF, 1.0)], INF);
    }

    #[test]
    fn a_first_bound_below_zero_and_counts_that_go_down_are_borne() {
        check(0.5, &[(-1.0, 10.0), (INF, 10.0)], -1.0);
        check(0.5, &[(1.0, 10.0), (2.0, 9.0), (INF, 20.0)], 1.0);
        check(
            0.5,
            &[(1.0, 4.0), (1.0, 4.0), (2.0, 16.0), (INF, 16.0)],
            1.0,
        );
    }
}
