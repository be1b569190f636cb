//! What a webhook says, and its signature: Standard Webhooks, so that receivers verify it with
//! a library of theirs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use danube_model::{Job, JobId, Timestamp};
use danube_store::SigningSecrets;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

/// What stands before a secret.
const SECRET_PREFIX: &str = "whsec_";

/// The type of the one event there is.
const TYPE: &str = "job.completed";

/// The same for every attempt, so that a receiver notices one that came twice.
pub(crate) fn id(job: JobId) -> String {
    format!("msg_{job}")
}

/// The job of a webhook's id.
pub(crate) fn job_of(id: &str) -> Option<JobId> {
    id.strip_prefix("msg_")?.parse().ok()
}

/// A secret as receivers' libraries take it.
pub(crate) fn shown_secret(secret: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(secret))
}

/// The value of `webhook-signature`: one for each secret that is good now, the latest first.
pub(super) fn signature(secrets: &SigningSecrets, id: &str, seconds: i64, body: &str) -> String {
    let all = std::iter::once(&secrets.current).chain(&secrets.previous);
    let signed = all.map(|secret| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    });
    signed.collect::<Vec<_>>().join(" ")
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    job_id: String,
    short_id: String,
    kind: &'static str,
    pipeline: &'a str,
    status: &'static str,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    duration_seconds: Option<f64>,
    exit_code: Option<i32>,
    reason: Option<&'a str>,
    url: String,
    logs_url: String,
    trace_id: &'a str,
}

/// The body: what happened and where to read on, the same for every attempt. `base` is the
/// address under which others reach the server.
pub(super) fn body(job: &Job, ended_at: Timestamp, base: &str) -> String {
    let message = Message {
        r#type: TYPE,
        timestamp: ended_at,
        data: Data {
            job_id: job.id.to_string(),
            short_id: job.id.short(),
            kind: job.kind.as_str(),
            pipeline: &job.pipeline,
            status: job.status(),
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            duration_seconds: job.duration_seconds(),
            exit_code: job.exit_code,
            reason: job.reason.as_deref(),
            url: format!("{base}/jobs/{}", job.id),
            logs_url: format!("{base}/api/v1/jobs/{}/logs", job.id),
            trace_id: &job.trace_id,
        },
    };
    serde_json::to_string(&message).expect("a message holds nothing but texts and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_the_one_of_standard_webhooks() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secrets = SigningSecrets {
            current: secret.clone(),
            previous: Vec::new(),
        };
        let body = r#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(&secrets, id, 1_614_265_330, body), expected);
        let both = SigningSecrets {
            current: vec![7; 24],
            previous: vec![vec![8; 24], secret],
        };
        let found = signature(&both, id, 1_614_265_330, body);
        assert!(found.ends_with(&format!(" {expected}")), "{found}");
    }

    #[test]
    fn a_secret_is_shown_with_its_prefix() {
        assert_eq!(shown_secret(&[0; 3]), "whsec_AAAA");
    }
}
