//! What is counted: two closed labels, in an order that no processor guesses, and
//! times with a trace now and then.

use std::hint::black_box;
use std::sync::LazyLock;

use danube_bench::rng::Rng;
use danube_telemetry::label_enum;
use danube_telemetry::metric::LabelEnum;

label_enum! {
    /// The first label of the counters.
    #[derive(Hash)]
    pub(crate) enum Method {
        Get = "get",
        Put = "put",
        Post = "post",
        Patch = "patch",
        Delete = "delete",
        Head = "head",
    }
}

label_enum! {
    /// The second one.
    #[derive(Hash)]
    pub(crate) enum Outcome { Success = "success", Failure = "failure", Timeout = "timeout" }
}

pub(crate) const METHODS: [Method; 6] = [
    Method::Get,
    Method::Put,
    Method::Post,
    Method::Patch,
    Method::Delete,
    Method::Head,
];

pub(crate) const OUTCOMES: [Outcome; 3] = [Outcome::Success, Outcome::Failure, Outcome::Timeout];

/// Cells of both labels.
pub(crate) const CELLS: usize = METHODS.len() * OUTCOMES.len();

/// Upper bounds of all histograms here, in seconds.
pub(crate) const BOUNDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// One observation in so many is made in a recorded trace.
const TRACED_OF: usize = 16;

/// Repeats after this many: more than a branch predictor remembers, and in the cache.
const ORDER: usize = 4096;

/// An observation, made beforehand.
#[derive(Clone, Copy)]
pub(crate) struct Observation {
    pub(crate) seconds: f64,
    /// The same for the floor, which converts nothing.
    pub(crate) nanos: u64,
    pub(crate) traced: bool,
    pub(crate) method: Method,
    pub(crate) outcome: Outcome,
}

static KEYS: LazyLock<[(Method, Outcome); ORDER]> = LazyLock::new(|| {
    let mut rng = Rng::new(1);
    std::array::from_fn(|_| key(&mut rng))
});

static OBSERVATIONS: LazyLock<[Observation; ORDER]> = LazyLock::new(|| {
    let mut rng = Rng::new(2);
    std::array::from_fn(|_| {
        // From 0.3 ms to 100 s, each decade as often as the others.
        let exponent = -3.5 + 5.5 * f64::from(u16::try_from(rng.below(10_000)).unwrap_or(0)) / 1e4;
        let seconds = 10_f64.powf(exponent);
        let (method, outcome) = key(&mut rng);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and a few minutes"
        )]
        let nanos = (seconds * 1e9).round() as u64;
        Observation {
            seconds,
            nanos,
            traced: rng.below(TRACED_OF) == 0,
            method,
            outcome,
        }
    })
});

fn key(rng: &mut Rng) -> (Method, Outcome) {
    (
        METHODS[rng.below(METHODS.len())],
        OUTCOMES[rng.below(OUTCOMES.len())],
    )
}

/// Which of all cells; the floor's and the held handles' own index.
pub(crate) fn cell(method: Method, outcome: Outcome) -> usize {
    method.index() * OUTCOMES.len() + outcome.index()
}

/// Acts on so many keys. Every case of a table goes through this loop.
pub(crate) fn each_key(times: usize, thread: usize, act: impl Fn(Method, Outcome)) {
    let order = &*KEYS;
    let from = thread * ORDER / 2;
    for at in from..from + times {
        let (method, outcome) = black_box(order[at % ORDER]);
        act(method, outcome);
    }
}

/// The same with observations.
pub(crate) fn each_observation(times: usize, thread: usize, act: impl Fn(&Observation)) {
    let order = &*OBSERVATIONS;
    let from = thread * ORDER / 2;
    for at in from..from + times {
        act(black_box(&order[at % ORDER]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn every_cell_is_met_and_one_observation_in_sixteen_is_traced() {
        let seen = RefCell::new([0; CELLS]);
        each_key(ORDER, 0, |method, outcome| {
            seen.borrow_mut()[cell(method, outcome)] += 1;
        });
        assert!(seen.borrow().iter().all(|it| *it > ORDER / CELLS / 2));
        let traced = RefCell::new(0);
        each_observation(ORDER, 1, |it| {
            *traced.borrow_mut() += usize::from(it.traced);
        });
        let expected = ORDER / TRACED_OF;
        assert!((expected / 2..expected * 2).contains(&*traced.borrow()));
    }
}
