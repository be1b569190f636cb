//! What a driver was told, and whether the master still keeps to it.
//!
//! The names I1 to I10 are those of the promises in `docs/reliability.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rusqlite::Connection;
use serde_json::Value;

use super::load::Plan;
use crate::master::{Master, is_terminal};
use crate::processes;

/// Jobs of one page.
const PAGE: usize = 1_000;

/// Bytes of the header and of each record of a log's index.
const RECORD_BYTES: usize = 48;

/// The kind of a record that says where an attempt begins.
const KIND_ATTEMPT: u8 = 2;

/// Everything that one driver was told, by all its threads.
#[derive(Default)]
pub(crate) struct History {
    told: Mutex<Told>,
    /// Jobs run on workers elsewhere, which live on when a master dies and may die alone.
    elsewhere: bool,
    /// The disk refuses what it is asked for while the master lives.
    pub(crate) is_bad_disk: bool,
    /// The power goes: an index may have lost more than its text.
    loses_power: bool,
}

#[derive(Default, Clone)]
struct Told {
    /// Accepted with 202, by id.
    accepted: BTreeMap<String, Plan>,
    /// The id that each idempotency key was answered with.
    keys: BTreeMap<String, String>,
    /// Cancels answered with 202, and the attempt that ran then.
    cancelled: BTreeMap<String, u64>,
    /// Ends that were shown.
    ended: BTreeMap<String, End>,
    /// The longest log that was shown.
    logs: BTreeMap<String, Vec<u8>>,
}

/// What must never change once it was shown.
#[derive(Debug, Clone, PartialEq)]
struct End {
    status: Value,
    exit_code: Value,
    reason: Value,
    finished_at: Value,
    attempt: Value,
}

impl End {
    fn of(job: &Value) -> Self {
        let [status, exit_code, reason, finished_at, attempt] =
            ["status", "exit_code", "reason", "finished_at", "attempt"].map(|it| job[it].clone());
        Self {
            status,
            exit_code,
            reason,
            finished_at,
            attempt,
        }
    }
}

impl History {
    /// Of jobs that run on workers elsewhere.
    pub(crate) fn elsewhere() -> Self {
        Self {
            elsewhere: true,
            ..Self::default()
        }
    }

    /// Of a disk that refuses what it is asked for.
    pub(crate) fn on_a_bad_disk() -> Self {
        Self {
            is_bad_disk: true,
            ..Self::default()
        }
    }

    /// Of a machine whose power goes.
    pub(crate) fn of_power_cuts() -> Self {
        Self {
            loses_power: true,
            ..Self::default()
        }
    }

    /// The power went: of a log that was still being written, the last second may be gone,
    /// although it was shown.
    pub(crate) fn power_went(&self) {
        let mut told = self.lock();
        let Told { ended, logs, .. } = &mut *told;
        logs.retain(|id, _| ended.contains_key(id));
    }

    /// A submit was answered with 202.
    pub(crate) fn accepted(&self, plan: &Plan, job: &Value) {
        let id = job["id"].as_str().expect("an id").to_owned();
        {
            let mut told = self.lock();
            let before = told.keys.insert(plan.key.clone(), id.clone());
            assert!(
                before.is_none() || before.as_ref() == Some(&id),
                "the key {} made two jobs: {before:?} and {id}",
                plan.key
            );
            told.accepted.insert(id, plan.clone());
        }
        self.seen(job);
    }

    /// A cancel was answered with 202.
    pub(crate) fn cancelled(&self, job: &Value) {
        let id = job["id"].as_str().expect("an id").to_owned();
        let attempt = job["attempt"].as_u64().expect("an attempt");
        self.lock().cancelled.insert(id, attempt);
        self.seen(job);
    }

    /// A job was shown, in whatever state. I2: an end that was shown stays.
    pub(crate) fn seen(&self, job: &Value) {
        if !is_terminal(job) {
            return;
        }
        let id = job["id"].as_str().expect("an id").to_owned();
        let now = End::of(job);
        let before = self.lock().ended.insert(id.clone(), now.clone());
        assert!(
            before.is_none() || before.as_ref() == Some(&now),
            "I2: the end of {id} changed from {before:?} to {now:?}"
        );
    }

    /// A log was shown, as far as it had come.
    pub(crate) fn read(&self, id: &str, log: Vec<u8>) {
        let mut told = self.lock();
        let longest = told.logs.entry(id.to_owned()).or_default();
        let (short, long) = if log.len() < longest.len() {
            (&log, &*longest)
        } else {
            (&*longest, &log)
        };
        assert!(long.starts_with(short), "I5: the log of {id} changed");
        if log.len() > longest.len() {
            *longest = log;
        }
    }

    /// The jobs that were accepted.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().accepted.keys().cloned().collect()
    }

    /// What must hold at any moment after a start: I1, I2, and I3 as far as one
    /// look can tell.
    pub(crate) fn check_running(&self, master: &Master) {
        // First, because others may be accepted meanwhile.
        let accepted = self.ids();
        let jobs = list(master);
        let there: BTreeSet<&str> = jobs.iter().filter_map(|it| it["id"].as_str()).collect();
        let lost: Vec<String> = accepted
            .into_iter()
            .filter(|it| !there.contains(it.as_str()))
            .collect();
        assert!(lost.is_empty(), "I1: accepted and gone: {lost:?}");
        let worker = format!("local-{}", master.pid());
        for job in &jobs {
            self.seen(job);
            let is_held = ["scheduling", "running"]
                .iter()
                .any(|it| job["status"] == *it);
            assert!(
                self.elsewhere || !is_held || job["worker_id"] == *worker,
                "I3: its owner is dead: {job}"
            );
        }
    }

    /// What was told so far, for a backup that is taken now.
    pub(crate) fn so_far(&self) -> Self {
        Self {
            told: Mutex::new(self.lock().clone()),
            elsewhere: self.elsewhere,
            is_bad_disk: self.is_bad_disk,
            loses_power: self.loses_power,
        }
    }

    /// What must hold once everything has ended. Returns the jobs.
    pub(crate) fn check_ended(&self, master: &Master) -> Vec<Value> {
        self.check_each_ended(master);
        let jobs = list(master);
        assert_eq!(
            jobs.len(),
            self.ids().len(),
            "a submit that was repeated made two jobs"
        );
        jobs
    }

    /// The same where there may be other jobs, too.
    pub(crate) fn check_each_ended(&self, master: &Master) {
        for id in self.ids() {
            // I3: each ends, or this finds no end of its log.
            let job = master.ended(&id);
            self.seen(&job);
            let (plan, cancelled) = {
                let told = self.lock();
                (told.accepted[&id].clone(), told.cancelled.get(&id).copied())
            };
            let moves = master.get(&format!("/api/v1/jobs/{id}/history")).json();
            let moves = moves["transitions"].as_array().expect("a list");
            let why = if self.elsewhere || self.is_bad_disk {
                "fell silent"
            } else {
                "the master was restarted"
            };
            check_moves(&job, moves, (cancelled, why));
            let log = master.log(&id);
            let (whole, missing) = with_gaps(&log);
            assert_eq!(job["log_bytes"], whole.len(), "I5: {job}");
            let said = job["log_missing_bytes"].as_u64().unwrap_or(0);
            // What a disk refuses to take can't be marked there either: then the job alone says
            // that the end is missing.
            let is_marked = said == missing || (self.is_bad_disk && missing < said);
            assert!(is_marked, "I5: {missing} of {said} are marked: {job}");
            assert!(said == 0 || job["log_complete"] == false, "I5: {job}");
            let starts = starts(&master.dir, &id, !whole.is_empty());
            let is_known = starts.first().is_none_or(|it| *it == 0);
            assert!(is_known || self.loses_power, "{starts:?} {job}");
            let mut parts = cut_at(&starts, &whole);
            if self.loses_power {
                parts = parts
                    .into_iter()
                    .flat_map(|it| unmarked(&plan, it))
                    .collect();
            }
            // Nothing comes behind what is missing of an attempt: its master died.
            parts.iter_mut().for_each(|it| *it = without_end(it));
            if self.is_bad_disk {
                check_log_on_a_bad_disk((&plan, &job, moves), &parts);
            } else {
                check_log((&plan, &job, moves), &parts);
            }
            let shown = self.lock().logs.get(&id).map_or(0, Vec::len);
            assert!(
                shown <= log.len(),
                "I5: bytes that were shown are gone: {job}"
            );
            self.read(&id, log);
            processes::all_gone(&id);
        }
        self.check_running(master);
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no thread panicked with it")
    }
}

/// I2 and I9: one end, and every attempt tells how it began and ended.
fn check_moves(job: &Value, moves: &[Value], (cancelled_in, why): (Option<u64>, &str)) {
    let count = |cause: &str| moves.iter().filter(|it| it["cause"] == cause).count() as u64;
    let ends: Vec<&Value> = moves
        .iter()
        .filter(|it| is_terminal_word(&it["to"]))
        .collect();
    assert_eq!(ends.len(), 1, "I2: {moves:#?}");
    assert_eq!(ends[0], moves.last().expect("one"), "I2: {moves:#?}");
    assert_eq!(ends[0]["to"], job["status"], "I2: {moves:#?}");
    for pair in moves.windows(2) {
        assert_eq!(
            pair[0]["to"], pair[1]["from"],
            "a move is missing: {moves:#?}"
        );
    }
    assert_eq!(
        job["attempt"].as_u64(),
        Some(count("claimed")),
        "I9: {job} {moves:#?}"
    );
    let reason = job["reason"].as_str().unwrap_or_default();
    if count("lease_lost") > 0 && job["status"] != "cancelled" {
        assert!(reason.contains("worker lost"), "I9: {job} {moves:#?}");
    }
    for lost in moves.iter().filter(|it| it["cause"] == "lease_lost") {
        let detail = lost["detail"].as_str().unwrap_or_default();
        let is_restored = detail.contains("restored from the backup of");
        assert!(detail.contains(why) || is_restored, "I9: {moves:#?}");
    }
    if let Some(attempt) = cancelled_in {
        assert_eq!(
            job["attempt"], attempt,
            "it ran again after its cancel: {job} {moves:#?}"
        );
    }
}

fn is_terminal_word(status: &Value) -> bool {
    is_terminal(&serde_json::json!({"status": status}))
}

/// I5: each attempt's part of the log is a gap-free prefix of what it wrote,
/// whole after a success; what may be missing is admitted.
fn check_log((plan, job, moves): (&Plan, &Value, &[Value]), parts: &[&[u8]]) {
    let count = |cause: &str| moves.iter().filter(|it| it["cause"] == cause).count();
    let whole = plan.output();
    for part in parts {
        let text = String::from_utf8_lossy(part);
        assert!(whole.starts_with(&*text), "I5: no prefix: {text:?} {job}");
    }
    // An attempt that never reached its worker wrote nothing, and misses nothing.
    let silent = count("claimed").saturating_sub(count("started"));
    let cut: Vec<_> = parts.iter().filter(|it| **it != whole.as_bytes()).collect();
    let is_whole = cut.len() <= silent && cut.iter().all(|it| it.is_empty());
    match job["status"].as_str() {
        Some("success") => {
            let last = parts
                .last()
                .map(|it| String::from_utf8_lossy(it).into_owned());
            assert_eq!(last, Some(whole), "I5: not whole after a success: {job}");
            assert!(
                is_whole || job["log_complete"] == false,
                "I5: {job} {moves:#?}"
            );
            assert!(
                job["attempt"] != 1 || job["log_complete"] == true,
                "I5: {job}"
            );
        }
        Some("cancelled") => assert!(plan.is_cancelled, "nobody asked for it: {job}"),
        Some("failure") => {
            // What was handed back before it ran is no loss.
            assert!(
                !plan.retry_on_lost || count("lease_lost") == 3,
                "given up too early: {job} {moves:#?}"
            );
        }
        other => panic!("nobody asked for {other:?}: {job}"),
    }
    if !plan.retry_on_lost {
        let ran = parts.iter().filter(|it| !it.is_empty()).count();
        assert!(ran <= 1, "it may run once at most: {job} {moves:#?}");
    }
}

/// The same where the disk refused: a log that couldn't be opened is a reason to fail, and
/// one that couldn't be synced is not called whole, although it may be.
fn check_log_on_a_bad_disk(told: (&Plan, &Value, &[Value]), parts: &[&[u8]]) {
    let (plan, job, _) = told;
    let reason = job["reason"].as_str().unwrap_or_default();
    let has_failed = job["status"] == "failure" && reason.contains("job log");
    let has_no_log = job["attempt"] == 0;
    if !has_failed && (has_no_log || job["log_complete"] == true) {
        return check_log(told, parts);
    }
    let whole = plan.output();
    for part in parts {
        let text = String::from_utf8_lossy(part);
        assert!(whole.starts_with(&*text), "I5: no prefix: {text:?} {job}");
    }
    assert!(has_failed || job["status"] != "failure", "{job}");
    assert_eq!(job["log_complete"], false, "I5: {job}");
}

/// What stands in a log for each byte that it says is missing. No plan prints it.
const MISSING: u8 = 0;

/// A log as it was shown, with as many bytes as it ever had; and how many of them it says
/// are missing.
fn with_gaps(shown: &[u8]) -> (Vec<u8>, u64) {
    const BEGIN: &str = "\n[danube: ";
    let (mut whole, mut all) = (Vec::new(), 0);
    // Plans print nothing but ASCII.
    let mut rest = std::str::from_utf8(shown).expect("I5: no plan prints this");
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (missing, after) = after
            .split_once(" bytes are missing here")
            .expect("a number");
        let missing: u64 = missing.parse().expect("a number");
        whole.extend_from_slice(before.as_bytes());
        whole.resize(
            whole.len() + usize::try_from(missing).expect("a small log"),
            MISSING,
        );
        all += missing;
        rest = after.split_once("]\n").expect("an end").1;
    }
    whole.extend_from_slice(rest.as_bytes());
    (whole, all)
}

/// An attempt's part of a log without what is missing at its end.
fn without_end(part: &[u8]) -> &[u8] {
    let end = part.iter().rposition(|it| *it != MISSING);
    &part[..end.map_or(0, |it| it + 1)]
}

/// The log cut where its index says that an attempt begins.
pub(crate) fn attempts<'a>(dir: &Path, id: &str, log: &'a [u8]) -> Vec<&'a [u8]> {
    let starts = starts(dir, id, !log.is_empty());
    assert!(starts.first().is_none_or(|it| *it == 0), "{starts:?}");
    cut_at(&starts, log)
}

/// A part of a log in which a power cut may have taken the marks of attempts: cut wherever one
/// begins, and where something is missing.
fn unmarked<'a>(plan: &Plan, part: &'a [u8]) -> Vec<&'a [u8]> {
    let output = plan.output();
    let (first, _) = output.split_once('\n').expect("a line at least");
    let first = format!("{first}\n");
    let begins = |at: &usize| part[*at..].starts_with(first.as_bytes());
    let starts: Vec<usize> = (0..part.len()).filter(begins).collect();
    let pieces = cut_at(&starts, part).into_iter();
    pieces
        .flat_map(|it| it.split(|byte| *byte == MISSING))
        .filter(|it| !it.is_empty())
        .collect()
}

/// Where attempts begin in a log, as its index says; the first at 0 where it says nothing.
fn starts(dir: &Path, id: &str, has_bytes: bool) -> Vec<usize> {
    let index = fs::read(dir.join(format!("logs/{id}.idx"))).unwrap_or_default();
    let records = index.chunks_exact(RECORD_BYTES).skip(1);
    let mut starts: Vec<usize> = records
        .filter(|it| it[0] == KIND_ATTEMPT)
        .map(|it| u64::from_le_bytes(it[8..16].try_into().expect("8 bytes")))
        .map(|it| usize::try_from(it).expect("an offset of a small log"))
        .collect();
    if starts.is_empty() && has_bytes {
        starts.push(0);
    }
    starts
}

/// The log in pieces that begin there, and one before the first where there are bytes.
fn cut_at<'a>(starts: &[usize], log: &'a [u8]) -> Vec<&'a [u8]> {
    let before = starts.first().filter(|it| **it > 0).map(|_| &0);
    let starts: Vec<usize> = before.into_iter().chain(starts).copied().collect();
    let ends = starts.iter().skip(1).copied().chain([log.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(from, to)| &log[*from..to])
        .collect()
}

/// Every job that the master knows.
fn list(master: &Master) -> Vec<Value> {
    let mut jobs = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = master.get(&format!("/api/v1/jobs?limit={PAGE}{cursor}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        jobs.extend(page["jobs"].as_array().expect("a list").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return jobs,
        }
    }
}

/// I10, on a copy: looking at the original would change its files.
pub(crate) fn check_database(dir: &Path) {
    let copy = tempfile::tempdir().expect("make a directory");
    // A journal is there only while a new database is made.
    for name in ["danube.db", "danube.db-wal", "danube.db-journal"] {
        let from = dir.join(name);
        if from.exists() {
            fs::copy(&from, copy.path().join(name)).expect("copy the database");
        }
    }
    let connection = Connection::open(copy.path().join("danube.db")).expect("open the copy");
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("check the copy");
    assert_eq!(said, "ok", "I10");
}

#[cfg(test)]
mod tests {
    //! A checker that finds nothing wrong must be able to.

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde_json::json;

    use super::*;
    use crate::faults::load::Random;

    /// Whether the checker is content.
    fn holds(check: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(check)).is_ok()
    }

    fn plan() -> Plan {
        let mut plan = Plan::new("s0-1".to_owned(), &mut Random::new(1));
        (plan.retry_on_lost, plan.is_cancelled) = (true, false);
        plan
    }

    fn ended(status: &str, attempt: u64) -> Value {
        json!({
            "id": "one", "status": status, "attempt": attempt, "finished_at": "1970-01-01T00:00:00.000Z",
            "exit_code": 0, "reason": "worker lost once", "log_complete": attempt == 1,
        })
    }

    fn moved(from: &str, to: &str, cause: &str) -> Value {
        json!({"from": from, "to": to, "cause": cause, "detail": "the master was restarted while it ran"})
    }

    #[test]
    fn a_job_that_becomes_another_is_noticed() {
        let history = History::default();
        history.accepted(&plan(), &json!({"id": "one", "status": "pending"}));
        let other = json!({"id": "two", "status": "pending"});
        assert!(!holds(|| history.accepted(&plan(), &other)));

        let history = History::default();
        history.seen(&ended("success", 1));
        history.seen(&ended("success", 1));
        assert!(!holds(|| history.seen(&ended("failure", 1))));

        let history = History::default();
        history.read("one", b"ab".to_vec());
        history.read("one", b"a".to_vec());
        history.read("one", b"abc".to_vec());
        assert!(!holds(|| history.read("one", b"axc".to_vec())));
    }

    #[test]
    fn a_wrong_log_is_noticed() {
        let output = plan().output();
        let whole = output.as_bytes();
        let with = |job: &Value, causes: &[&str], parts: &[&[u8]]| {
            let moves: Vec<Value> = causes.iter().map(|it| json!({"cause": it})).collect();
            holds(|| check_log((&plan(), job, &moves), parts))
        };
        let check = |job: &Value, parts: &[&[u8]]| with(job, &["claimed", "started"], parts);
        let success = ended("success", 1);
        assert!(check(&success, &[whole]));
        assert!(!check(&success, &[&whole[..whole.len() - 1]]), "torn");
        assert!(!check(&success, &[&whole[1..]]), "without its beginning");
        assert!(!check(&success, &[&[whole, whole].concat()]), "twice");
        assert!(!check(&success, &[]), "empty");
        let again = ended("success", 2);
        assert!(check(&again, &[&whole[..5], whole]));
        assert!(!check(&again, &[whole, &whole[..5]]));
        let silent = json!({"status": "success", "attempt": 2, "log_complete": true});
        assert!(!check(&silent, &[&whole[..5], whole]), "not admitted");
        assert!(!check(&ended("cancelled", 1), &[whole]), "nobody asked");
        let lost = ["lease_lost"; 3];
        let failure = ended("failure", 4);
        assert!(with(&failure, &lost, &[whole]));
        assert!(!with(&failure, &lost[1..], &[whole]), "too early");
        // One that never reached its worker.
        let causes = ["claimed", "handed_back", "claimed", "started"];
        assert!(with(&silent, &causes, &[b"", whole]));
        assert!(!with(&silent, &causes, &[&whole[..5], whole]));
        assert!(!with(&silent, &causes, &[b"", b"", whole]));
    }

    #[test]
    fn what_a_log_says_is_missing_counts_and_stands_where_it_was() {
        let shown = b"ab\n\n[danube: 3 bytes are missing here: lost]\nab\nabc\n";
        let (whole, missing) = with_gaps(shown);
        assert_eq!(
            (whole.as_slice(), missing),
            (&b"ab\n\0\0\0ab\nabc\n"[..], 3)
        );
        assert_eq!(without_end(&whole[..6]), b"ab\n");
        assert_eq!(with_gaps(b"ab\n"), (b"ab\n".to_vec(), 0));
        // Three attempts: cut off in a line, missing something, and after a line.
        let (one, two) = ("s0-1 line 1\n", "s0-1 li");
        let log = format!("{one}{two}{one}\0\0{one}");
        let parts = unmarked(&plan(), log.as_bytes());
        assert_eq!(
            parts,
            [&*format!("{one}{two}"), one, one].map(str::as_bytes)
        );
    }

    #[test]
    fn a_wrong_history_is_noticed() {
        let check = |job: &Value, moves: &[Value], cancelled| {
            holds(|| check_moves(job, moves, (cancelled, "restarted")))
        };
        let claimed = moved("pending", "scheduling", "claimed");
        let lost = moved("scheduling", "pending", "lease_lost");
        let done = moved("scheduling", "success", "succeeded");
        let good = [claimed.clone(), lost.clone(), claimed.clone(), done.clone()];
        assert!(check(&ended("success", 2), &good, None));
        assert!(
            !check(&ended("success", 1), &good, None),
            "an attempt too many"
        );
        assert!(!check(&ended("failure", 2), &good, None), "another end");
        assert!(
            !check(&ended("success", 2), &good, Some(1)),
            "after its cancel"
        );
        assert!(!check(&ended("success", 2), &good[..3], None), "no end");
        let twice = [&good[..], &[done]].concat();
        assert!(!check(&ended("success", 2), &twice, None), "two ends");
        let torn = [claimed.clone(), claimed, good[3].clone()];
        assert!(
            !check(&ended("success", 2), &torn, None),
            "a move is missing"
        );
        let mut silent = ended("success", 2);
        silent["reason"] = Value::Null;
        assert!(!check(&silent, &good, None), "no reason");
    }
}
