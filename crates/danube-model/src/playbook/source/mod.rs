//! Where a playbook comes from: six kinds of sources, each checked whole.
//!
//! [`Source::read`] takes one out of a request, [`Source::shown`] says what may
//! be shown of it: never a query, a user or a playbook's text, because each may
//! hold a secret.

pub(super) mod read;
pub(super) mod rules;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use rules::{
    INLINE_BYTES_MAX, PATH_BYTES_MAX, PATTERN_BYTES_MAX, STRIP_COMPONENTS_MAX, URL_BYTES_MAX,
    VARS_BYTES_MAX, is_inside, without_secrets,
};

/// A checked source. Only [`Source::read`] makes one of what a person wrote.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Source {
    /// A playbook in a git repository.
    Playbook {
        /// The repository's address, as `git` takes it.
        repo: String,
        /// The branch, tag or commit; none for the repository's own.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        git_ref: Option<String>,
        /// The playbook's path in it.
        path: String,
    },
    /// A role in a git repository, which a generated playbook applies.
    Role {
        /// The repository's address, as `git` takes it.
        repo: String,
        /// The branch, tag or commit; none for the repository's own.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        git_ref: Option<String>,
        /// The role's name.
        name: String,
        /// The hosts that it is applied to, as an Ansible pattern.
        hosts: String,
        /// Variables of the role.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        vars: Map<String, Json>,
    },
    /// An archive or a playbook in a Nexus repository.
    Nexus(Nexus),
    /// An archive behind a URL.
    Archive {
        /// Its address, `https` or `http`.
        url: String,
        /// Its SHA-256 in lower-case hex. Always there for `http`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// The playbook's path in it.
        path: String,
        /// Leading directories that are taken off every name in it.
        #[serde(default)]
        strip_components: u32,
    },
    /// A small playbook in the request itself.
    Inline {
        /// The playbook, in YAML.
        playbook: String,
    },
    /// A directory of the worker's machine that the operator allows.
    Local {
        /// The directory, absolute.
        path: String,
        /// The playbook's path in it.
        playbook: String,
    },
}

/// A file in a repository of a Nexus server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nexus {
    /// The server's address, before `/repository/`.
    pub url: String,
    /// The repository's name.
    pub repository: String,
    /// The file in it.
    #[serde(flatten)]
    pub artifact: Artifact,
    /// What the file's bytes must be; Nexus is asked where this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// The playbook's path in the archive; none when the file is the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Leading directories that are taken off every name in the archive.
    #[serde(default)]
    pub strip_components: u32,
}

/// Which file of a Nexus repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "lowercase")]
pub enum Artifact {
    /// A path in a raw repository.
    Raw {
        /// The path.
        #[serde(rename = "artifact")]
        path: String,
    },
    /// Coordinates in a Maven 2 repository.
    Maven2 {
        /// The group, with dots.
        group: String,
        /// The artifact's id.
        artifact: String,
        /// The version; may end in `-SNAPSHOT`.
        version: String,
        /// The classifier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        classifier: Option<String>,
        /// The file's extension.
        extension: String,
    },
}

/// What a file's bytes must be, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// 64 digits.
    Sha256(String),
    /// 40 digits; what old Maven repositories have.
    Sha1(String),
}

/// The kinds of sources: the values of the label `source_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// [`Source::Playbook`]
    Playbook,
    /// [`Source::Role`]
    Role,
    /// [`Source::Nexus`]
    Nexus,
    /// [`Source::Archive`]
    Archive,
    /// [`Source::Inline`]
    Inline,
    /// [`Source::Local`]
    Local,
}

impl SourceKind {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Playbook,
        Self::Role,
        Self::Nexus,
        Self::Archive,
        Self::Inline,
        Self::Local,
    ];

    /// Its word in requests, labels and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Playbook => "playbook",
            Self::Role => "role",
            Self::Nexus => "nexus",
            Self::Archive => "archive",
            Self::Inline => "inline",
            Self::Local => "local",
        }
    }
}

/// What may be shown of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Which kind it is.
    #[serde(rename = "type")]
    pub kind: SourceKind,
    /// Where it is, without user, query and fragment; none for inline ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The branch, tag, commit or version that was asked for.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The playbook's path in it, or the role's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.kind.as_str())?;
        if let Some(location) = &self.location {
            write!(out, " {location}")?;
        }
        if let Some(git_ref) = &self.git_ref {
            write!(out, " at {git_ref}")?;
        }
        match &self.path {
            Some(path) => write!(out, ": {path}"),
            None => Ok(()),
        }
    }
}

impl Source {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Playbook { .. } => SourceKind::Playbook,
            Self::Role { .. } => SourceKind::Role,
            Self::Nexus(_) => SourceKind::Nexus,
            Self::Archive { .. } => SourceKind::Archive,
            Self::Inline { .. } => SourceKind::Inline,
            Self::Local { .. } => SourceKind::Local,
        }
    }

    /// The git repository that it is in.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::Playbook { repo, .. } | Self::Role { repo, .. } => Some(repo),
            _ => None,
        }
    }

    /// What may be shown of it.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let (location, git_ref, path) = match self {
            Self::Playbook {
                repo,
                git_ref,
                path,
            } => (Some(without_secrets(repo)), git_ref.clone(), Some(path)),
            Self::Role {
                repo,
                git_ref,
                name,
                ..
            } => (Some(without_secrets(repo)), git_ref.clone(), Some(name)),
            Self::Nexus(nexus) => (
                Some(nexus.location()),
                nexus.version().map(str::to_owned),
                nexus.path.as_ref(),
            ),
            Self::Archive { url, path, .. } => (Some(without_secrets(url)), None, Some(path)),
            Self::Inline { .. } => (None, None, None),
            Self::Local { path, playbook } => (Some(path.clone()), None, Some(playbook)),
        };
        Shown {
            kind: self.kind(),
            location,
            git_ref,
            path: path.cloned(),
        }
    }
}

impl Nexus {
    /// The server and what is asked of it, without user and query.
    fn location(&self) -> String {
        let server = without_secrets(self.url.trim_end_matches('/'));
        let repository = &self.repository;
        match &self.artifact {
            Artifact::Raw { path } => format!("{server}/repository/{repository}/{path}"),
            Artifact::Maven2 {
                group, artifact, ..
            } => format!("{server}/repository/{repository} {group}:{artifact}"),
        }
    }

    fn version(&self) -> Option<&str> {
        match &self.artifact {
            Artifact::Raw { .. } => None,
            Artifact::Maven2 { version, .. } => Some(version),
        }
    }
}

/// Only what may be shown: a derived one would print texts and queries.
impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Source({})", self.shown())
    }
}

/// Only what may be shown.
impl fmt::Debug for Nexus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Nexus({})", self.location())
    }
}

#[cfg(test)]
mod tests;
