//! Accepts, cancels and retries jobs.

use std::time::Duration;

use danube_model::spec::Superseded;
use danube_model::{Cause, Follows, Job, JobId, Order, PlaybookJob, Timestamp, Trace, Trigger};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use crate::open::Shared;
use crate::readers::Readers;
use crate::rows::{self, Record, Turn, columns};
use crate::seal::Sealer;
use crate::writer::Tx;
use crate::{
    CancelOutcome, Idempotency, NewJob, Retry, RetryOutcome, StoreError, Submitted, admission,
    forges, moves, playbooks, sight, webhooks,
};

/// The purpose under which orders are sealed.
pub(crate) const ORDER: &str = "order";

/// The jobs about the same that haven't ended, oldest first.
pub(crate) const OLDER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM jobs INDEXED BY jobs_subject WHERE subject = ?1 \
     AND state IN ('pending', 'scheduling', 'running') ORDER BY seq LIMIT ?2"
);

/// Expired idempotency keys removed by each submit that brings one: more than
/// it adds, so that they never pile up, and few, so that nobody waits for it.
const PURGED_AT_ONCE: i64 = 8;

/// The secret parts of a submit, made unreadable before they are queued.
pub(crate) struct Sealed {
    order: Vec<u8>,
    idempotency: Option<Entry>,
    callback: Option<Vec<u8>>,
}

struct Entry {
    fingerprint: [u8; 32],
    body: [u8; 32],
}

impl Sealed {
    pub(crate) fn new(sealer: &Sealer, job: &NewJob) -> Result<Self, StoreError> {
        Ok(Self {
            order: seal_order(sealer, job.id, &job.order)?,
            idempotency: job
                .idempotency
                .as_ref()
                .map(|it| Entry::new(sealer, &job.owner, it)),
            callback: job
                .callback
                .as_ref()
                .map(|it| webhooks::seal(sealer, job.id, &it.url))
                .transpose()?,
        })
    }

    /// How much room it takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        self.order.len()
    }
}

impl Entry {
    fn new(sealer: &Sealer, owner: &str, given: &Idempotency) -> Self {
        Self {
            fingerprint: sealer.hash("idempotency key", &[owner.as_bytes(), given.key.as_bytes()]),
            body: sealer.hash("idempotency body", &[&given.body_sha256]),
        }
    }
}

pub(crate) fn submit(tx: &Tx<'_>, new: &NewJob, sealed: &Sealed) -> Result<Submitted, StoreError> {
    if let Some(entry) = &sealed.idempotency
        && let Some(record) = replay(tx.connection, entry, expired_before(tx.shared, tx.now))?
    {
        return Ok(Submitted {
            job: full(tx, record)?,
            replayed: true,
            superseded: Vec::new(),
        });
    }
    let rules = admission::rules(&new.order);
    let subject = (rules.cancel_superseded != Superseded::None)
        .then_some(new.subject.as_deref())
        .flatten();
    let subject = subject.map(|it| admission::subject(tx, &new.order, it));
    let older = admission::older(tx, subject.as_ref(), rules.cancel_superseded)?;
    admission::check(tx, (new.order.task.name(), rules.max_pending), &older)?;
    let turn = Turn {
        team: rules.team.unwrap_or_default(),
        concurrency: rules.concurrency,
        subject,
    };
    let record = record(tx, new, turn);
    let superseded = admission::supersede(tx, older, (new.id, &new.submitted_by))?;
    let seq = if tx.shared.sealer.is_current(&sealed.order) {
        insert(tx, &record, &sealed.order)?
    } else {
        // The key was rotated while this waited; nothing new may need the old one.
        insert(
            tx,
            &record,
            &seal_order(&tx.shared.sealer, new.id, &new.order)?,
        )?
    };
    sight::belongs_to(tx, seq, &new.owner)?;
    owe_webhook(tx, seq, new, sealed)?;
    if let Some(from) = &new.order.forge {
        forges::insert(tx, seq, from)?;
    }
    if let Some(entry) = &sealed.idempotency {
        remember(tx, entry, new.id)?;
    }
    Ok(Submitted {
        job: record.job,
        replayed: false,
        superseded,
    })
}

/// The record of a new job.
fn record(tx: &Tx<'_>, new: &NewJob, turn: Turn) -> Record {
    Record {
        seq: 0,
        job: Job {
            id: new.id,
            kind: new.order.task.kind(),
            pipeline: new.order.task.name().to_owned(),
            state: moves::FIRST,
            trigger: new.trigger,
            trigger_ref: new.order.git_ref.clone(),
            submitted_by: new.submitted_by.clone(),
            queue: new.queue.clone(),
            attempt: 0,
            retry_of: None,
            created_at: tx.now,
            started_at: None,
            finished_at: None,
            exit_code: None,
            reason: None,
            worker_id: None,
            trace_id: new.trace_id.clone(),
            traceparent: new.traceparent.clone(),
            cancel_asked: false,
            cancelled_by: None,
            log_bytes: 0,
            log_complete: None,
            log_missing_bytes: 0,
            log_deleted_at: None,
            steps: Vec::new(),
            playbook: new.order.task.playbook().map(|it| PlaybookJob {
                source_type: it.source.kind().as_str().to_owned(),
                source: it.source.shown().to_string(),
                progress: None,
            }),
        },
        retry_on_lost: new.retry_on_lost,
        losses: 0,
        fence: 0,
        moves: 0,
        cancel_by: None,
        superseded_by: None,
        turn,
    }
}

/// The new job's webhook, if its end is to be told.
fn owe_webhook(tx: &Tx<'_>, seq: i64, new: &NewJob, sealed: &Sealed) -> Result<(), StoreError> {
    let Some(callback) = &new.callback else {
        return Ok(());
    };
    let (sealer, owed) = (&tx.shared.sealer, (seq, &*new.owner));
    match &sealed.callback {
        Some(sealed) if sealer.is_current(sealed) => webhooks::insert(tx, owed, callback, sealed),
        // The key was rotated while this waited, as for the order.
        _ => {
            let sealed = webhooks::seal(sealer, new.id, &callback.url)?;
            webhooks::insert(tx, owed, callback, &sealed)
        }
    }
}

pub(crate) fn cancel(tx: &Tx<'_>, id: JobId, by: &str) -> Result<CancelOutcome, StoreError> {
    let Some(mut record) = rows::find(tx.connection, id)? else {
        return Ok(CancelOutcome::NotFound);
    };
    let state = record.job.state;
    if state.is_terminal() {
        return full(tx, record).map(CancelOutcome::AlreadyEnded);
    }
    if state.is_leased() {
        if record.cancel_by.is_none() {
            tx.connection
                .prepare_cached("UPDATE jobs SET cancel_by = ?2 WHERE seq = ?1")?
                .execute((record.seq, by))?;
            record.job.cancel_asked = true;
            record.job.cancelled_by = Some(by.to_owned());
        }
        return full(tx, record).map(CancelOutcome::Asked);
    }
    record.job.reason = Some(cancelled_by(by));
    moves::apply(tx, &mut record, &Cause::CancelAsked, by, None)?;
    full(tx, record).map(CancelOutcome::Cancelled)
}

/// The reason of a job that somebody cancelled.
fn cancelled_by(by: &str) -> String {
    format!("cancelled by {by}")
}

/// The reason of a job that was asked to be cancelled.
pub(crate) fn cancel_reason(record: &Record) -> Option<String> {
    match record.superseded_by {
        Some(newer) => Some(format!("superseded by job {newer}")),
        None => record.cancel_by.as_deref().map(cancelled_by),
    }
}

/// With `approve`, a job that a fork's commit made may have from now on what its pipeline may.
pub(crate) fn retry(tx: &Tx<'_>, retry: &Retry, approve: bool) -> Result<RetryOutcome, StoreError> {
    let Some(mut record) = rows::find(tx.connection, retry.job)? else {
        return Ok(RetryOutcome::NotFound);
    };
    if !record.job.state.is_terminal() {
        return full(tx, record).map(RetryOutcome::NotEnded);
    }
    let mut order = order(tx, &record)?;
    if let Some(from) = order.forge.as_mut().filter(|_| approve) {
        from.approved_by = Some(retry.by.clone());
    }
    order.trace = Trace {
        follows: Some(Follows {
            job: record.job.id.to_string(),
            traceparent: record.job.traceparent.clone(),
            attempt: record.job.attempt,
        }),
        ..retry.trace.clone()
    };
    let sealed = seal_order(&tx.shared.sealer, retry.new, &order)?;
    let rules = admission::rules(&order);
    // It is older work: newer jobs cancel it, it cancels none.
    admission::check(tx, (&record.job.pipeline, rules.max_pending), &[])?;
    let old = record.job;
    record.job = Job {
        id: retry.new,
        kind: old.kind,
        pipeline: old.pipeline,
        state: moves::FIRST,
        trigger: Trigger::Retry,
        trigger_ref: old.trigger_ref,
        submitted_by: retry.by.clone(),
        queue: old.queue,
        attempt: 0,
        retry_of: Some(old.id),
        created_at: tx.now,
        started_at: None,
        finished_at: None,
        exit_code: None,
        reason: None,
        worker_id: None,
        trace_id: retry.trace_id.clone(),
        traceparent: retry.traceparent.clone(),
        cancel_asked: false,
        cancelled_by: None,
        log_bytes: 0,
        log_complete: None,
        log_missing_bytes: 0,
        log_deleted_at: None,
        steps: Vec::new(),
        playbook: old.playbook,
    };
    record.superseded_by = None;
    let (old, old_seq) = (old.id, record.seq);
    let seq = insert(tx, &record, &sealed)?;
    sight::belongs_to(tx, seq, &retry.owner)?;
    webhooks::copy(tx, (old, old_seq), (retry.new, seq))?;
    if let Some(from) = &order.forge {
        forges::insert(tx, seq, from)?;
    }
    Ok(RetryOutcome::Made(record.job))
}

/// What the job is asked to do.
pub(crate) fn order(tx: &Tx<'_>, record: &Record) -> Result<Order, StoreError> {
    order_of(tx.connection, &tx.shared.sealer, record)
}

/// The same outside a transaction.
pub(crate) fn order_of(
    connection: &Connection,
    sealer: &Sealer,
    record: &Record,
) -> Result<Order, StoreError> {
    let sealed: Vec<u8> = connection
        .prepare_cached("SELECT sealed FROM orders WHERE seq = ?1")?
        .query_row([record.seq], |row| row.get(0))?;
    let id = record.job.id;
    let text = sealer.unseal(ORDER, id.as_bytes(), &sealed);
    text.and_then(|it| serde_json::from_slice(&it).ok())
        .ok_or(StoreError::Unreadable(id))
}

/// The job with its steps and its playbook's progress.
pub(crate) fn full(tx: &Tx<'_>, mut record: Record) -> Result<Job, StoreError> {
    complete(tx.connection, &mut record)?;
    Ok(record.job)
}

/// Adds what its row doesn't hold.
pub(crate) fn complete(connection: &Connection, record: &mut Record) -> Result<(), StoreError> {
    record.job.steps = rows::steps(connection, record)?;
    let attempt = (record.seq, record.job.attempt);
    if let Some(playbook) = &mut record.job.playbook {
        playbook.progress = playbooks::progress(connection, attempt)?;
    }
    Ok(())
}

pub(crate) fn seal_order(sealer: &Sealer, id: JobId, order: &Order) -> Result<Vec<u8>, StoreError> {
    let plain = serde_json::to_vec(order)
        .map_err(|error| StoreError::Internal(format!("write an order: {error}")))?;
    sealer.seal(ORDER, id.as_bytes(), &plain)
}

/// Adds a pending job. What is NULL or 0 before the first claim isn't named.
fn insert(tx: &Tx<'_>, record: &Record, sealed: &[u8]) -> Result<i64, StoreError> {
    let job = &record.job;
    let playbook = job.playbook.as_ref();
    let turn = &record.turn;
    let lane = turn.concurrency.map_or("", |_| &job.pipeline);
    let inserted = tx
        .connection
        .prepare_cached(
            "INSERT INTO jobs (id, kind, pipeline, state, trigger_type, trigger_ref, \
             submitted_by, queue, retry_on_lost, retry_of, trace_id, traceparent, created_at, \
             source_type, source, team, concurrency, lane, subject, \
             attempt, losses, fence, moves, log_bytes, log_missing_bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
             ?16, ?17, ?18, ?19, 0, 0, 0, 0, 0, 0)",
        )?
        .insert(rusqlite::params![
            job.id.as_bytes(),
            job.kind.as_str(),
            &job.pipeline,
            job.state.as_str(),
            job.trigger.as_str(),
            &job.trigger_ref,
            &job.submitted_by,
            &record.job.queue,
            record.retry_on_lost,
            job.retry_of.as_ref().map(JobId::as_bytes),
            &job.trace_id,
            &job.traceparent,
            job.created_at.as_millis(),
            playbook.map(|it| &it.source_type),
            playbook.map(|it| &it.source),
            &turn.team,
            turn.concurrency,
            lane,
            &turn.subject,
        ]);
    let seq = inserted.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::JobExists(job.id),
        _ => error.into(),
    })?;
    tx.connection
        .prepare_cached("INSERT INTO orders (seq, sealed) VALUES (?1, ?2)")?
        .execute((seq, sealed))?;
    tx.moved(record, None);
    Ok(seq)
}

/// The same question without a submit behind it.
pub(crate) fn replayed(
    shared: &Shared,
    readers: &Readers,
    (owner, given): (&str, &Idempotency),
) -> Result<Option<Job>, StoreError> {
    let entry = Entry::new(&shared.sealer, owner, given);
    let since = expired_before(shared, Timestamp::now());
    readers.read(|connection| {
        let Some(mut record) = replay(connection, &entry, since)? else {
            return Ok(None);
        };
        complete(connection, &mut record)?;
        Ok(Some(record.job))
    })
}

/// The job of an earlier submit with the same key, if that is still kept.
fn replay(
    connection: &Connection,
    entry: &Entry,
    since: Timestamp,
) -> Result<Option<Record>, StoreError> {
    let known = connection
        .prepare_cached(
            "SELECT body, job FROM idempotency WHERE fingerprint = ?1 AND created_at > ?2",
        )?
        .query_row((&entry.fingerprint, since.as_millis()), |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, rows::id(row, 1)?))
        })
        .optional()?;
    let Some((body, id)) = known else {
        return Ok(None);
    };
    let Some(record) = rows::find(connection, id)? else {
        return Ok(None);
    };
    if body != entry.body {
        return Err(StoreError::IdempotencyConflict { job: id });
    }
    Ok(Some(record))
}

fn remember(tx: &Tx<'_>, entry: &Entry, id: JobId) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency (fingerprint, body, job, created_at) \
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            &entry.fingerprint,
            &entry.body,
            id.as_bytes(),
            tx.now.as_millis(),
        ))?;
    // The first entries are the oldest.
    tx.connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE entry IN \
             (SELECT entry FROM idempotency ORDER BY entry LIMIT ?1) AND created_at <= ?2",
        )?
        .execute((
            PURGED_AT_ONCE,
            expired_before(tx.shared, tx.now).as_millis(),
        ))?;
    Ok(())
}

/// Keys made at this moment or before count no more.
fn expired_before(shared: &Shared, now: Timestamp) -> Timestamp {
    let kept: Duration = shared.options.idempotency_kept;
    let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(kept))
}
