//! Very many jobs wait: each costs what it costs when few do.
//!
//! What is asserted are counts. The rate beside that at 1,000 is a figure of `make bench`;
//! here it is only told.

use std::thread;
use std::time::{Duration, Instant};

use super::load::Client;
use super::row::row;
use super::setting;
use crate::master::{DEADLINE, Master, one_step};
use crate::metrics::Scrape;
use crate::processes::until;

/// Jobs that wait, and as many in the quick form.
const MANY: usize = 100_000;
const MANY_QUICK: usize = 4_000;

/// Those beside which they are measured.
const FEW: usize = 1_000;

/// Jobs that are run of each.
const RUN: f64 = 400.0;
const RUN_QUICK: f64 = 100.0;

/// Clients that submit at once: many share a commit.
const CLIENTS: usize = 32;

/// Statements that a job may take more than with few waiting: health looks now and then.
const STATEMENTS_MORE_MAX: f64 = 0.15;

/// Jobs that may move from one count to the next during one look.
const COUNTED_TWICE_MAX: f64 = 8.0;

/// What running some of them took.
struct Taken {
    statements_a_job: f64,
    jobs_a_second: f64,
    restart: Duration,
}

fn statements(master: &Master) -> f64 {
    Scrape::of(master).sum("danube_db_queries_total", &[])
}

/// Jobs that wait, run or have ended well, by one look.
fn known(master: &Master) -> f64 {
    let scrape = Scrape::of(master);
    scrape.sum("danube_job_queue_size", &[])
        + scrape.sum("danube_active_jobs", &[])
        + scrape.sum("danube_jobs_total", &[("status", "success")])
}

fn ended(master: &Master) -> f64 {
    master.metric("danube_jobs_total{status=\"success\",pipeline=\"test\"}")
}

/// Waits until so many have ended; how many it is then.
fn until_ended(master: &Master, count: f64) -> f64 {
    until("they run", DEADLINE, || {
        let now = ended(master);
        (now >= count).then_some(now)
    })
}

/// Lets so many wait, starts the master anew, and runs some of them.
fn with_waiting(count: usize, run: f64) -> Taken {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let master = &master;
            scope.spawn(move || {
                let body = one_step("true");
                let client_of = Client::of(master);
                for _ in (client..count).step_by(CLIENTS) {
                    let answer = client_of.submit(None, &body).expect("an answer");
                    assert_eq!(answer.0, 202, "{}", answer.1);
                }
            });
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let waiting = count as f64;
    let queued = master.metric("danube_job_queue_size");
    assert!((queued - waiting).abs() < 0.5, "{queued} of {waiting} wait");
    master.kill();

    let began = Instant::now();
    let master = Master::start_in(&dir, &["--jobs-at-once", "4"]);
    assert_eq!(master.get("/health/ready").status, 200);
    let restart = began.elapsed();
    // A start looks at much that no job asks for.
    let from = until_ended(&master, 20.0);
    let (before, began) = (statements(&master), Instant::now());
    let to = until_ended(&master, from + run);
    let took = began.elapsed().as_secs_f64();
    let done = to - from;
    let statements_a_job = (statements(&master) - before) / done;
    // None was lost, none was made.
    let all = known(&master);
    // Some may move while they are counted.
    assert!(
        (all - waiting).abs() <= COUNTED_TWICE_MAX,
        "{all} of {waiting}"
    );
    Taken {
        statements_a_job,
        jobs_a_second: done / took,
        restart,
    }
}

#[test]
fn with_very_many_jobs_waiting_each_takes_as_many_statements_as_with_few() {
    let row = row!("100,000 queued jobs");
    let long = setting("DANUBE_FAULT_ROUNDS").is_some();
    let (many, run) = if long {
        (MANY, RUN)
    } else {
        (MANY_QUICK, RUN_QUICK)
    };
    let few = with_waiting(FEW, run);
    let much = with_waiting(many, run);
    // Before and after: the machine's other work comes and goes.
    let again = with_waiting(FEW, run);
    let more = much.statements_a_job / few.statements_a_job - 1.0;
    assert!(
        more <= STATEMENTS_MORE_MAX,
        "{} statements a job, {} with {FEW} waiting",
        much.statements_a_job,
        few.statements_a_job
    );
    let ratio = much.jobs_a_second / f64::midpoint(few.jobs_a_second, again.jobs_a_second);
    row.held(
        1,
        format!(
            "{many} waiting: {:.1} statements a job ({:.1} with {FEW}), {:.0} jobs/s = {ratio:.2} x, ready {:.1?} after a kill",
            much.statements_a_job, few.statements_a_job, much.jobs_a_second, much.restart
        ),
    );
}
