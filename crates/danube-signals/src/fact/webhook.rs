//! Facts about webhooks that are sent.

use super::fact;
use crate::labels::Truth;

fact! {
    /// A webhook was delivered.
    WebhookSent<'a> = "webhook_sent", INFO, "danube.api";
    {
        job_id: &'a str,
        /// Without its query, which may hold a token.
        callback_url: &'a str,
        status_code: u32,
        /// Which attempt it was, from 1.
        attempt: u32,
    }
    also {
        /// Counted under the names of the playbook API too.
        is_playbook: bool,
    }
    metrics |fact, signals| {
        signals.webhook_deliveries_total.at(Truth::True).inc();
        if fact.is_playbook {
            signals.playbook_webhook_deliveries_total.at(Truth::True).inc();
        }
    }
}

fact! {
    /// An attempt to deliver a webhook failed.
    WebhookFailed<'a> = "webhook_failed", WARN, "danube.api";
    {
        job_id: &'a str,
        /// Without its query, which may hold a token.
        callback_url: &'a str,
        /// What went wrong, and whether it is tried again.
        error: &'a str,
        attempt: u32,
    }
    also {
        /// Counted under the names of the playbook API too.
        is_playbook: bool,
    }
    metrics |fact, signals| {
        signals.webhook_deliveries_total.at(Truth::False).inc();
        if fact.is_playbook {
            signals.playbook_webhook_deliveries_total.at(Truth::False).inc();
        }
    }
}
