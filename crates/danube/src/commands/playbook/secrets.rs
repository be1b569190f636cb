//! Secrets of a run right here. They come from files alone: an argument can be read by every
//! user of the machine.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use danube_model::credential::{Credential, CredentialKind, SecretText};
use danube_model::playbook::Uses;
use serde_json::{Map, Value};

use super::asked;
use super::run::checked;
use crate::commands::work;
use crate::failure::Failure;

/// A secret of which a run has one.
struct Secret {
    /// The option that names its file.
    file: &'static str,
    /// The option that takes `@FILE`, under the name that people look for first.
    at: Option<&'static str>,
    /// What it is used for.
    used_as: &'static str,
    kind: CredentialKind,
    /// The credential's field.
    field: &'static str,
    help: &'static str,
}

const SECRETS: [Secret; 3] = [
    Secret {
        file: "private-key",
        at: None,
        used_as: "ssh",
        kind: CredentialKind::SshKey,
        field: "private_key",
        help: "Private key with which hosts are reached",
    },
    Secret {
        file: "connection-password-file",
        at: Some("connection-password"),
        used_as: "password",
        kind: CredentialKind::Password,
        field: "password",
        help: "File with the password with which hosts are reached",
    },
    Secret {
        file: "become-password-file",
        at: Some("become-password"),
        used_as: "become",
        kind: CredentialKind::Become,
        field: "password",
        help: "File with the password with which tasks become another user",
    },
];

/// The options.
pub(super) fn args() -> Vec<Arg> {
    let mut all = vec![asked::text("user", "USER", "User on the hosts").short('u')];
    for it in &SECRETS {
        let file =
            asked::text(it.file, "FILE", it.help).value_parser(value_parser!(std::path::PathBuf));
        all.push(file);
        all.extend(it.at.map(|at| {
            asked::text(at, "@FILE", "The same, with an @ before the file").conflicts_with(it.file)
        }));
    }
    all.push(
        asked::text("vault-id", "[ID@]FILE", "File with a password of the vault")
            .alias("vault-password-file")
            .action(ArgAction::Append),
    );
    all.push(
        asked::text(
            "vault-password",
            "@FILE",
            "The same without an id, with an @ before the file",
        )
        .action(ArgAction::Append),
    );
    all
}

/// The files with secrets, as credentials of this run, and what each is for.
pub(super) fn credentials(matches: &ArgMatches) -> Result<(Uses, Vec<Credential>), Failure> {
    let mut uses = Map::new();
    let mut all = Vec::new();
    let user = matches.get_one::<String>("user").cloned();
    for it in &SECRETS {
        let at = it
            .at
            .and_then(|at| Some((at, matches.get_one::<String>(at)?)));
        let (option, path) = match (work::path(matches, it.file), at) {
            (Some(path), _) => (it.file, path),
            (None, Some((at, given))) => (at, file_of(at, given)?.into()),
            (None, None) => continue,
        };
        let mut credential = credential((option, it.file), it.kind, (it.field, &path))?;
        let username = user.clone().map(|it| ("username".to_owned(), it));
        let is_of_hosts = it.used_as != "become";
        credential.metadata = username.filter(|_| is_of_hosts).into_iter().collect();
        uses.insert(it.used_as.to_owned(), it.file.into());
        all.push(credential);
    }
    if user.is_some() && !uses.contains_key("ssh") && !uses.contains_key("password") {
        let why = "--user goes with --private-key or --connection-password-file; without them, set ansible_user in the inventory";
        return Err(Failure::usage(why));
    }
    let mut names = Vec::new();
    for (index, (option, id, path)) in vaults(matches)?.into_iter().enumerate() {
        let name = format!("vault-{index}");
        let kind = CredentialKind::VaultPassword;
        let mut credential = credential((option, &name), kind, ("password", Path::new(path)))?;
        let id = id.map(|it| ("vault_id".to_owned(), it.to_owned()));
        credential.metadata = id.into_iter().collect();
        names.push(name);
        all.push(credential);
    }
    uses.insert("vault".to_owned(), names.into());
    let uses = checked(&Value::Object(uses), "/credentials", Uses::read)?;
    Ok((uses, all))
}

/// A password of the vault: the option that named it, its id, and its file.
type Vault<'a> = (&'static str, Option<&'a str>, &'a str);

/// All passwords of the vault.
fn vaults(matches: &ArgMatches) -> Result<Vec<Vault<'_>>, Failure> {
    let given = |option| matches.get_many::<String>(option).into_iter().flatten();
    let with_id = given("vault-id").map(|it| match it.split_once('@') {
        // `@FILE` has no id.
        Some(("", path)) => ("vault-id", None, path),
        Some((id, path)) => ("vault-id", Some(id), path),
        None => ("vault-id", None, it.as_str()),
    });
    let mut all: Vec<_> = with_id.collect();
    for it in given("vault-password") {
        all.push(("vault-password", None, file_of("vault-password", it)?));
    }
    Ok(all)
}

/// The path in `@FILE`. What stands there instead may be the secret itself, so it isn't
/// repeated.
fn file_of<'a>(option: &str, given: &'a str) -> Result<&'a str, Failure> {
    given.strip_prefix('@').filter(|it| !it.is_empty()).ok_or_else(|| {
        Failure::usage(format!("--{option} takes @FILE, not the value itself"))
            .hint("write it into a file that only you can read: every user of the machine can read arguments")
    })
}

/// A credential of this name, with what a file holds; `option` named the file.
fn credential(
    (option, name): (&str, &str),
    kind: CredentialKind,
    (field, path): (&str, &Path),
) -> Result<Credential, Failure> {
    let text = work::read_file(path)
        .map_err(|why| Failure::usage(format!("--{option}: read {}: {why}", path.display())))?;
    let value = match kind {
        // A key without its last line end isn't one to ssh.
        CredentialKind::SshKey => text,
        _ => text.trim_end_matches(['\n', '\r']).to_owned(),
    };
    Ok(Credential {
        name: name.to_owned(),
        kind,
        metadata: BTreeMap::new(),
        values: BTreeMap::from([(field.to_owned(), SecretText::new(value))]),
    })
}
