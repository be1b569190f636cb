//! Forges: GitHub, GitLab, Gitea and Forgejo. Their webhooks start pipelines, and they are told
//! how the jobs stand.
//!
//! ```text
//! webhook ──▶ ../rates.rs ──▶ signed.rs ──▶ message.rs ──▶ files.rs ──▶ decide.rs ──▶ take.rs: jobs
//! no more jobs may wait ──▶ the store's inbox ──▶ inbox.rs: jobs, when some have begun
//! job came or ended ──▶ the store's outbox ──▶ status.rs ──▶ the forge's API
//! ```
//!
//! A forge is known by a credential: its kind, its address, the secret of its webhooks, and
//! the token that may set the status of commits.

mod api;
mod decide;
mod files;
mod inbox;
pub(crate) mod look;
pub(crate) mod message;
mod place;
pub(crate) mod signed;
mod status;
mod take;

use std::sync::Arc;

use danube_model::ForgeKind;
use danube_model::credential::{Credential, SecretText};
use danube_outgoing::{Client, Policy};
use danube_signals::Signals;
use danube_store::{Store, StoreError};
use danube_worker::HttpCalls;
use tokio::sync::{Notify, Semaphore};

use crate::rates::{Network, Rate, Rates};
use crate::settings::ForgeSettings;
use crate::webhooks::USER_AGENT;
use inbox::Overflow;
pub(crate) use inbox::start_what_waits;
pub(crate) use status::tell_statuses;
pub(crate) use take::{NotTaken, ignored, take, taken};

/// How fast webhooks may come from one address to forges of one kind: a push to many branches,
/// or of many repositories, is one webhook each.
const RATE: Rate = Rate {
    burst: 300,
    per_second: 5.0,
};

/// Large bodies at once: strangers may send them.
const LARGE_BODIES_MAX: usize = 16;

/// What takes webhooks of forges, and tells them.
pub(crate) struct Forges {
    /// How fast webhooks come: strangers may call, so each address has its share.
    pub(crate) rates: Rates<(Option<ForgeKind>, Network)>,
    /// Turns at having a large body in memory.
    pub(crate) large: Semaphore,
    /// Calls forges.
    client: Client,
    /// Rung when there is something to tell.
    bell: Arc<Notify>,
    /// Rung when a job waits no more.
    room: Arc<Notify>,
    /// Rung when a start begins to wait.
    kept: Notify,
    /// Webhooks that found no room at all.
    pub(crate) overflow: Overflow,
    /// Turns at asking forges for files.
    asking: Semaphore,
}

/// What commits ring.
#[derive(Default, Clone)]
pub(crate) struct Bells {
    /// A status is to be told.
    pub(crate) statuses: Arc<Notify>,
    /// A job waits no more.
    pub(crate) room: Arc<Notify>,
}

impl Forges {
    pub(crate) fn new(settings: &ForgeSettings, bells: Bells, signals: &Signals) -> Self {
        let policy = Policy {
            allow_private: settings.allow_private.clone(),
            allow_http: settings.allow_http,
        };
        let calls = Arc::new(HttpCalls(signals.clone()));
        Self {
            client: Client::new(policy, USER_AGENT).metered(calls),
            bell: bells.statuses,
            room: bells.room,
            kept: Notify::default(),
            overflow: Overflow::default(),
            asking: Semaphore::new(files::AT_ONCE_MAX),
            rates: Rates::new(RATE),
            large: Semaphore::new(LARGE_BODIES_MAX),
        }
    }
}

/// A forge that is known. Holds secrets: there is no `Debug`.
pub(crate) struct Forge {
    pub(crate) kind: ForgeKind,
    /// The name of its credential.
    pub(crate) name: String,
    /// Its address.
    pub(crate) url: String,
    /// What its webhooks prove themselves by.
    pub(crate) webhook_secret: SecretText,
    /// What it is told things by; none where it isn't told any.
    pub(crate) token: Option<SecretText>,
}

impl Forge {
    /// The forge of this kind with this name; none where there is none. Blocks.
    ///
    /// # Errors
    /// When the database can't be read.
    pub(crate) fn known(
        store: &Store,
        kind: ForgeKind,
        name: &str,
    ) -> Result<Option<Self>, StoreError> {
        match store.own_credential(name) {
            Ok(credential) => Ok(Self::of(credential).filter(|it| it.kind == kind)),
            Err(StoreError::NoCredentials(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(credential: Credential) -> Option<Self> {
        let kind = credential.kind.forge()?;
        let url = credential.shown("url").or_else(|| place::usual_url(kind));
        Some(Self {
            kind,
            url: url?.to_owned(),
            webhook_secret: credential.secret("webhook_secret")?.clone(),
            token: credential.secret("token").cloned(),
            name: credential.name,
        })
    }
}
