//! Clones a job's source, with the `git` command so that ssh settings,
//! credential helpers and proxies just work.

use std::fs;
use std::path::Path;

use danube_executor::{Command, Shell};

/// Fixed text: repository and ref reach it as variables only, so nothing that
/// a person typed is ever read as script or as an option.
const SCRIPT: &str = r#"git init --quiet .
git fetch --quiet --no-tags --depth 1 --no-recurse-submodules -- "$DANUBE_REPOSITORY" "$DANUBE_REF"
git checkout --quiet --force --detach FETCH_HEAD
git log -1 --format='cloned %H%n%s'
"#;

/// The transports that may be used. `ext::` and friends run commands.
const PROTOCOLS: &str = "file:git:http:https:ssh";

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
    // The worker reads repositories that belong to others; which ones it may
    // was decided when the job was submitted.
    let own = format!("{home}/.gitconfig").replace(['\\', '"', '\n'], "");
    fs::write(
        config,
        format!("[include]\n\tpath = \"{own}\"\n[safe]\n\tdirectory = *\n"),
    )?;
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
    ])
}

/// The commit that the clone checked out. Read before any step of the job ran,
/// so nobody else has written there.
pub(crate) fn commit(source: &Path) -> Option<String> {
    let head = fs::read_to_string(source.join(".git/HEAD")).ok()?;
    let commit = head.trim();
    let hex = commit.len() >= 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
    hex.then(|| commit.to_owned())
}
