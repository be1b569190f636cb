//! Lets cases take turns, at one thread or at two, and prints the table with the
//! ratios that count.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use danube_bench::figures::{digits, median, spread};

use crate::clock;

/// How long one pass takes, so that the clock's own time is nothing.
const PASS: Duration = Duration::from_millis(6);

/// The same with two threads, whose start and end differ a little.
const PASS_OF_TWO: Duration = Duration::from_millis(15);

/// A ratio that a case is to reach, both taken in the same round.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times as long as the quickest of these.
    Within(f64, &'static [&'static str]),
    /// So many times faster than this one.
    Faster(f64, &'static str),
}

/// Does it so many times. The second number is the thread's, from 0.
type Pass = Box<dyn Fn(usize, usize) + Sync>;

/// How often a pass of two threads is made until both ran all the time. What waits
/// asleep never does, so that there is an end to it.
const TRIES: usize = 5;

/// So much of the time a thread has to run; the rest is noise of the clocks.
const RAN_MIN: f64 = 0.97;

/// How a pass went.
struct Took {
    nanos: f64,
    /// Which part of the time the thread ran that ran least.
    ran: f64,
}

/// One way to do it.
pub(crate) struct Case {
    name: String,
    pass: Pass,
    after: Option<Box<dyn Fn() + Sync>>,
    note: String,
    goals: Vec<Goal>,
}

impl Case {
    /// `pass` holds the loop, so that what is in it can be inlined.
    pub(crate) fn new(
        name: impl Into<String>,
        pass: impl Fn(usize, usize) + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            pass: Box::new(pass),
            after: None,
            note: String::new(),
            goals: Vec::new(),
        }
    }

    /// Adds a goal.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    /// Runs after each pass, on nobody's time.
    #[cfg_attr(
        not(feature = "peers"),
        expect(dead_code, reason = "ours leave nothing behind")
    )]
    pub(crate) fn after(mut self, after: impl Fn() + Sync + 'static) -> Self {
        self.after = Some(Box::new(after));
        self
    }

    /// Shown before the time.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Nanoseconds each. Two threads that others keep from running at once don't meet:
    /// such a pass is made again, a few times at most.
    fn nanos(&self, times: usize, threads: usize) -> f64 {
        let mut took = self.pass(times, threads);
        for _ in 1..TRIES {
            if threads == 1 || took.ran >= RAN_MIN {
                break;
            }
            took = self.pass(times, threads);
        }
        took.nanos
    }

    /// One pass: on average, where there are several threads.
    fn pass(&self, times: usize, threads: usize) -> Took {
        let began_all = AtomicUsize::new(0);
        let one = |thread: usize| {
            began_all.fetch_add(1, Ordering::SeqCst);
            while began_all.load(Ordering::SeqCst) < threads {
                std::hint::spin_loop();
            }
            // One thread waits for nobody. Of two the wait for each other counts.
            let (began, used) = (Instant::now(), clock::thread_nanos());
            (self.pass)(times, thread);
            let used = clock::thread_nanos() - used;
            let passed = began.elapsed().as_secs_f64() * 1e9;
            let nanos = if threads == 1 { used } else { passed };
            (nanos / float(times), used / passed)
        };
        let each: Vec<(f64, f64)> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|thread| scope.spawn(move || one(thread)))
                .collect();
            let mut each = vec![one(0)];
            each.extend(
                others
                    .into_iter()
                    .map(|it| it.join().expect("it does not panic")),
            );
            each
        });
        if let Some(after) = &self.after {
            after();
        }
        Took {
            nanos: each.iter().map(|it| it.0).sum::<f64>() / float(threads),
            ran: each.iter().map(|it| it.1).fold(1.0, f64::min),
        }
    }

    /// How often it is done in a pass.
    fn calibrated(&self, threads: usize) -> usize {
        let pass = if threads == 1 { PASS } else { PASS_OF_TWO };
        let pass = pass.as_secs_f64() * 1e9;
        let mut times = 1;
        loop {
            let each = self.nanos(times, threads);
            if each * float(times) > pass / 4.0 {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a small count, and no time is negative"
                )]
                return (pass / each).ceil() as usize;
            }
            times *= 4;
        }
    }
}

/// How a table reads.
pub(crate) struct Table<'a> {
    pub(crate) title: &'a str,
    /// Of a time: so many nanoseconds each, and its name.
    pub(crate) unit: (f64, &'a str),
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    /// Part of the names of those that take part.
    pub(crate) case: &'a str,
}

/// Runs all, round by round, and prints them. The first is the floor.
pub(crate) fn run(table: &Table<'_>, mut cases: Vec<Case>) {
    let floor = cases.first().map(|it| it.name.clone());
    cases.retain(|it| it.name.contains(table.case) || Some(&it.name) == floor.as_ref());
    let threads = table.threads;
    let times: Vec<usize> = cases.iter().map(|it| it.calibrated(threads)).collect();
    let mut nanos: Vec<Vec<f64>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..table.rounds {
        for ((case, times), nanos) in cases.iter().zip(&times).zip(&mut nanos) {
            nanos.push(case.nanos(*times, threads));
        }
    }
    println!("\n{}", table.title);
    println!(
        "  {:<54} {:>12} {:>26} {:>8}  goal",
        "case",
        "",
        format!("{} (min-max)", table.unit.1),
        "x floor"
    );
    for (case, own) in cases.iter().zip(&nanos) {
        let goals: Vec<String> = case
            .goals
            .iter()
            .filter_map(|goal| verdict(*goal, own, &|name| found(&cases, &nanos, name)))
            .collect();
        let shown: Vec<f64> = own.iter().map(|it| it / table.unit.0).collect();
        println!(
            "  {:<54} {:>12} {:>26} {:>8}  {}",
            case.name,
            case.note,
            spread(&shown),
            digits(ratio(own, &nanos[0])),
            goals.join(", ")
        );
    }
}

fn found<'a>(cases: &[Case], nanos: &'a [Vec<f64>], name: &str) -> Option<&'a [f64]> {
    let at = cases.iter().position(|it| it.name == name)?;
    Some(&nanos[at])
}

/// The median of the rounds' ratios: a slow minute hits both of a round.
pub(crate) fn ratio(own: &[f64], other: &[f64]) -> f64 {
    let ratios: Vec<f64> = own.iter().zip(other).map(|(own, it)| own / it).collect();
    median(&ratios)
}

/// What the rounds of a case of this name were; `None` where it isn't there.
type Find<'a> = dyn Fn(&str) -> Option<&'a [f64]> + 'a;

/// `0.74 (<= 1 x bare): met`; `None` where what it is measured by isn't there.
fn verdict(goal: Goal, own: &[f64], find: &Find<'_>) -> Option<String> {
    match goal {
        Goal::Within(most, names) => {
            let quickest = names
                .iter()
                .filter_map(|name| Some((name, find(name)?)))
                .min_by(|(_, a), (_, b)| median(a).total_cmp(&median(b)));
            let (name, floor) = quickest?;
            Some(said(ratio(own, floor), most, name, Sense::Most))
        }
        Goal::Faster(least, name) => Some(said(ratio(find(name)?, own), least, name, Sense::Least)),
    }
}

/// Which side of a limit is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sense {
    Most,
    Least,
}

/// Says whether a goal was met.
pub(crate) fn said(reached: f64, limit: f64, of: &str, sense: Sense) -> String {
    let (sign, met) = match sense {
        Sense::Most => ("<=", reached <= limit),
        Sense::Least => (">=", reached >= limit),
    };
    let met = if met { "met" } else { "MISSED" };
    let reached = digits(reached);
    match sense {
        Sense::Most => format!("{reached} x {of} ({sign} {limit}): {met}"),
        Sense::Least => format!("{reached} x faster than {of} ({sign} {limit}): {met}"),
    }
}

/// A count as a number to divide by.
pub(crate) fn float(it: usize) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a benchmark are small"
    )]
    let it = it as f64;
    it
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_measured_by_the_quickest_and_missed_aloud() {
        let find = |name: &str| -> Option<&[f64]> {
            match name {
                "quick" => Some(&[1.0, 2.0, 4.0]),
                "slow" => Some(&[3.0, 3.0, 3.0]),
                _ => None,
            }
        };
        let check = |goal, own: &[f64], expected: Option<&str>| {
            let said = verdict(goal, own, &find);
            match expected {
                None => assert_eq!(said, None),
                Some(end) => assert!(
                    said.as_ref().is_some_and(|it| it.ends_with(end)),
                    "{said:?}"
                ),
            }
        };
        let both: &[&str] = &["slow", "quick"];
        check(Goal::Within(1.5, both), &[1.0, 2.0, 9.0], Some(": met"));
        check(Goal::Within(1.5, both), &[2.0, 4.0, 8.0], Some(": MISSED"));
        check(Goal::Faster(3.0, "slow"), &[1.0, 1.0, 1.0], Some(": met"));
        check(
            Goal::Faster(3.1, "slow"),
            &[1.0, 1.0, 1.0],
            Some(": MISSED"),
        );
        check(Goal::Faster(1.0, "nobody"), &[1.0], None);
    }

    #[test]
    fn two_threads_both_take_part() {
        let by_thread: &'static [AtomicUsize; 2] =
            Box::leak(Box::new([AtomicUsize::new(0), AtomicUsize::new(0)]));
        let case = Case::new("count", move |times, thread| {
            by_thread[thread].fetch_add(times, Ordering::Relaxed);
        });
        assert!(case.pass(7, 2).nanos > 0.0);
        let seen = [0, 1].map(|it| by_thread[it].load(Ordering::Relaxed));
        // A pass in which one of them had no core is made again.
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0] >= 7 && seen[0] % 7 == 0, "{seen:?}");
    }
}
