//! What administrators keep: workers, credentials and secrets by name, keys, webhooks on their way.
//!
//! Values of secrets and keys never come here: their types have none.

use askama::Template;
use danube_api::{CredentialView, DeliveryView, KeyView, SecretView, WorkerView};
use serde::Serialize;

use crate::words;
use crate::{Page, Shell, Tab};

/// Workers on other machines.
#[derive(Debug, Clone, Serialize)]
pub struct WorkersPage {
    /// Oldest first.
    pub workers: Vec<WorkerView>,
    /// The server's own worker.
    pub own: OwnWorker,
}

/// The worker in the server's process.
#[derive(Debug, Clone, Serialize)]
pub struct OwnWorker {
    /// Jobs that it runs at once; 0 where it runs none.
    pub jobs_at_once: usize,
}

/// What jobs may be given: names, and who used what when.
#[derive(Debug, Clone, Serialize)]
pub struct SecretsPage {
    /// What playbooks and clones sign in with; none for who may not see them.
    pub credentials: Option<Vec<CredentialView>>,
    /// What pipelines ask for.
    pub secrets: Vec<SecretView>,
}

/// API keys.
#[derive(Debug, Clone, Serialize)]
pub struct KeysPage {
    /// Oldest first.
    pub keys: Vec<KeyView>,
}

/// Webhooks, that of the newest job first.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveriesPage {
    /// Only those with this status; empty for any.
    pub status: String,
    /// On this page.
    pub deliveries: Vec<DeliveryView>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// One webhook with its attempts.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryPage {
    /// As the API shows it.
    pub delivery: DeliveryView,
}

/// The choice of a status.
const STATUSES: [(&str, &str); 4] = [
    ("", "any status"),
    ("pending", "pending"),
    ("delivered", "delivered"),
    ("failed", "failed"),
];

impl DeliveriesPage {
    fn next(&self) -> Option<String> {
        let cursor = words::in_query(self.next_cursor.as_deref()?);
        let status = words::in_query(&self.status);
        Some(format!("/webhooks?status={status}&cursor={cursor}"))
    }
}

impl KeysPage {
    fn state(key: &KeyView) -> &'static str {
        match key {
            KeyView {
                revoked_at: Some(_),
                ..
            } => "revoked",
            KeyView {
                is_expired: true, ..
            } => "expired",
            _ => "valid",
        }
    }
}

macro_rules! page {
    ($page:ty, $html:ident, $path:literal, $tab:ident, $title:expr) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $html<'a> {
            shell: &'a Shell,
            page: &'a $page,
        }

        impl Page for $page {
            fn title(&self) -> String {
                let title: fn(&$page) -> String = $title;
                title(self)
            }

            fn tab(&self) -> Option<Tab> {
                Some(Tab::$tab)
            }

            fn html(&self, shell: &Shell) -> askama::Result<String> {
                $html { shell, page: self }.render()
            }
        }
    };
}

page!(WorkersPage, WorkersHtml, "workers.html", Workers, |_| {
    "Workers".to_owned()
});
page!(SecretsPage, SecretsHtml, "secrets.html", Secrets, |_| {
    "Secrets".to_owned()
});
page!(KeysPage, KeysHtml, "keys.html", Keys, |_| "API keys"
    .to_owned());
page!(
    DeliveriesPage,
    DeliveriesHtml,
    "deliveries.html",
    Webhooks,
    |_| "Webhooks".to_owned()
);
page!(
    DeliveryPage,
    DeliveryHtml,
    "delivery.html",
    Webhooks,
    |it| { format!("Webhook {}", it.delivery.id) }
);
