//! Where git repositories live, and what a job that one of them asked for comes from.

use serde::{Deserialize, Serialize};

/// A kind of forge, by how it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// github.com, or GitHub Enterprise Server.
    GitHub,
    /// gitlab.com, or a GitLab of one's own.
    GitLab,
    /// Gitea, and Forgejo, which speaks the same.
    Gitea,
}

impl ForgeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::GitHub, Self::GitLab, Self::Gitea];

    /// The name in paths, on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// What a job that a forge asked for comes from. A retry comes from the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromForge {
    /// How the forge speaks.
    pub kind: ForgeKind,
    /// The name of the credential by which the forge is known.
    pub name: String,
    /// The repository there, such as `team/app`.
    pub repository: String,
    /// The commit: this one is fetched, whatever its branch has become meanwhile.
    pub commit: String,
    /// The number of the pull or merge request, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The commit comes from somebody who may not push to the repository.
    #[serde(default)]
    pub is_fork: bool,
    /// Who said that a fork's commit may have what its pipeline may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

impl FromForge {
    /// Whether the job may have no secrets and no credentials.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        self.is_fork && self.approved_by.is_none()
    }
}
