//! Clones a job's source, with the `git` command so that ssh settings,
//! credential helpers and proxies just work.

use std::fs;
use std::path::{Path, PathBuf};

use danube_executor::{Command, Shell};
use danube_source::git_settings;
pub(crate) use danube_source::git_settings::{has_moved, local};

/// Fixed text: repository and ref reach it as variables only, so nothing that
/// a person typed is ever read as script or as an option.
const SCRIPT: &str = r#"git init --quiet .
get() { git fetch --quiet --no-tags --no-recurse-submodules "$1" -- "$DANUBE_REPOSITORY" "$2"; }
if [ -z "$DANUBE_WANTED" ]; then
    get --depth=1 "$DANUBE_REF"
    git checkout --quiet --force --detach FETCH_HEAD
else
    get --depth=1 "$DANUBE_WANTED" 2>/dev/null || {
        echo 'the server gives no commit by its id; fetching the history of its ref'
        get --depth=2147483647 "$DANUBE_REF"
    }
    git checkout --quiet --force --detach "$DANUBE_WANTED"
fi
git log -1 --format='cloned %H%n%s'
"#;

/// Names that the step may have; the first that no other step has.
const NAMES: [&str; 3] = ["clone", "clone source", "clone repository"];

/// The name of the step that clones.
pub(crate) fn step_name(taken: impl Fn(&str) -> bool) -> &'static str {
    NAMES
        .into_iter()
        .find(|name| !taken(name))
        .unwrap_or(NAMES[0])
}

/// What the step runs.
pub(crate) fn command() -> Command {
    Command::Script {
        text: SCRIPT.to_owned(),
        shell: Shell::Sh,
    }
}

/// What the step is given beside its usual environment. `home` is the worker's
/// own, for ssh keys and git settings; `config` a file that this call writes.
pub(crate) fn variables(
    repository: &str,
    (git_ref, commit): (Option<&str>, Option<&str>),
    home: &str,
    config: &Path,
) -> std::io::Result<Vec<(String, String)>> {
    // The worker may read this repository although it belongs to another user:
    // that was decided when the job was submitted. The workspace is the job's.
    let workspace = config.parent().map(|it| it.join("source"));
    let safe: Vec<PathBuf> = local(repository).into_iter().chain(workspace).collect();
    fs::write(config, git_settings::config(Some(home), &safe))?;
    let mut variables = git_settings::variables(home, config);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    variables.push(pair("DANUBE_REPOSITORY", repository));
    variables.push(pair("DANUBE_REF", git_ref.unwrap_or("HEAD")));
    // The one that a forge told of, whatever its branch is at by now.
    variables.push(pair("DANUBE_WANTED", commit.unwrap_or_default()));
    Ok(variables)
}

/// The commit that the clone checked out. Read before any step of the job ran,
/// so nobody else has written there.
pub(crate) fn commit(source: &Path) -> Option<String> {
    let head = fs::read_to_string(source.join(".git/HEAD")).ok()?;
    let commit = head.trim();
    let hex = commit.len() >= 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
    hex.then(|| commit.to_owned())
}
