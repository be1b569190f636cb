//! Sends webhooks: from the store's outbox, until they are delivered or given up.
//!
//! One task looks at what is due whenever a commit says so, or the next one's time has come;
//! `decide` says what is sent now, and what follows an attempt. Each attempt is a task of its
//! own that blocks one thread for [`DEADLINE`] at most. What a crash leaves out is done again
//! after the start, under the same `webhook-id`.

mod decide;
mod message;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use danube_model::{Job, JobId, Kind, Timestamp};
use danube_outgoing::{Answer, Ask, Client, Done, Limits, Policy, Refused, Target};
use danube_signals::{
    JobSpans, Signals, Stretch, WebhookFailed, WebhookSent, WebhookTrace, webhook_span_id,
};
use danube_store::{
    AfterTry, DueWebhook, SECRET_BYTES, SigningSecrets, Store, StoreError, Tried, Wanted,
};
use danube_telemetry::TraceContext;
use danube_telemetry::trace::Clock;
use danube_worker::HttpCalls;
use danube_worker::trace::context_of;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::app::{App, Shared, blocking};
use crate::auth::random;
use crate::settings::WebhookSettings;
use crate::tell;
pub(crate) use decide::{Heard, after};
use decide::{PER_AILING_MAX, PER_ORIGIN_MAX, Sending, UnderWay, decide};
pub(crate) use message::{id, job_of, shown_secret};

/// How long a receiver may take, as Standard Webhooks suggests.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// How often it looks when nothing is due: a clock that was set back must not stop it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long it waits when the store can't be read or written.
const STORE_RETRY_EVERY: Duration = Duration::from_secs(2);

/// Who calls.
pub(crate) const USER_AGENT: &str = concat!("danube/", env!("CARGO_PKG_VERSION"));

/// What the sender has.
pub(crate) struct Webhooks {
    client: Client,
    settings: WebhookSettings,
    /// Rung when a webhook became due.
    bell: Arc<Notify>,
}

impl Webhooks {
    pub(crate) fn new(settings: &WebhookSettings, bell: Arc<Notify>, signals: &Signals) -> Self {
        let calls = Arc::new(HttpCalls(signals.clone()));
        Self {
            client: Client::new(policy(settings), USER_AGENT).metered(calls),
            settings: settings.clone(),
            bell,
        }
    }

    /// Judges an address that a submit names.
    pub(crate) fn check(&self, url: &str) -> Result<Target, Refused> {
        self.client.policy().check(url)
    }
}

fn policy(settings: &WebhookSettings) -> Policy {
    Policy {
        allow_private: settings.allow_private.clone(),
        allow_http: settings.allow_http,
    }
}

/// Sends for ever; ends with the server.
pub(crate) async fn run(app: Shared) {
    let mut sender = Sender::default();
    loop {
        let now = Timestamp::now();
        let looked = blocking({
            let (store, under_way) = (app.store.clone(), sender.under_way.clone());
            move || {
                let due = look(&store, &under_way, now)?;
                Ok::<_, StoreError>((due, store.next_webhook_due(now)?))
            }
        });
        let Ok(Ok((due, next))) = looked.await else {
            // Told by the database's health check.
            sleep(STORE_RETRY_EVERY).await;
            continue;
        };
        sender.start(&app, due);
        let until = next.map_or(LOOK_EVERY, |at| {
            let left = at.as_millis().saturating_sub(Timestamp::now().as_millis());
            // A millisecond later, so that it is due by then.
            Duration::from_millis(left.max(0).unsigned_abs() + 1).min(LOOK_EVERY)
        });
        tokio::select! {
            () = app.webhooks.bell.notified() => {}
            () = sender.one_ended() => {}
            () = sleep(until) => {}
        }
    }
}

/// What is due, as far as there are places for it: what that costs doesn't depend on how
/// much waits.
fn look(
    store: &Store,
    under_way: &UnderWay,
    now: Timestamp,
) -> Result<Vec<DueWebhook>, StoreError> {
    let (places, ailing_places) = under_way.places();
    let busy = &under_way.busy();
    let mut due = Vec::new();
    for (is_ailing, places, each) in [
        (false, places, PER_ORIGIN_MAX),
        (true, ailing_places, PER_AILING_MAX),
    ] {
        due.extend(store.due_webhooks(Wanted {
            now,
            is_ailing,
            places,
            each,
            busy,
        })?);
    }
    Ok(due)
}

/// The attempts that go on.
#[derive(Default)]
struct Sender {
    tasks: JoinSet<(JobId, Option<bool>)>,
    under_way: UnderWay,
}

impl Sender {
    fn start(&mut self, app: &Shared, due: Vec<DueWebhook>) {
        for webhook in decide(due, &self.under_way) {
            let sending = Sending {
                origin: webhook.origin.clone(),
                is_ailing: webhook.is_ailing,
            };
            self.under_way.0.insert(webhook.job, sending);
            self.tasks.spawn(attempt(app.clone(), webhook));
        }
    }

    /// Waits until an attempt ended; for ever when there is none.
    async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok((job, has_answered))) => self.under_way.ended(job, has_answered),
            // It panicked: whose it was isn't known any more, so all are looked at anew.
            Some(Err(_)) => {
                if self.tasks.is_empty() {
                    self.under_way = UnderWay::default();
                }
            }
        }
    }
}

/// One attempt, from the store to the store; whether the receiver answered, if it was
/// asked.
async fn attempt(app: Shared, webhook: DueWebhook) -> (JobId, Option<bool>) {
    let job = webhook.job;
    let own = app.clone();
    let sent = blocking(move || send(&own, &webhook).map(|it| (it, webhook))).await;
    let Ok(Some((sent, webhook))) = sent else {
        // The store can't be read: it stays due, and is tried again in a while.
        sleep(STORE_RETRY_EVERY).await;
        return (job, None);
    };
    let has_answered = sent.done.as_ref().is_some_and(|it| it.outcome.is_ok());
    let tried = Tried {
        job,
        at: sent.at,
        took: sent.took,
        status: sent.status(),
        error: sent.error.clone(),
        has_answered,
        replays: webhook.replays,
        next: sent.next,
    };
    // What isn't written down would be sent again at once, for ever.
    while let Err(error) = app.store.webhook_tried(tried.clone()).await {
        if error == StoreError::Closed {
            return (job, Some(has_answered));
        }
        sleep(STORE_RETRY_EVERY).await;
    }
    tell(&app, &webhook, &sent);
    (job, Some(has_answered))
}

/// What came of an attempt.
struct Sent {
    job: Job,
    /// The span that its own hangs below.
    parent: Option<[u8; 8]>,
    at: Timestamp,
    took: Duration,
    began: u64,
    /// Nothing when there was nobody to call.
    done: Option<Done>,
    next: AfterTry,
    error: Option<String>,
}

impl Sent {
    fn status(&self) -> Option<u16> {
        let answer = self.done.as_ref()?.outcome.as_ref().ok()?;
        Some(answer.status)
    }
}

/// Sends; none when the store can't be read.
fn send(app: &App, webhook: &DueWebhook) -> Option<Sent> {
    let job = app.store.job(webhook.job).ok()??;
    let address = app.store.webhook_address(webhook.job).ok()?;
    let secrets = secrets(app, &webhook.owner)?;
    let (at, since, began) = (Timestamp::now(), Instant::now(), Clock::start().began());
    let target = match &address {
        Some(url) => app
            .webhooks
            .check(url)
            .map_err(|why| format!("the address {why}")),
        None => Err("the address can't be unsealed".to_owned()),
    };
    let (done, heard) = match target {
        Ok(target) => {
            let (ask, body) = message(app, webhook, &job, &secrets);
            let done = app.webhooks.client.post(&target, &ask, body.as_bytes());
            let heard = match &done.outcome {
                Ok(answer) => Heard::Answer {
                    status: answer.status,
                    retry_after: retry_after(answer),
                },
                Err(failure) => Heard::Nothing(failure.to_string()),
            };
            (Some(done), heard)
        }
        Err(why) => (None, Heard::Nothing(why)),
    };
    let first_pause = app.webhooks.settings.retry;
    let verdict = after(&heard, webhook.round, first_pause, dice(), Timestamp::now());
    Some(Sent {
        parent: parent(app, &job),
        job,
        at,
        took: since.elapsed(),
        began,
        done,
        next: verdict.next,
        error: verdict.error,
    })
}

/// The owner's secrets, made when there are none yet.
fn secrets(app: &App, owner: &str) -> Option<SigningSecrets> {
    if let Some(known) = app.store.webhook_secrets(owner).ok()? {
        return Some(known);
    }
    let fresh = random::<SECRET_BYTES>();
    app.store.make_webhook_secret(owner, fresh).wait().ok()
}

/// Headers and body of a webhook.
fn message(app: &App, webhook: &DueWebhook, job: &Job, secrets: &SigningSecrets) -> (Ask, String) {
    let own = format!("http://{}", app.settings.listen);
    let base = app.settings.public_url.as_deref().unwrap_or(&own);
    let body = message::body(job, webhook.ended_at, base);
    let (id, seconds) = (id(job.id), Timestamp::now().as_millis() / 1_000);
    let signature = message::signature(secrets, &id, seconds, &body);
    let job_id = job.id.to_string();
    let spans = spans(&job_id, job);
    let context = TraceContext {
        span_id: webhook_span_id(&spans, webhook.attempt),
        ..spans.context
    };
    let ask = Ask {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
            ("traceparent", context.to_string()),
        ],
        limits: Limits {
            total: DEADLINE,
            ..Limits::default()
        },
        ..Ask::default()
    };
    (ask, body)
}

fn spans<'a>(job_id: &'a str, job: &Job) -> JobSpans<'a> {
    JobSpans {
        job_id,
        context: context_of(&job.traceparent),
    }
}

/// The span of a webhook hangs below the job's latest attempt. A job that was cancelled
/// before any has its request alone.
fn parent(app: &App, job: &Job) -> Option<[u8; 8]> {
    if job.attempt > 0 {
        let id = job.id.to_string();
        return Some(spans(&id, job).attempt(job.attempt).span_id);
    }
    let stored = app.store.job_trace(job.id).ok()??;
    stored.trace.request.map(|it| it.span_id)
}

/// When the receiver wants to be asked again: seconds, or a date.
pub(crate) fn retry_after(answer: &Answer) -> Option<Duration> {
    read_retry_after(answer.header("retry-after")?, SystemTime::now())
}

fn read_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    Some(SystemTime::from(at).duration_since(now).unwrap_or_default())
}

/// A number between 0 and 1.
pub(crate) fn dice() -> f64 {
    f64::from(u32::from_ne_bytes(random())) / f64::from(u32::MAX)
}

/// Tells what came of an attempt, in the log, the metrics and the job's trace.
fn tell(app: &App, webhook: &DueWebhook, sent: &Sent) {
    let _in_job = tell::span(&sent.job).entered();
    let job_id = sent.job.id.to_string();
    let is_playbook = sent.job.kind == Kind::Playbook;
    match (&sent.error, sent.status()) {
        (None, Some(status)) => app.signals.emit(WebhookSent {
            job_id: &job_id,
            callback_url: &webhook.shown,
            status_code: status.into(),
            attempt: webhook.attempt,
            is_playbook,
        }),
        (error, _) => app.signals.emit(WebhookFailed {
            job_id: &job_id,
            callback_url: &webhook.shown,
            error: error.as_deref().unwrap_or_default(),
            attempt: webhook.attempt,
            is_playbook,
        }),
    }
    let Some(call) = sent.done.as_ref().and_then(|it| it.calls.first()) else {
        return;
    };
    if sent.job.log_deleted_at.is_some() {
        // Its trace is gone too, and nobody would delete a new one.
        return;
    }
    let status = call.status.map(|it| it.to_string());
    let failed = sent.error.as_ref().and(call.error.or(status.as_deref()));
    let took = u64::try_from(call.took.as_nanos()).unwrap_or(u64::MAX);
    app.traces.webhook(&WebhookTrace {
        spans: spans(&job_id, &sent.job),
        parent: sent.parent,
        number: webhook.attempt,
        url: &call.url,
        host: &call.host,
        port: call.port,
        status: call.status,
        error_type: failed,
        time: Stretch {
            began: sent.began,
            ended: sent.began.saturating_add(took),
        },
    });
}

/// Forgets what was settled longer ago than the setting says.
pub(crate) async fn purge(app: &Shared) {
    let kept = i64::from(app.settings.webhooks.days) * 24 * 3_600 * 1_000;
    let before = Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(kept));
    // A few at a time; what can't be forgotten now still can be in an hour.
    while let Ok(Ok(1..)) = timeout(LOOK_EVERY, app.store.purge_webhooks(before)).await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text| read_retry_after(text, now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        let date = "Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(read(date), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for wrong in ["", "soon", "-1", "1.5"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
