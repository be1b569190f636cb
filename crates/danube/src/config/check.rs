//! From what the sources say to settings that can't be wrong.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use danube_joblog::Retention;
use danube_master::{
    ArtifactSettings, ForgeSettings, HealMode, HealthSettings, Profiling, Settings, StepSettings,
    WatchSettings, WebhookSettings,
};
use danube_model::{Mistake, Queue, Queues};
use danube_outgoing::Rule;
use danube_queue::Address as Redis;
use danube_redact::Rules;
use danube_signals::Check;
use danube_telemetry::LabelEnum;
use danube_worker::Galaxy;

use super::collector::{Address, Header};
use super::print::as_view;
use super::size::size;
use super::sources::{Found, Origin, Resolved};
use super::table::{ROWS, index};
use super::value::Value;
use super::{Config, LogFormat};

mod blueprint;
mod export;
mod registry;
mod signin;

/// Makes the settings and checks the options against each other. None when a
/// value is missing; then there is a mistake that says why.
pub(crate) fn check(
    resolved: &Resolved,
    demo: bool,
    mistakes: &mut Vec<Mistake>,
) -> Option<Config> {
    let it = Values(resolved);
    if it.path("server.data_dir").is_none() && !it.found("server.data_dir").is_wrong {
        mistakes.push(wrong(
            "--data-dir",
            "there is no home directory to make the data directory in",
            "name one with --data-dir",
        ));
    }
    public_address(&it, mistakes);
    registry::check(&it, mistakes);
    log_sizes(&it, mistakes);
    export::check(&it, mistakes);
    let rules = it.rules("redaction.rules");
    let settings = Settings {
        data_dir: it.path("server.data_dir")?,
        listen: it.address("server.listen")?,
        insecure_http: it.bool("server.insecure_http")?,
        public_url: it.text("server.public_url"),
        pipelines_dir: it.path("pipelines.dir")?,
        client_silence: Duration::from_secs(it.number("server.client_silence_seconds")?),
        body_bytes_max: usize::try_from(it.number("server.body_bytes_max")?).unwrap_or(usize::MAX),
        lease: Duration::from_secs(it.number("queue.lease_seconds")?),
        grace: Duration::from_secs(it.number("server.grace_seconds")?),
        queues: queues(&it, mistakes)?,
        pending_max: it.number("queue.max_pending")?,
        queue_url: it.redis("queue.url"),
        jobs_at_once: usize::try_from(it.number("queue.jobs_at_once")?).unwrap_or(usize::MAX),
        steps: steps(&it)?,
        log_head_bytes: it.number("log.head_bytes")?,
        log_total_bytes: it.number("log.total_bytes")?,
        retention: retention(&it)?,
        artifacts: artifacts(&it)?,
        disk_free_percent: u32::try_from(it.number("retention.disk_free_percent")?)
            .ok()
            .filter(|it| *it > 0),
        blueprint: blueprint::read(&it, mistakes)?,
        blueprint_dir: it.path("blueprint.dir"),
        registry: registry::read(&it)?,
        oidc: signin::read(&it, mistakes),
        health: health(&it)?,
        allow_paths: it.paths("sources.allow_paths"),
        sources_private: it.networks("sources.allow_private"),
        galaxy: galaxy(&it)?,
        rules: job_rules(&rules, it.bool("redaction.email")?),
        watch: watch(&it)?,
        webhooks: webhooks(&it)?,
        forges: ForgeSettings {
            allow_private: it.networks("forges.allow_private"),
            allow_http: it.bool("forges.allow_http")?,
        },
        demo,
        metrics_enabled: it.bool("observability.metrics_enabled")?,
        profiling: profiling(&it)?,
        profile_run: it.bool("observability.profile_run")?,
        sampling: export::sampling(&it)?,
        said: said(resolved),
        shown: as_view(resolved),
    };
    Some(Config {
        settings,
        rules,
        log_level: it.text("observability.log_level")?,
        log_format: match it.text("observability.log_format")?.as_str() {
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            _ => LogFormat::Auto,
        },
        export: export::read(&it)?,
        secrets: export::secrets(&it),
    })
}

/// What every step gets.
fn steps(it: &Values<'_>) -> Option<StepSettings> {
    Some(StepSettings {
        nursery_socket: it.path("steps.nursery_socket"),
        path: it.text("steps.path")?,
        uid_base: u32::try_from(it.number("steps.uid_base")?).expect("the table bounds it"),
        network: it.bool("steps.network")?,
        allow_unisolated: it.bool("steps.allow_unisolated")?,
        memory_bytes: it.number("steps.memory_bytes"),
        cpu_cores: it.cores("steps.cpu_cores"),
        processes: it.number("steps.processes"),
        open_files: it.number("steps.open_files"),
    })
}

/// The keys that somebody said something of.
fn said(resolved: &Resolved) -> BTreeSet<&'static str> {
    let rows = ROWS.iter().zip(&resolved.found);
    let said = rows.filter(|(_, found)| found.origin != Origin::Default);
    said.map(|(row, _)| row.key).collect()
}

/// How the server watches its own metrics.
fn watch(it: &Values<'_>) -> Option<WatchSettings> {
    Some(WatchSettings {
        interval: Duration::from_secs(it.number("observability.history_interval_seconds")?),
        workers_expected: u32::try_from(it.number("observability.workers_expected")?)
            .expect("the table bounds it"),
        alertmanager_url: it.text("observability.alertmanager_url"),
    })
}

/// How the server looks after itself.
fn health(it: &Values<'_>) -> Option<HealthSettings> {
    Some(HealthSettings {
        interval: Duration::from_secs(it.number("health.interval_seconds")?),
        heal: match it.text("health.heal")?.as_str() {
            "off" => HealMode::Off,
            "dry_run" => HealMode::DryRun,
            _ => HealMode::Auto,
        },
        hands_off: it.checks("health.hands_off"),
        not_gating: it.checks("health.not_gating"),
        disk_free_percent: u32::try_from(it.number("health.disk_free_percent")?)
            .expect("the table bounds it"),
    })
}

/// Whether administrators may profile the server.
fn profiling(it: &Values<'_>) -> Option<Profiling> {
    Some(match it.text("observability.profiling")?.as_str() {
        "on" => Profiling::On,
        "off" => Profiling::Off,
        _ => Profiling::Auto,
    })
}

/// How webhooks are sent.
fn webhooks(it: &Values<'_>) -> Option<WebhookSettings> {
    Some(WebhookSettings {
        allow_private: it.networks("webhooks.allow_private"),
        allow_http: it.bool("webhooks.allow_http")?,
        retry: Duration::from_secs(it.number("webhooks.retry_seconds")?),
        days: u32::try_from(it.number("webhooks.retention_days")?).expect("the table bounds it"),
    })
}

/// No queue is declared twice, and there are not too many.
fn queues(it: &Values<'_>, mistakes: &mut Vec<Mistake>) -> Option<Queues> {
    match Queues::new(it.queues("queue.queues")) {
        Ok(queues) => Some(queues),
        Err(error) => {
            let found = it.found("queue.queues");
            mistakes.push(found.wrong("queue.queues", error.to_string(), "name each queue once"));
            None
        }
    }
}

/// How requirements of playbooks are installed, if they are. The outer none: a mistake.
fn galaxy(it: &Values<'_>) -> Option<Option<Galaxy>> {
    let is_allowed = it.bool("sources.galaxy")?;
    Some(is_allowed.then(|| Galaxy {
        server: it.text("sources.galaxy_server"),
    }))
}

/// The rules for the logs of jobs, where e-mail addresses mostly stay.
fn job_rules(rules: &Rules, email: bool) -> Rules {
    if email {
        rules.clone().with_email()
    } else {
        rules.clone()
    }
}

/// The rules for the logs of jobs, alone.
pub(super) fn redaction(resolved: &Resolved) -> Rules {
    let it = Values(resolved);
    job_rules(
        &it.rules("redaction.rules"),
        it.bool("redaction.email").unwrap_or_default(),
    )
}

/// What 0 means is said in the table.
fn retention(it: &Values<'_>) -> Option<Retention> {
    let days = it.number("retention.logs_days")?;
    let bytes = it.number("retention.logs_max_bytes")?;
    Some(Retention {
        days: Some(u32::try_from(days).expect("the table bounds it")).filter(|it| *it > 0),
        total_bytes: Some(bytes).filter(|it| *it > 0),
        free_bytes: None,
    })
}

fn artifacts(it: &Values<'_>) -> Option<ArtifactSettings> {
    let days = it.number("retention.artifacts_days")?;
    let bytes = it.number("retention.artifacts_max_bytes")?;
    Some(ArtifactSettings {
        file_bytes_max: it.number("artifacts.file_max_bytes")?,
        job_bytes_max: it.number("artifacts.job_max_bytes")?,
        days: Some(u32::try_from(days).expect("the table bounds it")).filter(|it| *it > 0),
        total_bytes_max: Some(bytes).filter(|it| *it > 0),
    })
}

/// Keys travel in clear over plain HTTP: on an address that others reach, the
/// operator has to say that he knows.
fn public_address(it: &Values<'_>, mistakes: &mut Vec<Mistake>) {
    let found = it.found("server.listen");
    let insecure = it.found("server.insecure_http");
    if found.is_wrong || insecure.is_wrong {
        return;
    }
    let Some(listen) = it.address("server.listen") else {
        return;
    };
    if !listen.ip().to_canonical().is_loopback() && it.bool("server.insecure_http") == Some(false) {
        mistakes.push(found.wrong(
            "server.listen",
            format!("{listen} can be reached by others, and keys would travel in clear"),
            "listen on 127.0.0.1 behind a proxy that speaks TLS, or say --insecure-http (server.insecure_http = true) \
             in a network that you trust",
        ));
    }
}

/// What lies past the head needs room of its own, or the newest output is lost.
fn log_sizes(it: &Values<'_>, mistakes: &mut Vec<Mistake>) {
    let (head, total) = (it.found("log.head_bytes"), it.found("log.total_bytes"));
    let both = it
        .number("log.head_bytes")
        .zip(it.number("log.total_bytes"));
    let Some((head_bytes, total_bytes)) = both else {
        return;
    };
    if head.is_wrong || total.is_wrong || head_bytes + 2 <= total_bytes {
        return;
    }
    // Told where somebody said something.
    let (key, found) = match total.origin {
        Origin::Default => ("log.head_bytes", head),
        _ => ("log.total_bytes", total),
    };
    mistakes.push(found.wrong(
        key,
        format!(
            "log.total_bytes ({}) must be larger than log.head_bytes ({})",
            size(total_bytes),
            size(head_bytes)
        ),
        "the newest output of a long log is kept in the difference",
    ));
}

fn wrong(pointer: &str, message: impl Into<String>, help: &str) -> Mistake {
    Mistake {
        code: "setting.conflict",
        pointer: pointer.to_owned(),
        at: None,
        message: message.into(),
        help: Some(help.to_owned()),
    }
}

impl Found {
    /// A mistake about this value, told where it was said.
    fn wrong(&self, key: &str, message: impl Into<String>, help: &str) -> Mistake {
        match &self.origin {
            Origin::Flag(flag) => wrong(&format!("--{flag}"), message, help),
            Origin::Environment(name) => wrong(name, message, help),
            Origin::Default => wrong(key, message, help),
            Origin::File(_, at) => Mistake {
                at: Some(*at),
                ..wrong(&format!("/{}", key.replace('.', "/")), message, help)
            },
        }
    }
}

/// Looks values up by key. A key that is no row, or a row of another kind, is
/// a slip in this file; the test that checks the defaults finds every one.
struct Values<'a>(&'a Resolved);

impl Values<'_> {
    fn found(&self, key: &str) -> &Found {
        let at = index(key).expect("the key is a row of the table");
        debug_assert_eq!(ROWS[at].key, key);
        &self.0.found[at]
    }

    fn value(&self, key: &str) -> Option<Value> {
        self.found(key).value.clone()
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        match self.value(key)? {
            Value::Path(it) => Some(it),
            other => unreachable!("{key} is no path: {other:?}"),
        }
    }

    fn paths(&self, key: &str) -> Vec<PathBuf> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Paths(it)) => it,
            Some(other) => unreachable!("{key} is no list of paths: {other:?}"),
        }
    }

    fn networks(&self, key: &str) -> Vec<Rule> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Networks(it)) => it,
            Some(other) => unreachable!("{key} is no list of networks: {other:?}"),
        }
    }

    /// Health checks, by the names that the table allows.
    fn checks(&self, key: &str) -> Vec<Check> {
        let words = match self.value(key) {
            None => return Vec::new(),
            Some(Value::Words(it)) => it,
            Some(other) => unreachable!("{key} is no list of words: {other:?}"),
        };
        let all = Check::ALL.iter().copied();
        all.filter(|it| words.iter().any(|word| word == it.as_str()))
            .collect()
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::Text(it) => Some(it),
            other => unreachable!("{key} is no text: {other:?}"),
        }
    }

    fn address(&self, key: &str) -> Option<SocketAddr> {
        match self.value(key)? {
            Value::Address(it) => Some(it),
            other => unreachable!("{key} is no address: {other:?}"),
        }
    }

    fn bool(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(it) => Some(it),
            other => unreachable!("{key} is no boolean: {other:?}"),
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Number(it) => Some(it),
            other => unreachable!("{key} is no number: {other:?}"),
        }
    }

    /// The built-in rules, and those that were added.
    fn rules(&self, key: &str) -> Rules {
        match self.value(key) {
            None => Rules::builtin(),
            Some(Value::Rules(it)) => it,
            Some(other) => unreachable!("{key} is no list of rules: {other:?}"),
        }
    }

    fn collector(&self, key: &str) -> Option<Address> {
        match self.value(key)? {
            Value::Collector(it) => Some(it),
            other => unreachable!("{key} is no collector: {other:?}"),
        }
    }

    fn redis(&self, key: &str) -> Option<Redis> {
        match self.value(key)? {
            Value::Redis(it) => Some(*it),
            other => unreachable!("{key} is no Redis: {other:?}"),
        }
    }

    fn queues(&self, key: &str) -> Vec<Queue> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Queues(it)) => it,
            Some(other) => unreachable!("{key} is no list of queues: {other:?}"),
        }
    }

    fn headers(&self, key: &str) -> Vec<Header> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Headers(it)) => it,
            Some(other) => unreachable!("{key} is no list of headers: {other:?}"),
        }
    }

    fn cores(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::Cores(it) => Some(it),
            other => unreachable!("{key} is no number of processors: {other:?}"),
        }
    }
}
