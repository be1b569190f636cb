//! What one blueprint does differently from another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::Blueprint;

/// What a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The settings.
    Config,
    /// A user.
    User,
    /// A team.
    Team,
    /// A pipeline.
    Pipeline,
}

impl Part {
    /// As it is told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::User => "user",
            Self::Team => "team",
            Self::Pipeline => "pipeline",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

impl ChangeKind {
    /// As it is told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it concerns.
    pub part: Part,
    /// What became of it.
    pub kind: ChangeKind,
    /// Its name; empty for the settings.
    pub name: String,
}

/// All differences: settings, users, teams, pipelines, each by name.
#[must_use]
pub fn changes(old: &Blueprint, new: &Blueprint) -> Vec<Change> {
    let mut all = Vec::new();
    if old.config != new.config {
        all.push(Change {
            part: Part::Config,
            kind: ChangeKind::Changed,
            name: String::new(),
        });
    }
    compare(Part::User, &old.users, &new.users, &mut all);
    compare(Part::Team, &old.teams, &new.teams, &mut all);
    compare(Part::Pipeline, &old.pipelines, &new.pipelines, &mut all);
    all
}

fn compare<T: PartialEq>(
    part: Part,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    all: &mut Vec<Change>,
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let kind = match (old.get(name), new.get(name)) {
            (Some(a), Some(b)) if a == b => continue,
            (Some(_), Some(_)) => ChangeKind::Changed,
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
        };
        all.push(Change {
            part,
            kind,
            name: name.clone(),
        });
    }
}
