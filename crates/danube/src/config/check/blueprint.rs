//! The settings of the blueprint.

use std::path::{Component, Path};

use danube_master::BlueprintSettings;
use danube_model::Mistake;
use danube_model::spec::{Repository, is_git_ref};
use std::time::Duration;

use super::Values;

/// The outer none: a mistake. The inner: no blueprint is followed.
pub(super) fn read(
    it: &Values<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Option<BlueprintSettings>> {
    let branch = it.text("blueprint.branch")?;
    if !is_git_ref(&branch) {
        let found = it.found("blueprint.branch");
        let help =
            "letters, digits and `._/-+@#`, not beginning with `-`, `/` or `.`, without `..`";
        mistakes.push(found.wrong("blueprint.branch", "the branch can't be one's name", help));
    }
    let Some(url) = it.text("blueprint.url") else {
        return Some(None);
    };
    if let Ok(Repository::Local(path)) = Repository::parse(&url)
        && !is_allowed(&path, it)
    {
        let found = it.found("blueprint.url");
        let message = format!(
            "{} lies in no directory of sources.allow_paths",
            path.display()
        );
        let help = "add the directory that it lies in to sources.allow_paths";
        mistakes.push(found.wrong("blueprint.url", message, help));
    }
    Some(Some(BlueprintSettings {
        url,
        branch,
        interval: Duration::from_secs(it.number("blueprint.interval_seconds")?),
        credential: it.text("blueprint.credential"),
    }))
}

/// As the paths are written; where links lead is looked at whenever it is fetched.
fn is_allowed(path: &Path, it: &Values<'_>) -> bool {
    let is_plain = path
        .components()
        .all(|part| !matches!(part, Component::ParentDir));
    let allowed = it.paths("sources.allow_paths");
    is_plain && allowed.iter().any(|it| path.starts_with(it))
}
