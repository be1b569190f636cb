//! How git is kept from running what a repository names, and where it connects.
//!
//! Workers that clone for pipelines use the same settings.

use std::path::{Path, PathBuf};

use danube_model::spec::Repository;

/// The transports that may be used. `ext::` and friends run commands.
const PROTOCOLS: &str = "file:git:http:https:ssh";

/// Settings that win over the worker's own, because a repository is somebody
/// else's: nothing in it may name a program that git runs.
const PROTECTIONS: &str = "[core]\n\tfsmonitor = false\n\thooksPath = /dev/null\n\tsymlinks = true\n[submodule]\n\trecurse = false\n[protocol \"ext\"]\n\tallow = never\n";

/// The text of a settings file: those of the user whose home is given, below
/// our own. `safe` are directories that may be read although they belong to
/// another user, as was decided before.
#[must_use]
pub fn config(home: Option<&str>, safe: &[PathBuf]) -> String {
    let mut text = String::new();
    if let Some(home) = home {
        // Both places where git looks for a user's settings, in its order.
        for own in [".config/git/config", ".gitconfig"] {
            let own = quoted(&format!("{home}/{own}"));
            text.push_str(&format!("[include]\n\tpath = {own}\n"));
        }
    }
    text.push_str(PROTECTIONS);
    for directory in safe {
        for directory in [&directory.join(".git"), directory] {
            let directory = quoted(&directory.to_string_lossy());
            text.push_str(&format!("[safe]\n\tdirectory = {directory}\n"));
        }
    }
    text
}

/// A value of a settings file.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Variables with which git asks nobody, uses `config`, and speaks only what it
/// may.
#[must_use]
pub fn variables(home: &str, config: &Path) -> Vec<(String, String)> {
    let config = config.to_string_lossy();
    [
        ("HOME", home),
        ("GIT_ALLOW_PROTOCOL", PROTOCOLS),
        ("GIT_CONFIG_GLOBAL", &config),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "true"),
        ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_NO_LAZY_FETCH", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The directory of a repository on this machine.
#[must_use]
pub fn local(repository: &str) -> Option<PathBuf> {
    match Repository::parse(repository) {
        Ok(Repository::Local(path)) => Some(path),
        _ => None,
    }
}

/// Whether links stand in the path now that led elsewhere, or nowhere, when the
/// submit was allowed.
#[must_use]
pub fn has_moved(repository: &str) -> bool {
    let path = local(repository);
    path.is_some_and(|path| path.canonicalize().is_ok_and(|real| real != path))
}

/// The address as git takes it: one of this machine with `file://`, because git
/// ignores how much of a plain path is wanted.
pub(crate) fn address(repository: &str) -> String {
    match local(repository) {
        Some(path) => format!("file://{}", path.display()),
        None => repository.to_owned(),
    }
}

/// The host and the port of a repository that is elsewhere.
pub(crate) fn server(repository: &str) -> Option<(String, u16)> {
    if local(repository).is_some() {
        return None;
    }
    let Some((scheme, rest)) = repository.split_once("://") else {
        // user@host:path
        let (user_host, _) = repository.split_once(':')?;
        let host = user_host.rsplit_once('@').map_or(user_host, |it| it.1);
        return Some((host.to_owned(), 22));
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |it| it.1);
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        "git" => 9_418,
        _ => 22,
    };
    let end = host.rfind(']').map_or(0, |it| it + 1);
    let (name, port) = match host[end..].rsplit_once(':') {
        Some((name, port)) => (&host[..end + name.len()], port.parse().unwrap_or(usual)),
        None => (host, usual),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    Some((name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_the_one_that_git_connects_to() {
        for (repository, host, port) in [
            ("https://example.org/a", "example.org", 443),
            ("http://u@example.org:8080/a@b:9/c", "example.org", 8080),
            ("ssh://git@[::1]:2222/a", "::1", 2222),
            ("git://[::1]/a", "::1", 9418),
            ("git@example.org:a/b.git", "example.org", 22),
        ] {
            assert_eq!(
                server(repository),
                Some((host.to_owned(), port)),
                "{repository}"
            );
        }
        assert_eq!(server("/srv/a"), None);
        assert_eq!(server("file:///srv/a"), None);
    }
}
