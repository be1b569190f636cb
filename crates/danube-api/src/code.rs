//! Stable error codes: clients branch on them, `danube explain` prints them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Declares the codes once: name on the wire, HTTP status, title, and what to do. A name
/// is taken as a token: wrapped as a `literal`, the schema's macro wouldn't see it.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $name:tt $status:literal $title:literal $help:literal;)+) => {
        /// What went wrong, for machines.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Code {
            /// Every code, in the order of their status.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// What it means, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),+ }
            }
        }
    };
}

codes! {
    /// The body, a header or a query can't be read at all.
    Malformed "malformed" 400 "the request can't be read"
        "Correct the JSON, header or query that `detail` names.";
    /// No key, or one that isn't valid.
    Unauthorized "unauthorized" 401 "no valid API key"
        "Send `Authorization: Bearer KEY`. The first key stands in `admin.key` in the data directory.";
    /// The key is valid, but not for this.
    Forbidden "forbidden" 403 "this key may not do that"
        "Use a key with a role that may: viewer reads, member submits and cancels, admin manages keys.";
    /// Nobody may profile the server.
    ProfilingOff "profiling_off" 403 "profiling is off"
        "Set `observability.profiling` to `on` where others can reach the server, or to `auto` where it was switched off.";
    /// No such job, pipeline, key or page.
    NotFound "not_found" 404 "not found"
        "Look the id or name up with `danube jobs`; ids are never reused.";
    /// The address exists, but not with this method.
    MethodNotAllowed "method_not_allowed" 405 "method not allowed"
        "Use one of the methods in the `Allow` header; `/api/v1/openapi.json` lists them.";
    /// The state of the job doesn't allow it.
    WrongState "wrong_state" 409 "the job's state doesn't allow this"
        "Read the job: an ended job can't be cancelled, and only an ended one can be retried.";
    /// More than one job has this short id.
    Ambiguous "ambiguous" 409 "more than one job has this short id"
        "Use the full id; `detail` lists them.";
    /// The idempotency key was used with another body.
    IdempotencyConflict "idempotency_conflict" 409 "the idempotency key was used for another request"
        "Use a fresh `Idempotency-Key` for another body; the same key with the same body is safe to repeat.";
    /// The name is taken.
    NameTaken "name_taken" 409 "this name is taken"
        "Choose another name, or revoke the key that has it.";
    /// There is no room for another credential.
    TooManyCredentials "too_many_credentials" 409 "there are as many credentials as there may be"
        "Delete one that nobody uses: `danube credential list` tells when each was last used.";
    /// There is no room for another signing secret.
    TooManySecrets "too_many_secrets" 409 "as many secrets sign webhooks as may at once"
        "Use the latest one that you were shown, or ask again when `detail` says.";
    /// There is no room for another secret.
    SecretsFull "secrets_full" 409 "there are as many secrets as there may be"
        "Delete one that no pipeline names: `danube secret list` tells when each was last used.";
    /// Another profile is being taken.
    ProfileBusy "profile_busy" 409 "another profile is being taken"
        "Ask again when it is done, within a minute; `DANUBE_PROFILE` profiles a whole run, which ends with the server.";
    /// No blueprint is followed.
    NoBlueprint "no_blueprint" 409 "no blueprint is followed"
        "Name its repository in `blueprint.url` and start the server anew.";
    /// The log was there once.
    LogGone "log_gone" 410 "the log has been deleted"
        "Read the job itself: only its log is gone. `retention` decides how long logs are kept.";
    /// The body is larger than the server takes.
    TooLarge "too_large" 413 "the body is too large"
        "Send less, or raise `server.body_bytes_max`; for an artifact, the setting that `detail` names.";
    /// The body isn't JSON by its header.
    UnsupportedMediaType "unsupported_media_type" 415 "the body must be JSON"
        "Send `Content-Type: application/json`.";
    /// The range lies outside the log.
    RangeNotSatisfiable "range_not_satisfiable" 416 "the range lies outside the log"
        "Ask within the size that `Content-Range` names.";
    /// Understood, but wrong; `errors` lists every mistake.
    Invalid "invalid" 422 "the request is wrong"
        "Correct everything that `errors` lists; nothing was changed.";
    /// A commit of the blueprint has mistakes; `errors` lists them.
    BlueprintWrong "blueprint_wrong" 422 "the blueprint is wrong"
        "Correct what `errors` names and push it; what was in force stays until then.";
    /// Too many at once.
    TooMany "too_many" 429 "too many requests"
        "Wait as long as `Retry-After` says.";
    /// As many jobs wait as may.
    QueueFull "queue_full" 429 "as many jobs wait as may"
        "Try again when some have begun. `max_pending` of the pipeline, or `queue.max_pending` of the server, says how many may wait.";
    /// Something broke that isn't the caller's fault.
    Internal "internal" 500 "the server failed"
        "Look for the request id in the server's log.";
    /// The repository of the blueprint can't be read.
    BlueprintAway "blueprint_away" 502 "the blueprint can't be fetched"
        "Look at `blueprint.url`, `blueprint.branch` and `blueprint.credential`, and whether the server is there.";
    /// The server is starting, stopping, or can't use its database now.
    Unavailable "unavailable" 503 "the server can't do this now"
        "Try again; `/health/ready` says what is missing.";
    /// The request took longer than the server gives it.
    TooSlow "too_slow" 504 "the server took too long"
        "Try again; when it was a submit, with the same `Idempotency-Key`.";
    /// The disk is full.
    NoSpace "no_space" 507 "no space left on the server"
        "Free space below the data directory; nothing was changed.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let names: std::collections::HashSet<&str> =
            Code::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{}", code.as_str());
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
