//! Secrets in every text of every event, through the real log with the real rules.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use danube_signals::*;
use danube_telemetry::log::{Filter, build};
use danube_telemetry::{LogFormat, LogOptions, Output};
use tracing::{error, info_span};

use super::*;

const VALUE: &str = "correct-horse-battery";
const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
const ADDRESS: &str = "somebody@example.org";

/// The value as it is, encoded and behind a colour; a token by its pattern; a password
/// by its key; an address; and characters that a line escapes.
const PLANTED: &str = concat!(
    "x correct-horse-battery y Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5 \u{1b}[1mcorrect-\u{1b}[0mhorse-battery\n",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz password=\"hunter2hunter2\" somebody@example.org z"
);

const HIDDEN: [&str; 5] = [VALUE, "Y29ycmVj", "horse", TOKEN, "hunter2"];

/// Fields whose texts are one of a few words of ours.
fn is_closed(event: &str, field: &str) -> bool {
    matches!(field, "check" | "loop_name" | "operation" | "severity" | "signal" | "status")
        || matches!(
            (event, field),
            ("log_level_changed" | "reaper_completed", "reason") | ("self_heal_attempted", "result")
        )
        || (event.starts_with("profile_") && field == "kind")
        // Each of its fields is a check, and the text its status.
        || event == "health_checks_completed"
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a log with these secrets shows, and what its tap is told.
fn logged(format: LogFormat, act: impl FnOnce()) -> (Vec<String>, Vec<String>) {
    let secrets = LogSecrets::new(Rules::builtin());
    secrets.register(VALUE.as_bytes()).unwrap();
    let out = Memory::default();
    let tapped = Arc::new(Mutex::new(Vec::new()));
    let tap = Arc::clone(&tapped);
    let options = LogOptions {
        filter: Filter::parse("trace").unwrap(),
        format: Some(format),
        output: Output::Writer(Box::new(out.clone())),
        redact: Some(secrets.redact()),
        suspects: Some(secrets.suspects()),
        tap: Some(Arc::new(move |line, _| {
            tap.lock().unwrap().push(line.to_owned());
        })),
        ..LogOptions::new(OWN_LOGGERS, LOG_LOGGER)
    };
    let (subscriber, _handle, guard) = build(options).unwrap();
    tracing::subscriber::with_default(subscriber, act);
    assert!(guard.finish(Duration::from_secs(10)));
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(str::to_owned).collect();
    let tapped = tapped.lock().unwrap().clone();
    (lines, tapped)
}

fn profiles(signals: &Signals, text: &str) {
    let kind = ProfileKind::Cpu;
    signals.emit(ProfileStarted { kind, file: text });
    signals.emit(ProfileTaken {
        kind,
        user: Some(text),
        file: Some(text),
        duration_seconds: Duration::from_millis(1500),
        samples: 1,
    });
    signals.emit(ProfileFailed { kind, error: text });
}

/// Tells every fact that there is with the text in each field that takes one.
fn tell_all(text: &str) {
    let signals = Signals::new(BuildInfo::default(), Limits::default());
    let time = Duration::from_millis(1500);
    tell_jobs(&signals, text, time);
    tell_alerts(&signals, text, time);
    signals.emit(MasterReady {
        address: text,
        pid: 1,
        version: text,
    });
    signals.emit(MasterStopping { reason: text });
    signals.emit(LogLevelChanged {
        new_level: text,
        old_level: text,
        reason: LogLevelReason::Api,
        user: Some(text),
        for_seconds: Some(time),
    });
    signals.emit(SettingsRefused { error: text });
    profiles(&signals, text);
    let (resource, action) = (Some(text), Some(text));
    signals.emit(LoginSucceeded {
        user: text,
        resource,
        action,
    });
    signals.emit(LoginFailed {
        user: Some(text),
        resource,
        action,
    });
    signals.emit(PermissionDenied {
        user: text,
        resource: text,
        action: text,
        kind: None,
    });
    for consecutive_failures in [1, 3] {
        let (check, status) = (Check::Disk, HealthStatus::Failed);
        signals.emit(HealthCheckFailed {
            check,
            status,
            error: text,
            consecutive_failures,
        });
    }
    let (check, status) = (Check::Disk, HealthStatus::Ok);
    signals.emit(HealthCheckRecovered {
        check,
        status,
        consecutive_failures: 3,
    });
    let (loop_name, silent_seconds) = (LoopName::Http, time);
    signals.emit(LoopStalled {
        loop_name,
        silent_seconds,
    });
    signals.emit(LoopResumed {
        loop_name,
        silent_seconds,
    });
    tell_store(&signals, text, time);
}

/// Of forges.
fn tell_forges(signals: &Signals, text: &str) {
    signals.emit(WebhookRejected {
        forge: text,
        reason: text,
    });
    signals.emit(WebhookKept {
        forge: text,
        credential_name: text,
        starts: 1,
    });
    signals.emit(WebhookDropped {
        forge: text,
        credential_name: text,
        pipeline: text,
        trigger_ref: text,
        reason: text,
    });
    signals.emit(CommitStatusFailed {
        job_id: text,
        forge: text,
        credential_name: text,
        error: text,
    });
}

fn tell_store(signals: &Signals, text: &str, time: Duration) {
    signals.emit(DatabaseUnavailable { error: text });
    signals.emit(RegistryExited {
        exit: text,
        output: Some(text),
        restart_in_seconds: time,
    });
    let ok = Some(HealthStatus::Ok);
    signals.emit(HealthChecksCompleted {
        database: ok,
        k8s: ok,
        dex: ok,
        registry: ok,
        blueprint_sync: ok,
        queue: ok,
        disk: ok,
        workers: ok,
        otlp_export: ok,
        webhooks: ok,
        forges: ok,
        log_pipeline: ok,
        git: ok,
        duration_seconds: time,
    });
    signals.emit(SelfHealAttempted {
        check: Check::Database,
        action: text,
        result: HealResult::Error,
        detail: text,
        duration_seconds: time,
    });
    signals.emit(SqlQuery {
        operation: DbOperation::Select,
        duration_ms: Millis(time),
    });
    signals.emit(ReaperCompleted {
        logs_deleted: 1,
        artifacts_deleted: 0,
        images_deleted: 0,
        bytes_freed: 2,
        traces_deleted: 0,
        workspaces_deleted: 0,
        reason: ReapReason::Asked,
        duration_seconds: time,
    });
    signals.emit(BlueprintSyncCompleted {
        commit: text,
        pipelines: 1,
        users: 2,
        teams: 3,
        duration_seconds: time,
    });
    signals.emit(BlueprintSyncFailed { error: text });
    tell_forges(signals, text);
    signals.emit(BackupCompleted {
        user: text,
        bytes: 1,
        files: 2,
        jobs: 3,
        with_keys: true,
        duration_seconds: time,
    });
    for by_client in [false, true] {
        signals.emit(BackupFailed {
            user: text,
            error: text,
            duration_seconds: time,
            by_client,
        });
    }
}

fn tell_alerts(signals: &Signals, text: &str, time: Duration) {
    for severity in [Severity::Warning, Severity::Critical] {
        signals.emit(AlertFired {
            alert: text,
            severity,
            labels: Some(text),
            value: 1.0,
            summary: text,
        });
    }
    signals.emit(AlertResolved {
        alert: text,
        severity: Severity::Warning,
        labels: Some(text),
        duration_seconds: time,
    });
    signals.emit(AlertsNotSent {
        error: text,
        alerts: 1,
    });
    signals.emit(OtlpExportFailed {
        signal: DroppedSignal::Log,
        error: text,
        dropped: 1,
    });
    signals.emit(OtlpExportRecovered {
        signal: DroppedSignal::Log,
        duration_seconds: time,
        dropped: 1,
    });
}

fn tell_jobs(signals: &Signals, text: &str, time: Duration) {
    let (job_id, some) = (text, Some(text));
    signals.emit(JobSubmitted {
        playbook: None,
        job_id,
        source_type: text,
        api_key_name: some,
    });
    signals.emit(PipelineTriggered {
        pipeline: text,
        trigger_type: text,
        trigger_ref: some,
        user: some,
    });
    signals.emit(JobStarted {
        job_id,
        pipeline: some,
        trigger_type: some,
        trigger_ref: some,
        user: some,
        source_type: some,
        worker_id: some,
        queue_wait: time,
    });
    signals.emit(JobCompleted {
        playbook: None,
        job_id,
        status: JobResult::Failure,
        duration_seconds: Some(time),
        pipeline: "p",
        max_rss_bytes: None,
        run: RunEnd::default(),
    });
    signals.emit(JobFailed {
        is_playbook: false,
        job_id,
        error_type: text,
        error_message: text,
        retry_count: 1,
    });
    tell_ends(signals, text, time);
}

fn tell_ends(signals: &Signals, text: &str, time: Duration) {
    let (job_id, some) = (text, Some(text));
    signals.emit(JobRetried {
        job_id,
        attempt: 2,
        reason: text,
        pipeline: "p",
        error: None,
    });
    signals.emit(JobCancelled {
        job_id,
        user: some,
        reason: some,
    });
    signals.emit(JobTimedOut {
        job_id,
        step: some,
        timeout_seconds: Some(time),
        pipeline: "p",
    });
    signals.emit(JobOrphanRescued {
        job_id,
        worker_id: some,
        attempt: 1,
    });
    signals.emit(StepStarted { job_id, step: text });
    signals.emit(StepCompleted {
        job_id,
        step: text,
        exit_code: Some(1),
        duration_seconds: time,
        pipeline: "p",
        cpu_seconds: None,
    });
    signals.emit(LogWriteFailed {
        job_id,
        error: text,
        is_again: false,
    });
    signals.emit(WorkspaceLeft {
        job_id,
        error: text,
    });
    tell_other_parts(signals, text, time);
}

fn tell_other_parts(signals: &Signals, text: &str, time: Duration) {
    let job_id = text;
    signals.emit(AnsibleChecked {
        worker_id: text,
        version: Some(text),
        error: Some(text),
    });
    signals.emit(CredentialAccessed {
        credential_name: text,
        job_id,
    });
    signals.emit(SecretAccessed {
        secret_key: text,
        pipeline: text,
        job_id,
        user: text,
    });
    signals.emit(SecretAccessFailed {
        secret_key: text,
        pipeline: text,
        job_id,
        reason: text,
        user: text,
    });
    signals.emit(WebhookSent {
        job_id,
        callback_url: text,
        status_code: 200,
        attempt: 1,
        is_playbook: false,
    });
    signals.emit(WebhookFailed {
        job_id,
        callback_url: text,
        error: text,
        attempt: 1,
        is_playbook: false,
    });
    signals.emit(WorkerDrained {
        worker_id: text,
        jobs_handed_back: 0,
        duration_seconds: time,
    });
    signals.emit(WorkerConnected {
        worker_id: text,
        server: text,
        jobs_at_once: 1,
    });
    signals.emit(WorkerDisconnected {
        worker_id: Some(text),
        server: text,
        error: text,
    });
    signals.emit(RpcCall {
        method: text,
        duration_ms: Millis(Duration::ZERO),
    });
    signals.emit(QueueConnected { server: text });
    signals.emit(QueueDisconnected {
        server: text,
        error: text,
    });
    signals.emit(QueueRefilled {
        server: text,
        found: 1,
        removed: 1,
        added: 1,
        reason: text,
    });
}

fn parsed(line: &str) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_secret_in_any_field_of_any_event_is_masked_in_the_log_and_for_the_tap() {
    let (lines, tapped) = logged(LogFormat::Json, || tell_all(PLANTED));
    assert_eq!(lines, tapped);
    let mut told = BTreeSet::new();
    for line in &lines {
        for hidden in HIDDEN {
            assert!(!line.contains(hidden), "{hidden}: {line}");
        }
        let line = parsed(line);
        let event = line["event"].as_str().unwrap().to_owned();
        let decl = events().find(|it| it.name == event).unwrap();
        let keys: Vec<&str> = line.keys().map(String::as_str).collect();
        for field in decl.fields {
            assert!(keys.contains(field), "{event} has all its fields: {keys:?}");
            let Some(text) = line[*field].as_str().filter(|_| !is_closed(&event, field)) else {
                continue;
            };
            assert!(
                text.starts_with("x [redacted] y [redacted] "),
                "{event} {field}: {text:?}"
            );
            // Who did it may be told by an address.
            assert_eq!(
                text.contains(ADDRESS),
                *field == "user",
                "{event} {field}: {text:?}"
            );
        }
        told.insert(event);
    }
    let live: BTreeSet<String> = events()
        .filter(|it| it.state == State::Live)
        .map(|it| it.name.to_owned())
        .collect();
    assert_eq!(told, live, "each live event is told above");
}

#[test]
fn a_secret_in_a_log_for_a_person_is_masked_and_its_tap_gets_json() {
    let (lines, tapped) = logged(LogFormat::Text, || tell_all(PLANTED));
    assert_eq!(lines.len(), tapped.len());
    for (line, json) in lines.iter().zip(&tapped) {
        for hidden in HIDDEN {
            assert!(
                !line.contains(hidden) && !json.contains(hidden),
                "{line}\n{json}"
            );
        }
        let event = parsed(json)["event"].as_str().unwrap().to_owned();
        assert!(line.contains(&event), "{line}");
    }
}

#[test]
fn one_secret_alone_is_masked_wherever_else_a_text_may_come_from() {
    struct Leaky(&'static str);
    impl std::fmt::Debug for Leaky {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "Leaky({})", self.0)
        }
    }
    for secret in [VALUE, TOKEN, ADDRESS] {
        let source = io::Error::other(secret);
        let (lines, tapped) = logged(LogFormat::Json, || {
            let span = info_span!(target: "danube.api", "s", trace_id = secret, span_id = secret, request_id = secret);
            let _in = span.enter();
            error!(target: "danube.api", event = secret, text = secret);
            error!(target: "danube.api", event = "e", debug = ?Leaky(secret));
            error!(target: "danube.api", event = "e", display = %secret);
            error!(target: "danube.api", event = "e", error = &source as &(dyn std::error::Error + 'static));
            error!(target: "hyper::proto", "a library says {secret}");
        });
        assert_eq!(lines.len(), 5);
        for line in lines.iter().chain(&tapped) {
            assert!(!line.contains(secret), "{line}");
            assert!(line.contains("[redacted]"), "{line}");
        }
    }
}

#[test]
fn a_secret_that_the_line_writes_in_another_way_is_masked_too() {
    // The line shows neither the colour nor the quote as they are.
    for text in ["correct-\u{1b}[0mhorse-battery", "a\"horse\"b\"c"] {
        let secrets = LogSecrets::new(Rules::none());
        secrets.register(VALUE.as_bytes()).unwrap();
        secrets.register(b"a\"horse\"b\"c").unwrap();
        let out = Memory::default();
        let options = LogOptions {
            output: Output::Writer(Box::new(out.clone())),
            redact: Some(secrets.redact()),
            suspects: Some(secrets.suspects()),
            ..LogOptions::new(OWN_LOGGERS, LOG_LOGGER)
        };
        let (subscriber, _handle, guard) = build(options).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            error!(target: "danube.api", event = "e", text);
        });
        assert!(guard.finish(Duration::from_secs(10)));
        let line = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(line.ends_with("\"text\":\"[redacted]\"}\n"), "{line}");
    }
}

#[test]
fn names_that_hide_nothing_stay_as_they_are() {
    let name = "build-and-test";
    let (lines, _) = logged(LogFormat::Json, || tell_all(name));
    for line in lines {
        assert!(!line.contains("[redacted]"), "{line}");
        let line = parsed(&line);
        let event = line["event"].as_str().unwrap();
        let schema = ["timestamp", "level", "logger", "event"];
        for (field, value) in line.iter().filter(|it| !schema.contains(&&**it.0)) {
            if let Some(text) = value.as_str().filter(|_| !is_closed(event, field)) {
                assert_eq!(text, name, "{field}");
            }
        }
    }
}
