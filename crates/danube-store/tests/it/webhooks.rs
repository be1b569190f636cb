//! Webhooks: due with the end of the job, whatever ends it, and never twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use danube_model::{Attempt, Cause, JobId, Timestamp, Trace};
use danube_store::{
    AfterTry, Callback, DueWebhook, Meter, NewJob, OLD_SECRETS_MAX, Options, ReplayOutcome, Retry,
    RetryOutcome, SECRET_BYTES, ShowOutcome, ShownSecret, Sight, Store, Tried, Wanted,
    WebhookState,
};

use rusqlite::Connection;

use crate::rotation::rotate;
use crate::support::{claim, ended, new_job, open, reopened, store};

const SECRET_URL: &str = "https://hooks.example/a?token=s3cret-s3cret";

fn callback(host: &str) -> Callback {
    Callback {
        url: format!("https://{host}/a?token=s3cret-s3cret"),
        shown: format!("https://{host}/a"),
        origin: format!("https://{host}"),
    }
}

fn with_webhook(host: &str) -> NewJob {
    NewJob {
        callback: Some(callback(host)),
        retry_on_lost: false,
        ..new_job("build")
    }
}

fn submit(store: &Store, host: &str) -> JobId {
    store.submit(with_webhook(host)).wait().unwrap().job.id
}

/// A time after all that was written.
fn later() -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() + 1_000)
}

/// What is due of addresses that answer, or that didn't: so many in all, and of each.
fn look(store: &Store, is_ailing: bool, places: usize, each: usize) -> Vec<DueWebhook> {
    let wanted = Wanted {
        now: later(),
        is_ailing,
        places,
        each,
        busy: &HashMap::new(),
    };
    store.due_webhooks(wanted).unwrap()
}

fn due(store: &Store) -> Vec<JobId> {
    let due = look(store, false, 100, 100);
    due.into_iter().map(|it| it.job).collect()
}

fn tried(job: JobId, next: AfterTry) -> Tried {
    Tried {
        job,
        at: Timestamp::now(),
        took: Duration::from_millis(7),
        status: Some(500),
        error: Some("status 500".to_owned()),
        has_answered: true,
        replays: 0,
        next,
    }
}

/// A way in which a job can end: its name, and what ends it so.
type Way = (&'static str, fn(&Store, JobId));

/// Each of them.
fn ways() -> [Way; 8] {
    fn attempt(store: &Store, job: JobId) -> Attempt {
        claim(store, job).attempt
    }
    fn finish(store: &Store, job: JobId, cause: Cause) {
        let attempt = attempt(store, job);
        store.started(attempt, Vec::new()).wait().unwrap();
        store.finish(attempt, ended(cause)).wait().unwrap();
    }
    [
        ("succeeded", |store, job| {
            finish(store, job, Cause::Succeeded);
        }),
        ("failed", |store, job| {
            finish(
                store,
                job,
                Cause::Failed(danube_model::FailReason::StepFailed),
            );
        }),
        ("timed out", |store, job| {
            finish(store, job, Cause::TimedOut);
        }),
        ("stopped", |store, job| {
            let attempt = attempt(store, job);
            store.cancel(job, "admin").wait().unwrap();
            store.finish(attempt, ended(Cause::Stopped)).wait().unwrap();
        }),
        ("cancelled while pending", |store, job| {
            store.cancel(job, "admin").wait().unwrap();
        }),
        ("lost", |store, job| {
            let attempt = attempt(store, job);
            store.lease_lost(attempt, "silent").wait().unwrap();
        }),
        ("handed back", |store, job| {
            let attempt = attempt(store, job);
            store.hand_back(attempt, "drains", true).wait().unwrap();
        }),
        ("cancelled, then lost", |store, job| {
            let attempt = attempt(store, job);
            store.cancel(job, "admin").wait().unwrap();
            store.lease_lost(attempt, "silent").wait().unwrap();
        }),
    ]
}

#[test]
fn whatever_ends_a_job_its_webhook_is_due_then_and_not_before() {
    for (name, end) in ways() {
        let (store, dir) = store();
        let job = submit(&store, "hooks.example");
        assert!(due(&store).is_empty() && store.webhook(job).unwrap().is_none());
        end(&store, job);
        assert_eq!(due(&store), [job], "{name}");
        // A crash right after the end changes nothing.
        let store = reopened(store, dir.path());
        let (webhook, attempts) = store.webhook(job).unwrap().unwrap();
        assert_eq!(
            (webhook.state, webhook.attempts),
            (WebhookState::Pending, 0)
        );
        let finished = store.job(job).unwrap().unwrap().finished_at;
        assert_eq!(Some(webhook.ended_at), finished);
        assert!(attempts.is_empty());
    }
}

#[derive(Default)]
struct Told(AtomicU64);

impl Meter for Told {
    fn webhook_due(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn only_a_job_that_named_an_address_has_one_and_the_meter_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(Told::default());
    let options = Options {
        meter: Arc::clone(&told) as Arc<dyn Meter>,
        ..Options::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let plain = store.submit(new_job("build")).wait().unwrap().job.id;
    store.cancel(plain, "admin").wait().unwrap();
    assert!(store.webhook(plain).unwrap().is_none());
    assert_eq!(told.0.load(Ordering::Relaxed), 0);
    let job = submit(&store, "hooks.example");
    store.cancel(job, "admin").wait().unwrap();
    assert_eq!(told.0.load(Ordering::Relaxed), 1);
}

#[test]
fn attempts_are_noted_until_it_is_settled() {
    let (store, _dir) = store();
    let job = submit(&store, "hooks.example");
    store.cancel(job, "admin").wait().unwrap();
    let again = AfterTry::Again(Timestamp::from_millis(later().as_millis() + 60_000));
    store.webhook_tried(tried(job, again)).wait().unwrap();
    assert!(due(&store).is_empty());
    let AfterTry::Again(at) = again else {
        unreachable!()
    };
    assert_eq!(store.next_webhook_due(later()).unwrap(), Some(at));
    store
        .webhook_tried(tried(job, AfterTry::Delivered))
        .wait()
        .unwrap();
    let (webhook, attempts) = store.webhook(job).unwrap().unwrap();
    assert_eq!(
        (webhook.state, webhook.attempts),
        (WebhookState::Delivered, 2)
    );
    let numbers: Vec<_> = attempts.iter().map(|it| (it.number, it.status)).collect();
    assert_eq!(numbers, [(1, Some(500)), (2, Some(500))]);
    // What is settled isn't changed by an answer that comes late.
    store
        .webhook_tried(tried(job, AfterTry::Failed))
        .wait()
        .unwrap();
    assert_eq!(store.webhook(job).unwrap().unwrap().0, webhook);
    assert_eq!(
        store.next_webhook_due(Timestamp::from_millis(0)).unwrap(),
        None
    );
}

#[test]
fn a_replay_begins_a_new_round_and_keeps_what_was() {
    let (store, _dir) = store();
    let job = submit(&store, "hooks.example");
    let answer = store.replay_webhook(job).wait().unwrap();
    assert_eq!(answer, ReplayOutcome::NotEnded);
    store.cancel(job, "admin").wait().unwrap();
    store
        .webhook_tried(tried(job, AfterTry::Failed))
        .wait()
        .unwrap();
    assert!(due(&store).is_empty());
    let ReplayOutcome::Due(webhook) = store.replay_webhook(job).wait().unwrap() else {
        panic!("it ended")
    };
    assert_eq!(
        (webhook.state, webhook.attempts),
        (WebhookState::Pending, 1)
    );
    let found = look(&store, false, 1, 1);
    assert_eq!((found[0].attempt, found[0].round), (2, 0));
    let unknown = store.replay_webhook(JobId::new()).wait().unwrap();
    assert_eq!(unknown, ReplayOutcome::NotFound);
}

#[test]
fn attempts_are_kept_up_to_a_bound() {
    let (store, _dir) = store();
    let job = submit(&store, "hooks.example");
    store.cancel(job, "admin").wait().unwrap();
    for _ in 0..60 {
        let again = AfterTry::Again(Timestamp::now());
        store.webhook_tried(tried(job, again)).wait().unwrap();
    }
    let (webhook, attempts) = store.webhook(job).unwrap().unwrap();
    assert_eq!(
        (webhook.attempts, attempts.len(), attempts[0].number),
        (60, 50, 11)
    );
}

#[test]
fn one_address_never_hides_another() {
    let (store, _dir) = store();
    for _ in 0..10 {
        let job = submit(&store, "dead.example");
        store.cancel(job, "admin").wait().unwrap();
    }
    let other = submit(&store, "live.example");
    store.cancel(other, "admin").wait().unwrap();
    let found = look(&store, false, 3, 2);
    assert_eq!(found.len(), 3);
    assert_eq!(found[2].job, other);
}

/// A job that has ended, whose webhook is due.
fn cancelled(store: &Store, host: &str) -> JobId {
    let job = submit(store, host);
    store.cancel(job, "admin").wait().unwrap();
    job
}

/// Turns are taken by the millisecond: until the next one.
fn another_moment() {
    let before = Timestamp::now();
    while Timestamp::now() == before {
        std::hint::spin_loop();
    }
}

#[test]
fn addresses_that_do_not_answer_stand_apart_and_take_turns_whatever_waits_behind_them() {
    let (store, dir) = store();
    let crowd: Vec<JobId> = (0..3).map(|_| cancelled(&store, "crowd.example")).collect();
    let single = cancelled(&store, "single.example");
    let silent = |job| {
        another_moment();
        let again = AfterTry::Again(Timestamp::now());
        let tried = Tried {
            has_answered: false,
            ..tried(job, again)
        };
        store.webhook_tried(tried).wait().unwrap();
    };
    silent(single);
    silent(crowd[0]);
    assert!(due(&store).is_empty());
    let turns = |store: &Store| -> Vec<String> {
        let found = look(store, true, 2, 1);
        assert!(found.iter().all(|it| it.is_ailing));
        found.into_iter().map(|it| it.origin).collect()
    };
    let [one, many] = ["https://single.example", "https://crowd.example"];
    assert_eq!(turns(&store), [one, many]);
    // The one that was asked goes behind the other, although more and older ones wait.
    silent(single);
    assert_eq!(turns(&store), [many, one]);
    silent(crowd[0]);
    assert_eq!(turns(&store), [one, many]);
    // Which answer is known after a restart, too; and one answer makes it well.
    let store = reopened(store, dir.path());
    assert_eq!(turns(&store), [one, many]);
    let delivered = tried(single, AfterTry::Delivered);
    store.webhook_tried(delivered).wait().unwrap();
    let refused = tried(crowd[1], AfterTry::Failed);
    store.webhook_tried(refused).wait().unwrap();
    assert!(look(&store, true, 9, 9).is_empty());
    assert_eq!(due(&store), [crowd[2], crowd[0]]);
    // A new webhook to an address that nothing waits for begins as any other.
    let anew = cancelled(&store, "single.example");
    assert_eq!(due(&store), [crowd[2], crowd[0], anew]);
}

#[test]
fn a_replay_that_is_asked_for_during_an_attempt_outlives_its_result() {
    for next in [
        AfterTry::Delivered,
        AfterTry::Failed,
        AfterTry::Again(Timestamp::from_millis(later().as_millis() + 60_000)),
    ] {
        let (store, _dir) = store();
        let job = cancelled(&store, "hooks.example");
        let sent = look(&store, false, 1, 1).remove(0);
        assert_eq!((sent.attempt, sent.replays), (1, 0));
        // Between the attempt's beginning and the note of its end.
        store.replay_webhook(job).wait().unwrap();
        store.webhook_tried(tried(job, next)).wait().unwrap();
        let (webhook, attempts) = store.webhook(job).unwrap().unwrap();
        assert_eq!(
            (webhook.state, webhook.attempts, webhook.settled_at),
            (WebhookState::Pending, 1, None)
        );
        assert_eq!(attempts.len(), 1, "the attempt is noted");
        let again = look(&store, false, 1, 1).remove(0);
        assert_eq!((again.attempt, again.round, again.replays), (2, 0, 1));
        let end = Tried {
            replays: again.replays,
            ..tried(job, AfterTry::Delivered)
        };
        store.webhook_tried(end).wait().unwrap();
        assert_eq!(
            store.webhook(job).unwrap().unwrap().0.state,
            WebhookState::Delivered
        );
        assert!(due(&store).is_empty());
    }
}

#[test]
fn lists_show_the_newest_first_by_pages_owner_and_state() {
    let (store, _dir) = store();
    let mut jobs = Vec::new();
    for owner in ["1", "2", "1"] {
        let new = NewJob {
            owner: owner.to_owned(),
            ..with_webhook("hooks.example")
        };
        let job = store.submit(new).wait().unwrap().job.id;
        store.cancel(job, "admin").wait().unwrap();
        jobs.push(job);
    }
    submit(&store, "hooks.example");
    store
        .webhook_tried(tried(jobs[2], AfterTry::Delivered))
        .wait()
        .unwrap();
    let list = |owner, state, cursor: Option<&str>, limit| {
        let page = store
            .webhooks((owner, &Sight::All, state), cursor, limit)
            .unwrap();
        let jobs: Vec<_> = page.items.iter().map(|it| it.job).collect();
        (jobs, page.next_cursor)
    };
    let (first, cursor) = list(None, None, None, 2);
    assert_eq!(first, [jobs[2], jobs[1]]);
    assert_eq!(
        list(None, None, cursor.as_deref(), 2),
        (vec![jobs[0]], None)
    );
    assert_eq!(list(Some("1"), None, None, 9).0, [jobs[2], jobs[0]]);
    let pending = Some(WebhookState::Pending);
    assert_eq!(list(Some("1"), pending, None, 9).0, [jobs[0]]);
    assert!(
        store
            .webhooks((None, &Sight::All, None), Some("x"), 1)
            .is_err()
    );
}

#[test]
fn what_was_settled_long_ago_is_forgotten() {
    let (store, _dir) = store();
    let settled = submit(&store, "hooks.example");
    let pending = submit(&store, "hooks.example");
    for job in [settled, pending] {
        store.cancel(job, "admin").wait().unwrap();
    }
    store
        .webhook_tried(tried(settled, AfterTry::Failed))
        .wait()
        .unwrap();
    let old = Timestamp::from_millis(0);
    assert_eq!(store.purge_webhooks(old).wait().unwrap(), 0);
    assert_eq!(store.purge_webhooks(later()).wait().unwrap(), 1);
    assert!(store.webhook(settled).unwrap().is_none());
    assert!(store.webhook(pending).unwrap().is_some());
}

#[test]
fn a_retry_is_told_where_its_job_was() {
    let (store, _dir) = store();
    let job = submit(&store, "hooks.example");
    store.cancel(job, "admin").wait().unwrap();
    let retry = Retry {
        job,
        new: JobId::new(),
        by: "other".into(),
        owner: "1".into(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        trace: Trace::default(),
    };
    let RetryOutcome::Made(new) = store.retry(retry).wait().unwrap() else {
        panic!("it ended")
    };
    assert_eq!(due(&store), [job]);
    store.cancel(new.id, "admin").wait().unwrap();
    assert_eq!(due(&store), [job, new.id]);
    assert_eq!(store.webhook_address(new.id).unwrap().unwrap(), SECRET_URL);
}

fn bytes(byte: u8) -> [u8; SECRET_BYTES] {
    [byte; SECRET_BYTES]
}

fn shown(store: &Store, owner: &str, fresh: u8) -> ShownSecret {
    match store.show_webhook_secret(owner, bytes(fresh)).wait() {
        Ok(ShowOutcome::Shown(it)) => it,
        Ok(ShowOutcome::TooMany(until)) => panic!("too many until {until}"),
        Err(error) => panic!("{error}"),
    }
}

/// The bytes that sign, the current one first.
fn signing(store: &Store, owner: &str) -> Vec<u8> {
    let known = store.webhook_secrets(owner).unwrap().unwrap();
    let all = std::iter::once(&known.current).chain(&known.previous);
    all.map(|it| it[0]).collect()
}

#[test]
fn secrets_are_made_once_shown_once_and_rotated() {
    let (store, dir) = store();
    assert!(store.webhook_secrets("1").unwrap().is_none());
    let made = store.make_webhook_secret("1", bytes(1)).wait().unwrap();
    let again = store.make_webhook_secret("1", bytes(2)).wait().unwrap();
    assert!(made.current == bytes(1) && again.current == bytes(1));
    // Nobody has seen it yet, so it is shown and stays.
    let first = shown(&store, "1", 3);
    assert!(first.secret == bytes(1) && first.previous_until.is_none());
    let rotated = shown(&store, "1", 4);
    assert!(rotated.secret == bytes(4) && rotated.previous_until.is_some());
    let store = reopened(store, dir.path());
    assert_eq!(signing(&store, "1"), [4, 1]);
    let first = shown(&store, "2", 5);
    assert!(first.secret == bytes(5) && first.previous_until.is_none());
}

#[test]
fn each_replaced_secret_signs_for_its_own_day_and_there_is_a_bound() {
    let (store, dir) = store();
    for byte in [1, 2, 3] {
        shown(&store, "1", byte);
    }
    assert_eq!(signing(&store, "1"), [3, 2, 1]);
    // The first one's day is over; the second one's isn't.
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    let end_first = "UPDATE webhook_old_secrets SET until = 1 \
                     WHERE id = (SELECT min(id) FROM webhook_old_secrets)";
    other.execute(end_first, []).unwrap();
    assert_eq!(signing(&store, "1"), [3, 2]);
    let most = u8::try_from(OLD_SECRETS_MAX).unwrap();
    for byte in 4..3 + most {
        shown(&store, "1", byte);
    }
    let before = signing(&store, "1");
    assert_eq!(before.len(), 1 + OLD_SECRETS_MAX);
    // One more would end the second one's day early: nothing is changed.
    let answer = store.show_webhook_secret("1", bytes(99)).wait().unwrap();
    assert!(matches!(answer, ShowOutcome::TooMany(until) if until > later()));
    assert_eq!(signing(&store, "1"), before);
    // Others have their own.
    shown(&store, "2", 1);
    other.execute(end_first, []).unwrap();
    shown(&store, "1", 99);
    assert_eq!(signing(&store, "1").len(), 1 + OLD_SECRETS_MAX);
    let kept: isize = other
        .query_row("SELECT count(*) FROM webhook_old_secrets", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(
        kept,
        OLD_SECRETS_MAX.cast_signed(),
        "what signs no more is gone"
    );
}

#[test]
fn a_secret_that_nothing_opens_any_more_is_replaced_and_signs_nothing() {
    let (store, dir) = store();
    shown(&store, "1", 1);
    store.make_webhook_secret("2", bytes(2)).wait().unwrap();
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    other
        .execute("UPDATE webhook_secrets SET sealed = x'0203'", [])
        .unwrap();
    assert!(store.webhook_secrets("1").unwrap().is_none());
    // Whoever sends gets one that signs, and whoever asks for it sees that one.
    let made = store.make_webhook_secret("1", bytes(3)).wait().unwrap();
    assert!(made.current == bytes(3) && made.previous.is_empty());
    assert_eq!(signing(&store, "1"), [3]);
    let seen = shown(&store, "1", 4);
    assert!(seen.secret == bytes(3) && seen.previous_until.is_none());
    // Also one that nobody has seen yet.
    assert!(shown(&store, "2", 5).secret == bytes(5));
}

/// The tables as they were before: one secret a key, and one before it.
#[test]
fn an_older_database_keeps_its_secrets_and_what_waits() {
    let (store, dir) = store();
    let job = cancelled(&store, "hooks.example");
    for byte in [1, 2] {
        shown(&store, "1", byte);
    }
    assert!(store.close(Duration::from_secs(10)));
    drop(store);
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    other
        .execute_batch(
            "ALTER TABLE webhook_secrets ADD COLUMN previous BLOB; \
             ALTER TABLE webhook_secrets ADD COLUMN previous_until INTEGER; \
             UPDATE webhook_secrets SET (previous, previous_until) = \
               (SELECT sealed, until FROM webhook_old_secrets); \
             DROP TABLE webhook_old_secrets; DROP TABLE webhook_origins; DROP TABLE forge_jobs; DROP TABLE forge_deliveries; DROP TABLE forge_inbox; DROP TABLE audit; DROP TABLE artifacts; DROP TABLE secrets; DROP TABLE images; DROP TABLE blueprint; DROP TABLE cron_times; DROP TABLE sessions; DROP TABLE job_users; \
             ALTER TABLE api_keys DROP COLUMN expires_at; ALTER TABLE api_keys DROP COLUMN account; ALTER TABLE api_keys DROP COLUMN pipelines; ALTER TABLE api_keys DROP COLUMN user; \
             DROP INDEX webhooks_origin; DROP INDEX jobs_pending; DROP INDEX jobs_subject; \
             ALTER TABLE jobs DROP COLUMN team; ALTER TABLE jobs DROP COLUMN concurrency; ALTER TABLE jobs DROP COLUMN lane; ALTER TABLE jobs DROP COLUMN subject; ALTER TABLE jobs DROP COLUMN superseded_by; ALTER TABLE webhooks DROP COLUMN replays; \
             PRAGMA user_version = 6",
        )
        .unwrap();
    drop(other);
    let store = open(dir.path());
    assert_eq!(signing(&store, "1"), [2, 1]);
    assert_eq!(due(&store), [job]);
}

#[test]
fn neither_tokens_nor_secrets_stand_in_the_files_in_clear() {
    let (store, dir) = store();
    let job = submit(&store, "hooks.example");
    store.cancel(job, "admin").wait().unwrap();
    let secret = *b"wonderful-secret-24bytes";
    let answer = store.show_webhook_secret("1", secret).wait().unwrap();
    assert!(matches!(answer, ShowOutcome::Shown(_)));
    assert_eq!(store.webhook_address(job).unwrap().unwrap(), SECRET_URL);
    store.close(Duration::from_secs(10));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for text in [&b"s3cret-s3cret"[..], &secret[..]] {
            assert!(!bytes.windows(text.len()).any(|it| it == text));
        }
    }
    drop(open(dir.path()));
}

#[test]
fn addresses_and_secrets_outlive_a_rotation_of_the_sealing_key() {
    let (store, dir) = store();
    let job = submit(&store, "hooks.example");
    for byte in [1, 2, 3] {
        assert!(shown(&store, "1", byte).secret == bytes(byte));
    }
    rotate(&store);
    let store = reopened(store, dir.path());
    assert_eq!(store.webhook_address(job).unwrap().unwrap(), SECRET_URL);
    assert_eq!(signing(&store, "1"), [3, 2, 1]);
}
