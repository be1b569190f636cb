//! What git is given to reach a server: settings, and a credential in files
//! that only the worker's user can read. None of it is in argv, in an address or
//! in a variable, where other users or logs could see it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::Wanted;
use super::settings::{self, quoted};
use crate::error::SourceError;
use crate::secret::Secret;

/// What a git server is shown of a job.
#[derive(Debug, Clone)]
pub enum GitCredential {
    /// For `https` and `http`.
    Password {
        /// The credential's identity: who else has the same may share a mirror.
        id: String,
        /// The user.
        user: String,
        /// The password or token.
        password: Secret,
    },
    /// For `ssh`.
    Key {
        /// The credential's identity: who else has the same may share a mirror.
        id: String,
        /// The private key, without a passphrase.
        key: Secret,
        /// Lines of a `known_hosts` file; without them the worker remembers the
        /// first key that it sees of a server, and takes no other later.
        known_hosts: Option<String>,
    },
}

impl GitCredential {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Password { id, .. } | Self::Key { id, .. } => id,
        }
    }
}

/// Settings of our own below everything else. A mirror keeps what it has: no
/// collection may take objects away under a job that reads them. A server that
/// sends less than a kilobyte a second for a minute has gone.
const MIRROR: &str = "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[fetch]\n\tunpackLimit = 1\n[transfer]\n\tunpackLimit = 1\n[http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 60\n";

/// Variables of the worker that git gets, too: ways through proxies, and trust.
const INHERITED: [&str; 12] = [
    "PATH",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

/// Files and variables of one use of git; the files go with it.
pub(super) struct Access {
    /// Removed when dropped.
    _directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Access {
    /// Writes the files.
    pub(super) fn prepare(
        wanted: &Wanted<'_>,
        cache: &Path,
        home: &Path,
    ) -> Result<Self, SourceError> {
        Self::write(wanted, cache, home).map_err(SourceError::io("write the settings of git"))
    }

    fn write(wanted: &Wanted<'_>, cache: &Path, home: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("git-")
            .tempdir_in(cache.join("private"))?;
        let at = |name: &str| directory.path().join(name);
        // With a credential, nothing of the worker's own is shown to the server.
        let home = match wanted.credential {
            None => home.to_string_lossy().into_owned(),
            Some(_) => directory.path().to_string_lossy().into_owned(),
        };
        let own = wanted.credential.is_none().then_some(home.as_str());
        let safe: Vec<_> = settings::local(wanted.repo).into_iter().collect();
        let mut config = settings::config(own, &safe) + MIRROR;
        let mut variables: Vec<(String, String)> = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        variables.extend(settings::variables(&home, &at("config")));
        // What git says is read here, in its own words.
        variables.push(("LC_ALL".to_owned(), "C".to_owned()));
        match wanted.credential {
            None => {
                let agent = std::env::var("SSH_AUTH_SOCK").ok();
                variables.extend(agent.map(|it| ("SSH_AUTH_SOCK".to_owned(), it)));
            }
            Some(GitCredential::Password { user, password, .. }) => {
                let entry = stored(wanted.repo, user, password.expose());
                private(&at("passwords"), entry.unwrap_or_default().as_bytes())?;
                let helper = format!("store --file={}", shell(&at("passwords")));
                // The empty one forgets those of the system's settings.
                config += &format!("[credential]\n\thelper =\n\thelper = {}\n", quoted(&helper));
            }
            Some(GitCredential::Key {
                key, known_hosts, ..
            }) => {
                let text = key.expose().trim_end();
                private(&at("key"), format!("{text}\n").as_bytes())?;
                let (known, check) = match known_hosts {
                    Some(lines) => {
                        private(&at("known_hosts"), format!("{lines}\n").as_bytes())?;
                        (at("known_hosts"), "yes")
                    }
                    None => (cache.join("known_hosts"), "accept-new"),
                };
                let known = format!("UserKnownHostsFile=\"{}\"", known.display());
                let command = format!(
                    "ssh -F none -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oIdentitiesOnly=yes -oIdentityAgent=none -oStrictHostKeyChecking={check} -o{} -i {}",
                    shell(Path::new(&known)),
                    shell(&at("key"))
                );
                variables.retain(|(name, _)| name != "GIT_SSH_COMMAND");
                variables.push(("GIT_SSH_COMMAND".to_owned(), command));
            }
        }
        fs::write(at("config"), config)?;
        Ok(Self {
            _directory: directory,
            variables,
        })
    }

    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }
}

/// A line of git's store of passwords; none for an address that takes none.
fn stored(repo: &str, user: &str, password: &str) -> Option<String> {
    let (scheme, rest) = repo.split_once("://")?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit_once('@').map_or(authority, |it| it.1);
    let (user, password) = (escaped(user), escaped(password));
    Some(format!("{scheme}://{user}:{password}@{host}\n"))
}

fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(content)
}

/// A path as one word of a shell: git gives helpers and ssh commands to one. It
/// is ours, and holds nothing from outside.
fn shell(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_credential_is_in_private_files_alone_and_goes() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir(cache.path().join("private")).unwrap();
        let secret = |text: &str| Secret::new(text.to_owned());
        let credentials = [
            GitCredential::Password {
                id: "a".into(),
                user: "me".into(),
                password: secret("hunter2/@:"),
            },
            GitCredential::Key {
                id: "b".into(),
                key: secret("hunter2"),
                known_hosts: None,
            },
        ];
        for credential in &credentials {
            let wanted = Wanted {
                repo: "https://example.org/a.git",
                git_ref: "main",
                credential: Some(credential),
                known: None,
                login: "",
            };
            let access = Access::prepare(&wanted, cache.path(), Path::new("/root")).unwrap();
            for (name, value) in access.variables() {
                assert!(!value.contains("hunter2"), "{name}");
            }
            let directory = access._directory.path().to_owned();
            let holders: Vec<_> = fs::read_dir(&directory)
                .unwrap()
                .map(|it| it.unwrap())
                .filter(|it| fs::read_to_string(it.path()).unwrap().contains("hunter2"))
                .map(|it| it.metadata().unwrap().permissions().mode() & 0o777)
                .collect();
            assert_eq!(holders, [0o600]);
            drop(access);
            assert!(!directory.exists());
        }
    }

    #[test]
    fn ssh_itself_reads_the_key_and_the_known_hosts_from_our_files() {
        let cache = tempfile::Builder::new()
            .prefix("it's a ")
            .tempdir()
            .unwrap();
        fs::create_dir(cache.path().join("private")).unwrap();
        let credential = GitCredential::Key {
            id: "b".into(),
            key: Secret::new("key".to_owned()),
            known_hosts: None,
        };
        let wanted = Wanted {
            repo: "git@example.org:a.git",
            git_ref: "main",
            credential: Some(&credential),
            known: None,
            login: "",
        };
        let access = Access::prepare(&wanted, cache.path(), Path::new("/root")).unwrap();
        let find = |name: &str| {
            let mut found = access.variables().iter().filter(|it| it.0 == name);
            found.next().unwrap().1.clone()
        };
        let output = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("{} -G git@example.org", find("GIT_SSH_COMMAND")),
            ])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let key = access._directory.path().join("key");
        let known = cache.path().join("known_hosts");
        for line in [
            format!("identityfile {}", key.display()),
            format!("userknownhostsfile {}", known.display()),
            "stricthostkeychecking accept-new".to_owned(),
            "batchmode yes".to_owned(),
            "identitiesonly yes".to_owned(),
        ] {
            // A quoted name is shown as it was given.
            let said = said.replace('"', "");
            assert!(said.lines().any(|it| it == line), "{line}: {said}");
        }
    }

    #[test]
    fn a_stored_password_is_for_its_host_alone() {
        assert_eq!(
            stored("https://e.org:8443/a/b", "u", "p@/:%").unwrap(),
            "https://u:p%40%2F%3A%25@e.org:8443\n"
        );
        assert_eq!(stored("git@e.org:a", "u", "p"), None);
    }
}
