//! What playbooks report while they run.

use danube_model::playbook::{
    HostStatus, Inventory, Options, Playbook, Progress, RunEvent, RunRecord, Source, Uses,
};
use danube_model::{Cause, JobId, Task, Timestamp};
use danube_store::{Store, StoreError};
use serde_json::Map;

use crate::support::{claim, ended, new_job, reopened, store};

fn submit(store: &Store) -> JobId {
    let mut new = new_job("site");
    new.order.task = Task::Playbook(Playbook {
        source: Source::Playbook {
            repo: "/srv/git/site".into(),
            git_ref: None,
            path: "site.yml".into(),
        },
        inventory: Inventory::Source {
            path: "hosts".into(),
        },
        credentials: Uses::default(),
        extra_vars: Map::new(),
        options: Options::default(),
    });
    store.submit(new).wait().unwrap().job.id
}

/// Records from number `from` on, and what all up to them adds up to.
fn played(from: u64, until: u64) -> (Vec<RunRecord>, Progress) {
    let event = |n: u64| RunEvent::HostResult {
        task: 0,
        host: format!("host-{n}"),
        status: HostStatus::Changed,
        name: None,
        message: None,
    };
    let mut progress = Progress::default();
    (0..until).for_each(|n| progress.add(&event(n)));
    let record = |n| RunRecord {
        n,
        at: Timestamp::from_millis(1_000),
        event: event(n),
    };
    ((from..until).map(record).collect(), progress)
}

#[test]
fn a_report_that_comes_twice_changes_nothing_and_outlives_a_restart() {
    let (store, dir) = store();
    let id = submit(&store);
    let attempt = claim(&store, id).attempt;
    let (first, early) = played(0, 2);
    let (second, late) = played(2, 5);
    store
        .report(attempt, first.clone(), early.clone())
        .wait()
        .unwrap();
    store
        .report(attempt, second.clone(), late.clone())
        .wait()
        .unwrap();
    store.report(attempt, first.clone(), early).wait().unwrap();
    let store = reopened(store, dir.path());
    let found = store.run_events(id, None, (0, 100)).unwrap().unwrap();
    assert_eq!(found.records, [first, second].concat());
    assert_eq!(
        (found.attempt, found.latest, found.has_ended),
        (1, 1, false)
    );
    let page = store.run_events(id, Some(1), (3, 1)).unwrap().unwrap();
    assert_eq!(page.records.iter().map(|it| it.n).collect::<Vec<_>>(), [3]);
    let job = store.job(id).unwrap().unwrap();
    assert_eq!(job.playbook.unwrap().progress, Some(late));
}

#[test]
fn an_attempt_that_lost_its_job_reports_nothing_and_events_go_with_the_log() {
    let (store, _dir) = store();
    let id = submit(&store);
    let lost = claim(&store, id).attempt;
    store.lease_lost(lost, "silent").wait().unwrap();
    let (records, progress) = played(0, 1);
    let refused = store.report(lost, records.clone(), progress.clone()).wait();
    assert!(
        matches!(refused, Err(StoreError::Fenced { .. })),
        "{refused:?}"
    );
    let again = claim(&store, id).attempt;
    store.report(again, records, progress).wait().unwrap();
    store.finish(again, ended(Cause::Succeeded)).wait().unwrap();
    let found = store.run_events(id, None, (0, 100)).unwrap().unwrap();
    assert_eq!(
        (found.attempt, found.records.len(), found.has_ended),
        (2, 1, true)
    );
    let before = store.run_events(id, Some(1), (0, 100)).unwrap().unwrap();
    assert_eq!(before.records, []);
    store.log_deleted(id).wait().unwrap();
    let found = store.run_events(id, None, (0, 100)).unwrap().unwrap();
    assert_eq!(found.records, []);
}
