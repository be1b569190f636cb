//! Credentials in the forms in which they are used.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use danube_ansible::{Credentials, Vault};
use danube_model::credential::Credential;
use danube_model::playbook::Use;
use danube_source::{Auth, GitCredential, Secret};
use zeroize::Zeroizing;

/// What a job was given.
#[derive(Default)]
pub(super) struct Given {
    /// For the source's repository.
    pub(super) git: Option<GitCredential>,
    /// For the source's Nexus.
    pub(super) nexus: Option<Auth>,
    /// For Ansible.
    pub(super) ansible: Option<Credentials>,
}

/// Whether the source is fetched with it.
pub(super) fn is_of_source(it: Use) -> bool {
    matches!(it, Use::Git | Use::Nexus)
}

impl Given {
    /// Puts a credential where it is used.
    ///
    /// # Errors
    /// Why it can't be used so.
    pub(super) fn take(&mut self, it: Use, given: &Credential) -> Result<(), String> {
        let text = |field: &str| given.secret(field).map(|it| it.reveal().to_owned());
        let user = given.shown("username").map(str::to_owned);
        if text("passphrase").is_some() {
            return Err(format!(
                "the private key of credential `{}` is locked by a passphrase, which nobody can type here: store it unlocked",
                given.name
            ));
        }
        let of_kind = || format!("credential `{}` is of another kind", given.name);
        let need = |field: &str| text(field).map(Zeroizing::new).ok_or_else(of_kind);
        let ansible = self.ansible.get_or_insert_default();
        match it {
            Use::Ssh => {
                ansible.ssh_key = Some(need("private_key")?);
                ansible.user = user.or(ansible.user.take());
            }
            Use::Password => {
                ansible.password = Some(need("password")?);
                ansible.user = user.or(ansible.user.take());
            }
            Use::Become => {
                ansible.become_password = Some(need("password")?);
                ansible.become_method = given.shown("method").map(str::to_owned);
                ansible.become_user = user;
            }
            Use::Vault => ansible.vaults.push(Vault {
                id: given.shown("vault_id").map(str::to_owned),
                password: need("password")?,
            }),
            Use::Git => self.git = Some(git(given).ok_or_else(of_kind)?),
            Use::Nexus => self.nexus = Some(nexus(given).ok_or_else(of_kind)?),
        }
        Ok(())
    }
}

fn git(given: &Credential) -> Option<GitCredential> {
    let id = given.name.clone();
    if let Some(key) = given.secret("private_key") {
        return Some(GitCredential::Key {
            id,
            key: Secret::new(key.reveal().to_owned()),
            known_hosts: None,
        });
    }
    Some(GitCredential::Password {
        id,
        user: given.shown("username")?.to_owned(),
        password: Secret::new(given.secret("password")?.reveal().to_owned()),
    })
}

fn nexus(given: &Credential) -> Option<Auth> {
    let secret = |field: &str| {
        let value = given.secret(field)?;
        Some(Secret::new(value.reveal().to_owned()))
    };
    if let Some(token) = secret("token") {
        return Some(Auth::Bearer(token));
    }
    Some(Auth::Basic {
        user: given.shown("username")?.to_owned(),
        password: secret("password")?,
    })
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file?.write_all(text)
}
