//! Hands what fires to Alertmanager, and again every minute while it does: whoever
//! doesn't hear of it for some minutes takes it for over.
//!
//! A task of its own with one call at a time: an Alertmanager that is away or slow holds
//! up nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use danube_model::Timestamp;
use danube_signals::{Alert, AlertsNotSent};
use danube_telemetry::LabelEnum;
use danube_telemetry::outgoing::{self, NoRoots};
use serde_json::{Value, json};
use tokio::time::timeout;
use ureq::Agent;
use ureq::http::Uri;

use super::engine::{Instance, Key, Known, Phase};
use crate::app::{App, Shared, blocking};
use crate::settings::Settings;

/// How often what fires is sent again.
const RESEND_EVERY: Duration = Duration::from_secs(60);

/// How long it is taken for firing when nothing more is heard of it: four times the
/// above, as Prometheus does.
const VALID: Duration = Duration::from_secs(240);

/// How long a call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How often it looks when nothing changes, and tries again.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How often a failure is told.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Who calls.
const USER_AGENT: &str = concat!("danube/", env!("CARGO_PKG_VERSION"));

/// Bytes of an answer that are shown: it says in a line what was wrong.
const ANSWER_BYTES_MAX: u64 = 500;

/// Where to send, and what was sent.
pub(super) struct Sender {
    url: String,
    /// What is said of all of them.
    about: About,
    /// Or why there is none.
    agent: Result<Agent, NoRoots>,
    sent: BTreeMap<Key, Sent>,
    warned: Option<Instant>,
}

/// Whose alerts they are.
struct About {
    /// Where a person looks.
    source: String,
    /// Label `instance`, as Prometheus sets it: alerts with the same labels are one alert
    /// to Alertmanager, and two masters have the same alerts.
    instance: String,
}

impl About {
    fn of(settings: &Settings) -> Self {
        let own = format!("http://{}", settings.listen);
        let base = settings.public_url.as_deref().unwrap_or(&own);
        Self {
            source: format!("{base}/api/v1/alerts"),
            instance: instance(settings.public_url.as_deref(), settings.listen),
        }
    }
}

/// Host and port, as others know them.
fn instance(public_url: Option<&str>, listen: SocketAddr) -> String {
    let public = public_url.and_then(|it| it.parse::<Uri>().ok());
    let host = public.as_ref().and_then(Uri::host);
    if let (Some(uri), Some(host)) = (&public, host) {
        let port = uri.port().map(|it| format!(":{it}"));
        return host.to_owned() + &port.unwrap_or_default();
    }
    if listen.ip().is_unspecified() {
        // On every machine it is the same.
        let machine = rustix::system::uname();
        let name = machine.nodename().to_string_lossy();
        return format!("{name}:{}", listen.port());
    }
    listen.to_string()
}

/// What Alertmanager knows of an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sent {
    at: Instant,
    phase: Phase,
}

impl Sender {
    pub(super) fn new(url: &str, app: &App) -> Self {
        Self {
            url: format!("{url}/api/v2/alerts"),
            about: About::of(&app.settings),
            agent: outgoing::agent(url, USER_AGENT),
            sent: BTreeMap::new(),
            warned: None,
        }
    }
}

/// Sends for ever; ends with the server.
pub(super) async fn run(app: Shared, mut sender: Sender) {
    loop {
        let _ = timeout(LOOK_EVERY, app.watch.changed.notified()).await;
        let known = app.watch.lock().clone();
        let now = Instant::now();
        sender.sent.retain(|key, _| known.contains_key(key));
        let due = due(&known, &sender.sent, now);
        if due.is_empty() {
            continue;
        }
        let body = body(&due, &app.watch.alerts, &sender.about);
        let (agent, url) = (sender.agent.clone(), sender.url.clone());
        let answered = blocking(move || {
            let agent = agent.map_err(|error| error.to_string())?;
            post(&agent, &url, &body)
        });
        let answered = answered.await;
        let error = match answered {
            Ok(Ok(())) => {
                let sent = due.into_iter().map(|(key, it)| {
                    (
                        key,
                        Sent {
                            at: now,
                            phase: it.phase,
                        },
                    )
                });
                sender.sent.extend(sent);
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => "the task ended early".to_owned(),
        };
        if sender.warned.is_none_or(|it| it.elapsed() >= WARN_EVERY) {
            sender.warned = Some(Instant::now());
            app.signals.emit(AlertsNotSent {
                error: &error,
                alerts: due.len() as u64,
            });
        }
    }
}

/// What Alertmanager has to be told now: what it doesn't know yet, and what fires and
/// was told long enough ago. One that was over before it was ever told is no news.
fn due(known: &Known, sent: &BTreeMap<Key, Sent>, now: Instant) -> Vec<(Key, Instance)> {
    let is_due = |(key, it): &(&Key, &Instance)| {
        let before = sent.get(*key);
        match it.phase {
            Phase::Pending => false,
            Phase::Firing(_) => {
                before.is_none_or(|sent| sent.phase != it.phase || now - sent.at >= RESEND_EVERY)
            }
            Phase::Over { .. } => before.is_some_and(|sent| sent.phase != it.phase),
        }
    };
    let due = known.iter().filter(is_due);
    due.map(|(key, it)| (key.clone(), *it)).collect()
}

/// The body for Alertmanager's v2 API.
fn body(due: &[(Key, Instance)], alerts: &[Alert], about: &About) -> Value {
    let now = Timestamp::now().as_millis();
    let valid = i64::try_from(VALID.as_millis()).unwrap_or(i64::MAX);
    let one = |((at, labels), it): &(Key, Instance)| {
        let alert = &alerts[*at];
        let mut all: BTreeMap<&str, &str> = labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let name = alert.rule_name();
        all.insert("alertname", &name);
        all.insert("severity", alert.severity.as_str());
        all.insert("instance", &about.instance);
        // The same as the exported rules say, so that one configuration fits both.
        let said = alert.annotations(&alert.unit.shown(it.value), alert.runbook());
        let mut annotations: BTreeMap<&str, String> = said.into_iter().collect();
        annotations.insert("value", it.value.to_string());
        let (started, ended) = match it.phase {
            Phase::Over { fired, ended } => (fired, ended),
            Phase::Firing(fired) => (fired, now + valid),
            Phase::Pending => (it.since, now + valid),
        };
        json!({
            "labels": all,
            "annotations": annotations,
            "startsAt": Timestamp::from_millis(started),
            "endsAt": Timestamp::from_millis(ended),
            "generatorURL": about.source,
        })
    };
    due.iter().map(one).collect()
}

fn post(agent: &Agent, url: &str, body: &Value) -> Result<(), String> {
    let request = agent.post(url).config();
    let request = request.timeout_global(Some(CALL_DEADLINE)).build();
    let sent = request.send_json(body);
    let mut answer = sent.map_err(|error| error.to_string())?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let said = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string();
    let said: String = said
        .unwrap_or_default()
        .chars()
        .filter(|it| !it.is_control())
        .collect();
    Err(format!("status {}: {said}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use danube_signals::{Expected, ExportOptions, alerts, export};

    use super::*;

    fn about() -> About {
        About {
            source: "http://h/api/v1/alerts".to_owned(),
            instance: "h:1".to_owned(),
        }
    }

    fn known(phase: Phase) -> (Key, Known) {
        let key = (0, vec![("job".to_owned(), "danube".to_owned())]);
        let it = Instance {
            since: 1_000,
            phase,
            value: 0.5,
        };
        (key.clone(), Known::from([(key, it)]))
    }

    fn is_due(phase: Phase, sent: Option<(u64, Phase)>) -> bool {
        let (key, known) = known(phase);
        let now = Instant::now() + Duration::from_secs(3_600);
        let sent = sent.map(|(seconds, phase)| {
            (
                key,
                Sent {
                    at: now - Duration::from_secs(seconds),
                    phase,
                },
            )
        });
        !due(&known, &sent.into_iter().collect(), now).is_empty()
    }

    #[test]
    fn what_fires_is_sent_at_once_and_every_minute_and_what_is_over_once() {
        let (firing, over) = (
            Phase::Firing(2_000),
            Phase::Over {
                fired: 2_000,
                ended: 3_000,
            },
        );
        assert!(!is_due(Phase::Pending, None));
        assert!(is_due(firing, None));
        assert!(!is_due(firing, Some((59, firing))));
        assert!(is_due(firing, Some((60, firing))));
        assert!(is_due(over, Some((1, firing))));
        assert!(!is_due(over, Some((100, over))));
        // It fired again.
        assert!(is_due(Phase::Firing(9_000), Some((1, over))));
        assert!(!is_due(over, None));
    }

    #[test]
    fn alertmanager_is_told_what_a_person_has_to_know() {
        let (_, known) = known(Phase::Over {
            fired: 2_000,
            ended: 3_000,
        });
        let due: Vec<_> = known.into_iter().collect();
        let alerts = alerts(Expected::default());
        let at = alerts.iter().position(|it| it.name == "job_failures");
        let body = body(&due, &alerts[at.unwrap()..], &about());
        let description = body[0]["annotations"]["description"].as_str().unwrap();
        let ends = "Now: 50%. `danube signals explain job_failures` says what to do.";
        assert!(description.ends_with(ends), "{description}");
        let expected = json!([{
            "labels": {
                "alertname": "DanubeJobFailures",
                "severity": "critical",
                "job": "danube",
                "instance": "h:1",
            },
            "annotations": {
                "summary": "More than half of the jobs failed within an hour",
                "description": description,
                "runbook_url": "docs/runbooks/job_failures.md",
                "value": "0.5",
            },
            "startsAt": "1970-01-01T00:00:02.000Z",
            "endsAt": "1970-01-01T00:00:03.000Z",
            "generatorURL": "http://h/api/v1/alerts",
        }]);
        assert_eq!(body, expected);
    }

    #[test]
    fn every_annotation_that_the_exported_configuration_shows_is_sent() {
        let files = export(&ExportOptions::default());
        let file = files
            .iter()
            .find(|it| it.path.ends_with("alertmanager.yml"));
        let text = &file.unwrap().text;
        let named = text.split("Annotations.").skip(1).map(|it| {
            let end = it.find(|c: char| !c.is_alphanumeric() && c != '_');
            &it[..end.unwrap()]
        });
        let named: BTreeSet<&str> = named.collect();
        assert!(named.len() >= 3, "{named:?}");
        let (_, known) = known(Phase::Firing(2_000));
        let due: Vec<_> = known.into_iter().collect();
        let body = body(&due, &alerts(Expected::default()), &about());
        for name in named {
            assert!(body[0]["annotations"][name].is_string(), "{name}");
        }
    }

    #[test]
    fn two_masters_are_two_instances() {
        let listen = "10.0.0.7:8080".parse().unwrap();
        assert_eq!(instance(None, listen), "10.0.0.7:8080");
        let public = |url| instance(Some(url), listen);
        assert_eq!(public("https://ci.example.org"), "ci.example.org");
        assert_eq!(
            public("https://ci.example.org:8443/ci"),
            "ci.example.org:8443"
        );
        let anywhere = instance(None, "0.0.0.0:8080".parse().unwrap());
        assert!(!anywhere.starts_with("0.0.0.0"), "{anywhere}");
        assert!(anywhere.ends_with(":8080"), "{anywhere}");
    }
}
