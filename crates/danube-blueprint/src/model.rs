//! What a blueprint is once it is checked. It can't be wrong: only [`crate::read()`] makes one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use danube_model::spec::Pipeline;
use serde::{Deserialize, Serialize};

use crate::texts::matches;

/// A day as retention counts it.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that a repository declares, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Blueprint {
    /// Settings of the server.
    pub config: Config,
    /// Who may sign in.
    pub users: BTreeMap<String, User>,
    /// Users together, to give them rights.
    pub teams: BTreeMap<String, Team>,
    /// What can be run.
    pub pipelines: BTreeMap<String, Declared>,
}

/// Settings; `None` leaves the server's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// How long things are kept.
    #[serde(default)]
    pub retention: Retention,
    /// What the server tells of itself.
    #[serde(default)]
    pub observability: Observability,
    /// What is taken out of job logs.
    #[serde(default)]
    pub redaction: Redaction,
    /// What jobs may take.
    #[serde(default)]
    pub limits: Limits,
}

/// How long things are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Days of a job log; 0 for ever.
    pub logs_days: Option<u64>,
    /// Bytes of all job logs; 0 for no limit.
    pub logs_max_bytes: Option<u64>,
    /// Days of an artifact; 0 for ever.
    pub artifacts_days: Option<u64>,
    /// Bytes of the artifacts of all jobs; 0 for no limit.
    #[serde(default)]
    pub artifacts_max_bytes: Option<u64>,
    /// Share of the disk that stays free; 0 for none.
    pub disk_free_percent: Option<u64>,
    /// Jobs of which all is kept, whatever the others say.
    #[serde(default)]
    pub keep: Vec<Keep>,
}

/// Jobs whose logs, traces and artifacts neither their time nor a lack of room ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Patterns of pipelines; see [`crate::matches()`].
    pub pipelines: Vec<String>,
    /// Patterns of refs; with any, a job without a ref isn't meant.
    pub refs: Vec<String>,
    /// For so many days; none for ever.
    pub days: Option<u64>,
}

impl Keep {
    /// Whether what a job of this pipeline and ref left so long ago is kept.
    #[must_use]
    pub fn keeps(&self, pipeline: &str, git_ref: Option<&str>, age: Duration) -> bool {
        let is_young = self.days.is_none_or(|days| age <= DAY * days_of(days));
        is_young && matches(&self.pipelines, pipeline) && self.takes_ref(git_ref)
    }

    /// A branch and a tag go by their short names, too.
    fn takes_ref(&self, git_ref: Option<&str>) -> bool {
        if self.refs.is_empty() {
            return true;
        }
        let Some(whole) = git_ref else {
            return false;
        };
        let short = ["refs/heads/", "refs/tags/"].iter();
        let short = short.filter_map(|it| whole.strip_prefix(it)).next();
        matches(&self.refs, short.unwrap_or(whole))
    }
}

fn days_of(days: u64) -> u32 {
    u32::try_from(days).unwrap_or(u32::MAX)
}

/// What the server tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observability {
    /// The level of the server's log.
    pub log_level: Option<String>,
}

/// What is taken out of job logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redaction {
    /// Also addresses of e-mail.
    pub email: Option<bool>,
}

/// What jobs may take.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds that a job may take, whatever its pipeline says.
    pub max_duration_seconds: Option<u64>,
    /// Bytes of one artifact.
    pub artifact_file_max_bytes: Option<u64>,
    /// Bytes of all artifacts of a job.
    pub artifact_job_max_bytes: Option<u64>,
    /// What each step may use of the machine.
    #[serde(default)]
    pub step: danube_model::spec::Limits,
}

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The address by which sign-in knows them, as it was written.
    pub email: String,
    /// May do everything.
    pub admin: bool,
}

/// Users together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Names of users.
    pub members: BTreeSet<String>,
}

/// A pipeline and all that is declared around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// What is run.
    pub pipeline: Pipeline,
    /// The program of its repository that is run instead of steps.
    pub script: Option<String>,
    /// The image that its steps run in, where the executor has images.
    pub image: Option<String>,
    /// What starts it.
    pub triggers: Triggers,
    /// Who may do what with it.
    pub permissions: Permissions,
    /// The file that declares it, from the top of the repository.
    pub file: String,
}

/// What starts a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggers {
    /// A push to its repository.
    pub push: Option<PushTrigger>,
    /// A request to merge into its repository.
    pub pull_request: Option<PullRequestTrigger>,
    /// The time.
    pub cron: Vec<CronTrigger>,
    /// Somebody who asks for it.
    pub manual: bool,
}

/// Which pushes count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushTrigger {
    /// Patterns of branches; see [`crate::matches()`].
    pub branches: Vec<String>,
    /// Patterns of tags; without any, no tag counts.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Patterns of the files that changed.
    pub paths: Vec<String>,
}

impl PushTrigger {
    /// Whether a push of this branch counts. One that asks for tags alone is about no branch.
    #[must_use]
    pub fn takes_branch(&self, name: &str) -> bool {
        let asks = !self.branches.is_empty() || self.tags.is_empty();
        asks && matches(&self.branches, name)
    }

    /// Whether a push of this tag counts.
    #[must_use]
    pub fn takes_tag(&self, name: &str) -> bool {
        !self.tags.is_empty() && matches(&self.tags, name)
    }
}

/// Which requests count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequestTrigger {
    /// Patterns of the branches that are to be merged into.
    pub branches: Vec<String>,
    /// Patterns of the files that changed.
    pub paths: Vec<String>,
    /// Also those that come from a fork.
    pub forks: bool,
}

/// When.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronTrigger {
    /// Minute, hour, day of the month, month, day of the week.
    pub schedule: String,
    /// The zone in which that is meant, by its IANA name.
    pub timezone: String,
    /// The branch, tag or commit.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// Values of its parameters.
    pub parameters: BTreeMap<String, String>,
}

/// What a team may do with a pipeline. Each holds those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// See it, its jobs and their logs.
    Read,
    /// Also start, cancel and repeat its jobs.
    Write,
    /// Also its secrets.
    Admin,
}

/// Who may do what with a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// What each team may do.
    pub teams: BTreeMap<String, Permission>,
}

impl Blueprint {
    /// What this user may do with this pipeline; none for nothing at all.
    #[must_use]
    pub fn permission(&self, user: &str, pipeline: &str) -> Option<Permission> {
        let declared = self.pipelines.get(pipeline)?;
        if self.users.get(user)?.admin {
            return Some(Permission::Admin);
        }
        let own = declared.permissions.teams.iter().filter(|(team, _)| {
            let team = self.teams.get(*team);
            team.is_some_and(|it| it.members.contains(user))
        });
        own.map(|(_, permission)| *permission).max()
    }

    /// The user whom sign-in knows by this address.
    #[must_use]
    pub fn user_by_email(&self, email: &str) -> Option<(&str, &User)> {
        let mut all = self.users.iter();
        let found = all.find(|(_, it)| it.email.eq_ignore_ascii_case(email));
        found.map(|(name, user)| (name.as_str(), user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_goes_by_pipeline_ref_and_age() {
        let texts = |text: &str| text.split_whitespace().map(Into::into).collect();
        let check = |keep: (&str, &str, Option<u64>), job: (&str, Option<&str>, u32), expected| {
            let rule = Keep {
                pipelines: texts(keep.0),
                refs: texts(keep.1),
                days: keep.2,
            };
            let found = rule.keeps(job.0, job.1, DAY * job.2);
            assert_eq!(found, expected, "{keep:?} {job:?}");
        };
        check(("release", "", None), ("release", None, 9_999), true);
        check(("release", "", None), ("build", None, 0), false);
        check(
            ("release-* !release-try", "", None),
            ("release-try", None, 0),
            false,
        );
        check(("", "v*", None), ("any", Some("v1.2"), 9_999), true);
        check(("", "v*", None), ("any", Some("refs/tags/v1.2"), 0), true);
        check(
            ("", "main", None),
            ("any", Some("refs/heads/main"), 0),
            true,
        );
        check(
            ("", "main", None),
            ("any", Some("refs/pull/7/head"), 0),
            false,
        );
        check(("", "!wip/*", None), ("any", None, 0), false);
        check(("a", "main", Some(90)), ("a", Some("main"), 90), true);
        check(("a", "main", Some(90)), ("a", Some("main"), 91), false);
        check(("a", "main", Some(90)), ("b", Some("main"), 1), false);
    }
}
