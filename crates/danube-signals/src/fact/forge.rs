//! Facts about forges: what they send, and what they are told.

use super::fact;

fact! {
    /// A forge's webhook was not accepted.
    WebhookRejected<'a> = "webhook_rejected", WARN, "danube.api";
    {
        /// `github`, `gitlab`, `gitea`, or `unknown`.
        forge: &'a str,
        /// `signature`, `stale`, `replay`, `too_large`, `rate`, `media_type`, `malformed` or
        /// `inbox_full`.
        reason: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A forge asked for what waits until fewer jobs do.
    WebhookKept<'a> = "webhook_kept", INFO, "danube.api";
    {
        /// `github`, `gitlab` or `gitea`.
        forge: &'a str,
        /// The name of its credential.
        credential_name: &'a str,
        /// How many pipelines.
        starts: u64,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// What a forge asked for and was kept is not started.
    WebhookDropped<'a> = "webhook_dropped", WARN, "danube.api";
    {
        /// `github`, `gitlab` or `gitea`.
        forge: &'a str,
        /// The name of its credential.
        credential_name: &'a str,
        pipeline: &'a str,
        trigger_ref: &'a str,
        /// Why.
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
