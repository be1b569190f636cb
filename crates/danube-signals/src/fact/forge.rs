//! Facts about forges: what they send, and what they are told.

use super::fact;

fact! {
    /// A forge's webhook was not accepted.
    WebhookRejected<'a> = "webhook_rejected", WARN, "danube.api";
    {
        /// `github`, `gitlab`, `gitea`, or `unknown`.
        forge: &'a str,
        /// `signature`, `stale`, `replay`, `too_large`, `rate`, `media_type` or `malformed`.
        reason: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A forge could not be told how a job stands.
    CommitStatusFailed<'a> = "commit_status_failed", WARN, "danube.api";
    {
        job_id: &'a str,
        /// `github`, `gitlab` or `gitea`.
        forge: &'a str,
        /// The name of its credential.
        credential_name: &'a str,
        /// What went wrong, and whether it is tried again.
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}
