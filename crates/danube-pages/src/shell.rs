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
}

impl Tab {
    /// All of them, in their order.
    pub const ALL: [Self; 6] = [
        Self::Jobs,
        Self::Pipelines,
        Self::Workers,
        Self::Secrets,
        Self::Keys,
        Self::Webhooks,
    ];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jobs => "Jobs",
            Self::Pipelines => "Pipelines",
            Self::Workers => "Workers",
            Self::Secrets => "Secrets",
            Self::Keys => "API keys",
            Self::Webhooks => "Webhooks",
        }
    }

    /// Where it leads, below the base path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Jobs => "/",
            Self::Pipelines => "/pipelines",
            Self::Workers => "/workers",
            Self::Secrets => "/secrets",
            Self::Keys => "/keys",
            Self::Webhooks => "/webhooks",
        }
    }

    /// Whether only those see it who manage the server.
    #[must_use]
    pub const fn is_for_admins(self) -> bool {
        match self {
            Self::Jobs | Self::Pipelines | Self::Secrets | Self::Webhooks => false,
            Self::Workers | Self::Keys => true,
        }
    }
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
        let is_admin = self.viewer.as_ref().is_some_and(|it| it.is_admin);
        let seen = Tab::ALL.into_iter().filter(|_| self.viewer.is_some());
        seen.filter(|it| is_admin || !it.is_for_admins()).collect()
    }

    /// The token of this page's forms, where there are forms.
    #[must_use]
    pub fn csrf(&self) -> Option<&str> {
        let viewer = self.viewer.as_ref()?;
        Some(viewer.csrf.as_str()).filter(|it| !it.is_empty())
    }
}
