//! What is told of webhooks, as plain data.

use std::fmt;
use std::time::Duration;

use danube_model::{JobId, Timestamp};

/// Where a job's end is told. The whole address may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Callback {
    /// The whole address.
    pub url: String,
    /// The same without its query.
    pub shown: String,
    /// Scheme, host and port.
    pub origin: String,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({})", self.shown)
    }
}

/// How far a webhook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookState {
    /// It is tried, now or later.
    Pending,
    /// It arrived.
    Delivered,
    /// It was given up.
    Failed,
}

impl WebhookState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// A webhook as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The job that it tells of.
    pub job: JobId,
    /// Whose secret signs it.
    pub owner: String,
    /// Its address without the query.
    pub shown: String,
    /// How far it is.
    pub state: WebhookState,
    /// How many attempts there were.
    pub attempts: u32,
    /// When the job ended.
    pub ended_at: Timestamp,
    /// When it is tried next.
    pub due_at: Option<Timestamp>,
    /// When it was delivered or given up.
    pub settled_at: Option<Timestamp>,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// Which, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why it doesn't count as delivered.
    pub error: Option<String>,
}

/// A webhook to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWebhook {
    /// The job that it tells of.
    pub job: JobId,
    /// Whose secret signs it.
    pub owner: String,
    /// Scheme, host and port of its address.
    pub origin: String,
    /// The address without its query.
    pub shown: String,
    /// The number of the coming attempt.
    pub attempt: u32,
    /// Attempts since it was first due, or sent anew.
    pub round: u32,
    /// How often somebody had asked to send it anew.
    pub replays: u32,
    /// Whether its address didn't answer the last time.
    pub is_ailing: bool,
    /// When the job ended.
    pub ended_at: Timestamp,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The job that it tells of.
    pub job: JobId,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why it doesn't count as delivered; without secrets.
    pub error: Option<String>,
    /// Whether the receiver answered at all.
    pub has_answered: bool,
    /// What [`DueWebhook::replays`] was when it began.
    pub replays: u32,
    /// What follows, unless somebody has asked to send it anew meanwhile.
    pub next: AfterTry,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterTry {
    /// Nothing: it arrived.
    Delivered,
    /// Nothing: it is given up.
    Failed,
    /// Another attempt.
    Again(Timestamp),
}

/// The answer to a wish to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// It is due now.
    Due(Webhook),
    /// The job hasn't ended.
    NotEnded,
    /// There is no such webhook.
    NotFound,
}

/// What signs an owner's webhooks. There is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecrets {
    /// The one that counts.
    pub current: Vec<u8>,
    /// Those before that still sign, the latest first.
    pub previous: Vec<Vec<u8>>,
}

/// The answer to a wish to see the secret. There is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum ShowOutcome {
    /// Here it is.
    Shown(ShownSecret),
    /// As many sign as may; nothing was changed. The first of them stops then.
    TooMany(Timestamp),
}

/// A secret that is shown this once. There is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownSecret {
    /// The secret.
    pub secret: Vec<u8>,
    /// Until when the one before signs too, when there was one that somebody knows.
    pub previous_until: Option<Timestamp>,
}

/// What waits to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// How many webhooks.
    pub waiting: u64,
    /// When the first of them is to be tried, or was.
    pub oldest_due_at: Option<Timestamp>,
    /// When the first of their jobs ended.
    pub oldest_ended_at: Option<Timestamp>,
}
