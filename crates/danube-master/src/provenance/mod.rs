//! Where a job's artifacts come from: an in-toto statement with SLSA's provenance (v1), signed.
//!
//! It is made when somebody asks, from what is stored of an ended job; the same job gives the same
//! statement as long as its artifacts are kept. What the last attempt left is in it, and
//! nothing of attempts before: those ran elsewhere and at another time.

mod dsse;
mod keys;

use danube_api::Envelope;
use danube_redact::Secrets;
use danube_signals::JobSpans;
use danube_store::{Artifact, JobTrace};
use danube_telemetry::trace::proto::ResourceSpans;
use danube_telemetry::trace::{hex, spans, text_of};
use danube_worker::trace::context_of;
use serde_json::{Value, json};

pub use dsse::{PublicKey, open as open_envelope, pae};
pub(crate) use keys::Keys;

/// The type of what is signed.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The type of a statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The type of what it says.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";

/// How the parameters of a build are to be read: as a run of a pipeline or a playbook.
const BUILD_TYPE: &str = "https://danube.dev/v1/job";

/// What a statement is made from.
pub(crate) struct Known<'a> {
    /// The job and its order.
    pub(crate) of: &'a JobTrace,
    /// What it left, by name.
    pub(crate) artifacts: &'a [Artifact],
    /// The commit that was cloned, where it is still known.
    pub(crate) commit: Option<String>,
    /// What is kept out of every text.
    pub(crate) secrets: &'a Secrets,
    /// The server's address.
    pub(crate) builder: &'a str,
}

/// The statement; none where the last attempt left nothing. The job has ended.
pub(crate) fn statement(known: &Known<'_>) -> Option<Value> {
    let job = &known.of.job;
    let subjects = known
        .artifacts
        .iter()
        .filter(|it| it.attempt == job.attempt);
    let subjects: Vec<Value> = subjects
        .map(|it| json!({"name": it.name, "digest": {"sha256": hex(&it.sha256)}}))
        .collect();
    if subjects.is_empty() {
        return None;
    }
    let clean = |text: &str| known.secrets.redact(text);
    let parameters = known.of.parameters.iter();
    let parameters: serde_json::Map<String, Value> = parameters
        .map(|(name, value)| (clean(name), json!(clean(value))))
        .collect();
    let mut external = json!({job.kind.as_str(): clean(&job.pipeline), "parameters": parameters});
    let mut dependencies = Vec::new();
    if let Some(repository) = &known.of.repository {
        let repository = clean(&danube_model::playbook::source::without_secrets(repository));
        external["repository"] = json!(repository);
        if let Some(commit) = &known.commit {
            let uri = match repository.starts_with("git+") {
                true => repository,
                false => format!("git+{repository}"),
            };
            dependencies.push(json!({"uri": uri, "digest": {"gitCommit": commit}}));
        }
    }
    if let Some(git_ref) = &job.trigger_ref {
        external["ref"] = json!(clean(git_ref));
    }
    Some(json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": external,
                "internalParameters": {
                    "attempt": job.attempt,
                    "worker": job.worker_id,
                    "trigger": job.trigger.as_str(),
                    "submittedBy": clean(&job.submitted_by),
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": known.builder,
                    "version": {"danube": env!("CARGO_PKG_VERSION")},
                },
                "metadata": {
                    "invocationId": job.id.to_string(),
                    "startedOn": job.started_at.map(|it| it.to_string()),
                    "finishedOn": job.finished_at.map(|it| it.to_string()),
                    "danube_attempt": job.attempt,
                    "danube_result": job.status(),
                },
            },
        },
    }))
}

/// The statement, signed. It blocks.
pub(crate) fn sign(keys: &Keys, statement: &Value) -> std::io::Result<Envelope> {
    let payload = serde_json::to_vec(statement).expect("a tree of values is plain data");
    Ok(keys.signing()?.seal(PAYLOAD_TYPE, &payload))
}

/// The commit that the last attempt cloned, as the server's own span of it says: what others
/// send under that id counts for nothing.
pub(crate) fn commit(of: &JobTrace, trace: &[ResourceSpans]) -> Option<String> {
    if let Some(it) = of.job.playbook.as_ref().and_then(|it| it.progress.as_ref()) {
        return it.commit.clone();
    }
    let job = of.job.id.to_string();
    let ids = JobSpans {
        job_id: &job,
        context: context_of(&of.job.traceparent),
    };
    let own = ids.attempt(of.job.attempt).span_id;
    let span = spans(trace).find(|it| it.span_id == own)?;
    let commit = text_of(&span.attributes, "vcs.ref.head.revision")?;
    Some(commit.to_owned())
}
