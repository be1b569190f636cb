//! What stands around each page.

use danube_model::Timestamp;

use crate::assets;

/// The frame of a page: who looks at it, when, and below which address.
#[derive(Debug, Clone)]
pub struct Shell {
    /// The path below which the server is reached: empty, or `/` and more without a `/` at its end.
    pub base: String,
    /// The moment that the page shows.
    pub now: Timestamp,
    /// Who is signed in; none on the pages of the sign-in.
    pub viewer: Option<Viewer>,
    /// What is wrong with the server as a whole.
    pub notice: Option<Notice>,
    /// How many alerts fire.
    pub firing: u64,
}

/// Who looks at a page.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// As they are called in logs.
    pub name: String,
    /// The token of their forms; empty of who came with a key, and has no forms.
    pub csrf: String,
    /// Whether they manage the server.
    pub is_admin: bool,
    /// Whether they may look at what belongs to no pipeline: metrics, alerts and checks.
    pub reads_server: bool,
}

/// A line at the head of each page.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What is wrong.
    pub head: String,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub why: String,
    /// The commit in force, and when it was taken.
    pub in_force: Option<(String, Timestamp)>,
}

/// An entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// What runs and ran.
    Jobs,
    /// How pipelines do.
    Pipelines,
    /// Who runs jobs.
    Workers,
    /// What jobs may be given.
    Secrets,
    /// Who may call.
    Keys,
    /// What others are told.
    Webhooks,
    /// What the server's metrics were.
    Dashboards,
    /// What fires.
    Alerts,
    /// What the checks found.
    Health,
    /// What the server tells of itself.
    Signals,
}

impl Tab {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Jobs,
        Self::Pipelines,
        Self::Dashboards,
        Self::Alerts,
        Self::Health,
        Self::Workers,
        Self::Secrets,
        Self::Keys,
        Self::Webhooks,
        Self::Signals,
    ];

    /// What it is called, where it leads below the base path, and who sees it.
    const fn about(self) -> (&'static str, &'static str, SeenBy) {
        match self {
            Self::Jobs => ("Jobs", "/", SeenBy::All),
            Self::Pipelines => ("Pipelines", "/pipelines", SeenBy::All),
            Self::Dashboards => ("Dashboards", "/dashboards", SeenBy::Readers),
            Self::Alerts => ("Alerts", "/alerts", SeenBy::Readers),
            Self::Health => ("Health", "/checks", SeenBy::Readers),
            Self::Workers => ("Workers", "/workers", SeenBy::Admins),
            Self::Secrets => ("Secrets", "/secrets", SeenBy::All),
            Self::Keys => ("API keys", "/keys", SeenBy::Admins),
            Self::Webhooks => ("Webhooks", "/webhooks", SeenBy::All),
            Self::Signals => ("Signals", "/signals", SeenBy::All),
        }
    }

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.about().0
    }

    /// Where it leads, below the base path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.about().1
    }

    fn is_for(self, viewer: &Viewer) -> bool {
        match self.about().2 {
            SeenBy::All => true,
            SeenBy::Readers => viewer.reads_server,
            SeenBy::Admins => viewer.is_admin,
        }
    }
}

/// Who sees an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SeenBy {
    All,
    /// Who may look at what belongs to no pipeline.
    Readers,
    /// Who manages the server.
    Admins,
}

impl Shell {
    /// The address of a path of ours.
    #[must_use]
    pub fn to(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The address of a file of [`assets`].
    #[must_use]
    pub fn asset(&self, name: &str) -> String {
        format!("{}{}", self.base, assets::path(name))
    }

    /// The entries that this viewer sees.
    #[must_use]
    pub fn tabs(&self) -> Vec<Tab> {
        let Some(viewer) = &self.viewer else {
            return Vec::new();
        };
        let all = Tab::ALL.into_iter();
        all.filter(|it| it.is_for(viewer)).collect()
    }

    /// How many alerts fire, beside their entry.
    #[must_use]
    pub fn badge(&self, tab: &Tab) -> Option<u64> {
        let of_alerts = *tab == Tab::Alerts;
        (of_alerts && self.firing > 0).then_some(self.firing)
    }

    /// The token of this page's forms, where there are forms.
    #[must_use]
    pub fn csrf(&self) -> Option<&str> {
        let viewer = self.viewer.as_ref()?;
        Some(viewer.csrf.as_str()).filter(|it| !it.is_empty())
    }
}
