//! How many commits, and so fsyncs, the writes cost.

use std::sync::Barrier;
use std::thread;

use danube_model::{Cause, Step, StepStatus};
use danube_store::Store;

use crate::support::{claim, ended, new_job, store, submit};

#[test]
fn one_client_pays_one_commit_for_a_submit() {
    let (store, _dir) = store();
    submit(&store);
    for _ in 0..20 {
        let before = store.commits();
        submit(&store);
        assert_eq!(store.commits(), before + 1);
    }
}

#[test]
fn many_clients_share_commits() {
    const CLIENTS: usize = 64;
    const JOBS: usize = 20;
    let (store, _dir) = store();
    let together = Barrier::new(CLIENTS);
    let before = store.commits();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                together.wait();
                for _ in 0..JOBS {
                    submit(&store);
                }
            });
        }
    });
    let jobs = (CLIENTS * JOBS) as u64;
    assert_eq!(store.counts().pending, jobs);
    let commits = store.commits() - before;
    assert!(commits * 10 <= jobs, "{commits} commits for {jobs} jobs");
}

#[test]
fn what_isnt_urgent_rides_along() {
    let (store, _dir) = store();
    let attempt = claim(&store, submit(&store).id).attempt;
    let before = store.commits();
    let mut told = vec![store.started(attempt, vec![Step::pending("say")])];
    for status in [StepStatus::Running, StepStatus::Success] {
        let step = Step {
            status,
            ..Step::pending("say")
        };
        told.push(store.step(attempt, 0, step));
    }
    store
        .finish(attempt, ended(Cause::Succeeded))
        .wait()
        .unwrap();
    for answer in told {
        answer.wait().unwrap();
    }
    // One, or two when this thread was kept from running for 50 ms.
    assert!(store.commits() - before <= 2);
}

#[test]
fn what_isnt_urgent_is_written_without_company_too() {
    let (store, _dir) = store();
    let attempt = claim(&store, submit(&store).id).attempt;
    store.started(attempt, Vec::new()).wait().unwrap();
}

#[test]
fn reads_and_probes_cost_no_commit() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    let before = store.commits();
    store.write_probe().wait().unwrap();
    store.ping().unwrap();
    store.job(id).unwrap();
    store.history(id).unwrap();
    assert_eq!(store.commits(), before);
}

#[test]
fn a_writer_with_a_new_connection_goes_on() {
    let (store, _dir) = store();
    submit(&store);
    store.reopen().wait().unwrap();
    submit(&store);
    assert_eq!(store.counts().pending, 2);
    assert_eq!(store.check_integrity().unwrap(), Vec::<String>::new());
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn a_write_can_be_awaited() {
    let (store, _dir) = store();
    let submitted = block_on(async { store.submit(new_job("build")).await });
    let id = submitted.unwrap().job.id;
    assert!(store.job(id).unwrap().is_some());
}

#[test]
fn clients_that_go_away_leave_no_transaction_open() {
    let (store, dir) = store();
    for _ in 0..2_000 {
        drop(store.submit(new_job("build")));
    }
    for _ in 0..50 {
        submit(&store);
    }
    assert_eq!(store.counts().pending, 2_050);
    // Nobody holds the lock.
    let other = rusqlite::Connection::open(dir.path().join("danube.db")).unwrap();
    other.busy_timeout(std::time::Duration::ZERO).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
}

fn read_until(store: &Store, jobs: u64) -> u64 {
    let mut reads = 0;
    while store.counts().pending < jobs {
        let waiting = store
            .waiting(&crate::support::plain_lane(), 0, 1_000)
            .unwrap();
        let listed = store.list(&Default::default(), None, 1_000).unwrap();
        assert!(listed.items.len() >= waiting.len(), "the later sees more");
        for job in listed.items.iter().take(3) {
            assert!(store.job(job.id).unwrap().is_some());
        }
        reads += 1;
    }
    reads
}

#[test]
fn reads_go_on_while_the_writer_writes() {
    const JOBS: u64 = 400;
    let (store, _dir) = store();
    thread::scope(|scope| {
        // More readers than the pool has connections.
        let readers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| read_until(&store, JOBS)))
            .collect();
        for _ in 0..JOBS {
            submit(&store);
        }
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}
