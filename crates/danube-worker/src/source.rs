//! Clones a job's source, with the `git` command so that ssh settings,
//! credential helpers and proxies just work.

use std::fs;
use std::path::{Path, PathBuf};

use danube_executor::{Command, Shell};
use danube_model::spec::Repository;

/// Fixed text: repository and ref reach it as variables only, so nothing that
/// a person typed is ever read as script or as an option.
const SCRIPT: &str = r#"git init --quiet .
git fetch --quiet --no-tags --depth 1 --no-recurse-submodules -- "$DANUBE_REPOSITORY" "$DANUBE_REF"
git checkout --quiet --force --detach FETCH_HEAD
git log -1 --format='cloned %H%n%s'
"#;

/// The transports that may be used. `ext::` and friends run commands.
const PROTOCOLS: &str = "file:git:http:https:ssh";

/// Settings that win over the worker's own, because a repository is somebody
/// else's: nothing in it may name a program that git runs.
const SETTINGS: &str = "[core]\n\tfsmonitor = false\n\thooksPath = /dev/null\n\tsymlinks = true\n[submodule]\n\trecurse = false\n[protocol \"ext\"]\n\tallow = never\n";

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
    git_ref: Option<&str>,
    home: &str,
    config: &Path,
) -> std::io::Result<Vec<(String, String)>> {
    let value = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    // Both places where git looks for a user's settings, in its order.
    let own = [".config/git/config", ".gitconfig"];
    let own = own.map(|it| format!("[include]\n\tpath = {}\n", value(&format!("{home}/{it}"))));
    let mut text = own.concat() + SETTINGS;
    // The worker may read this repository although it belongs to another user:
    // that was decided when the job was submitted. The workspace is the job's.
    for directory in [
        local(repository),
        config.parent().map(|it| it.join("source")),
    ]
    .into_iter()
    .flatten()
    {
        for directory in [directory.join(".git"), directory] {
            text.push_str(&format!(
                "[safe]\n\tdirectory = {}\n",
                value(&directory.to_string_lossy())
            ));
        }
    }
    fs::write(config, text)?;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(vec![
        pair("HOME", home),
        pair("DANUBE_REPOSITORY", repository),
        pair("DANUBE_REF", git_ref.unwrap_or("HEAD")),
        pair("GIT_ALLOW_PROTOCOL", PROTOCOLS),
        pair("GIT_CONFIG_GLOBAL", &config.to_string_lossy()),
        pair("GIT_TERMINAL_PROMPT", "0"),
        pair("GIT_ASKPASS", "true"),
        pair("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
        pair("GIT_LFS_SKIP_SMUDGE", "1"),
        pair("GIT_NO_LAZY_FETCH", "1"),
    ])
}

/// The directory of a repository on this machine.
pub(crate) fn local(repository: &str) -> Option<PathBuf> {
    match Repository::parse(repository) {
        Ok(Repository::Local(path)) => Some(path),
        _ => None,
    }
}

/// Whether links stand in the path now that led elsewhere, or nowhere, when the
/// submit was allowed.
pub(crate) fn has_moved(repository: &str) -> bool {
    let path = local(repository);
    path.is_some_and(|path| path.canonicalize().is_ok_and(|real| real != path))
}

/// The commit that the clone checked out. Read before any step of the job ran,
/// so nobody else has written there.
pub(crate) fn commit(source: &Path) -> Option<String> {
    let head = fs::read_to_string(source.join(".git/HEAD")).ok()?;
    let commit = head.trim();
    let hex = commit.len() >= 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
    hex.then(|| commit.to_owned())
}
