//! A submit that asks for a playbook to be run.

use std::collections::BTreeMap;
use std::path::Path;

use danube_model::credential::CredentialKind;
use danube_model::playbook::{Inventory, Playbook, Source, Use, Uses};
use danube_model::spec::{Fields, Repository};
use danube_model::{Mistake, Task};

use super::{Work, World};

/// The fields by which such a submit is known.
pub(super) const FIELDS: [&str; 5] = [
    "source",
    "inventory",
    "credentials",
    "extra_vars",
    "options",
];

/// Reads the fields that such a submit has for itself.
pub(super) fn read(fields: &mut Fields<'_>, world: &dyn World) -> Option<Work> {
    for other in ["pipeline", "spec", "ref", "parameters"] {
        if let Some(node) = fields.take(other) {
            fields.refuse(
                other,
                node.at,
                "and a playbook's `source` can't both be given",
            );
        }
    }
    let mut playbook = Playbook::read(fields)?;
    let mistakes = fields.mistakes();
    check_source(&mut playbook.source, world, mistakes);
    check_inventory(&mut playbook.inventory, world, mistakes);
    check_credentials(&playbook.credentials, world, mistakes);
    Some(Work {
        source_type: playbook.source.kind().as_str(),
        git_ref: None,
        parameters: BTreeMap::new(),
        secret_values: Vec::new(),
        retry_on_lost: true,
        task: Task::Playbook(playbook),
    })
}

/// What lies on this machine must be where this caller may read; what is fetched, where
/// sources may come from.
fn check_source(source: &mut Source, world: &dyn World, mistakes: &mut Vec<Mistake>) {
    match source {
        Source::Playbook { repo, .. } | Source::Role { repo, .. } => {
            check_repository(repo, "/source/repo", world, mistakes);
        }
        Source::Archive { url, .. } => check_address(url, "/source/url", world, mistakes),
        Source::Nexus(nexus) => check_address(&nexus.url, "/source/url", world, mistakes),
        Source::Local { path, .. } => match world.clonable(Path::new(path)) {
            Some(real) => path.clone_from(&real.to_string_lossy().into_owned()),
            None => mistakes.push(not_allowed("/source/path", "the directory")),
        },
        Source::Inline { .. } => {}
    }
}

fn check_inventory(inventory: &mut Inventory, world: &dyn World, mistakes: &mut Vec<Mistake>) {
    match inventory {
        Inventory::Git { repo, .. } => check_repository(repo, "/inventory/repo", world, mistakes),
        Inventory::Url { url, .. } => check_address(url, "/inventory/url", world, mistakes),
        Inventory::Inline(_) | Inventory::Source { .. } => {}
    }
}

/// A repository on this machine gets the path with all links followed: what they lead to
/// later is another one.
fn check_repository(
    repo: &mut String,
    pointer: &str,
    world: &dyn World,
    mistakes: &mut Vec<Mistake>,
) {
    let Ok(Repository::Local(path)) = Repository::parse(repo) else {
        return;
    };
    let real = world.clonable(&path);
    match real.as_deref().and_then(Path::to_str) {
        Some(real) => *repo = format!("file://{real}"),
        None => mistakes.push(not_allowed(pointer, "the repository")),
    }
}

fn not_allowed(pointer: &str, what: &str) -> Mistake {
    Mistake {
        code: "source.not_allowed",
        pointer: pointer.to_owned(),
        at: None,
        message: format!("{what} isn't where jobs may read"),
        help: Some("the operator lists such directories in `sources.allow_paths`".to_owned()),
    }
}

fn check_address(url: &str, pointer: &str, world: &dyn World, mistakes: &mut Vec<Mistake>) {
    if let Err(why) = world.reachable(url) {
        mistakes.push(Mistake {
            code: "source.address",
            pointer: pointer.to_owned(),
            at: None,
            message: format!("the address {why}"),
            help: Some(
                "the operator lists what else may be reached in `sources.allow_private`".to_owned(),
            ),
        });
    }
}

/// Each must be there and of the kind that it is used as.
fn check_credentials(uses: &Uses, world: &dyn World, mistakes: &mut Vec<Mistake>) {
    for (it, name) in uses.iter() {
        let wanted = kind_for(it);
        let message = match world.credential(name) {
            Ok(Some(kind)) if kind == wanted => continue,
            Ok(Some(kind)) => format!(
                "credential `{name}` is of kind `{}`; `{}` is needed here",
                kind.as_str(),
                wanted.as_str()
            ),
            Ok(None) => format!("there is no credential `{name}`"),
            Err(why) => format!("credential `{name}` can't be looked up: {why}"),
        };
        mistakes.push(Mistake {
            code: "credential.unknown",
            pointer: format!("/credentials/{}", it.as_str()),
            at: None,
            message,
            help: Some("`danube credential list` shows those that there are".to_owned()),
        });
    }
}

/// The kind of credential that is used for something.
const fn kind_for(it: Use) -> CredentialKind {
    match it {
        Use::Ssh => CredentialKind::SshKey,
        Use::Password => CredentialKind::Password,
        Use::Become => CredentialKind::Become,
        Use::Vault => CredentialKind::VaultPassword,
        Use::Git => CredentialKind::Git,
        Use::Nexus => CredentialKind::NexusToken,
    }
}
