//! `danube playbook`: Ansible playbooks right here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_model::credential::{Credential, CredentialKind, SecretText};
use danube_model::limits::DURATION_SECONDS_MAX;
use danube_model::playbook::{Inventory, Options, Playbook, Source, Uses};
use danube_model::spec::Node;
use danube_model::{Mistake, Mistakes, Order, Task, Trace};
use serde_json::{Map, Value, json};

use super::work;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::{Here, perform as run_here};
use crate::terminal::Screen;

/// Files that hold a secret, each by what it is used for: the option, the use, the kind of
/// credential, its field, and help.
const SECRETS: [(&str, &str, CredentialKind, &str, &str); 3] = [
    (
        "private-key",
        "ssh",
        CredentialKind::SshKey,
        "private_key",
        "Private key with which hosts are reached",
    ),
    (
        "connection-password-file",
        "password",
        CredentialKind::Password,
        "password",
        "File with the password with which hosts are reached",
    ),
    (
        "become-password-file",
        "become",
        CredentialKind::Become,
        "password",
        "File with the password with which tasks become another user",
    ),
];

pub(super) fn command() -> Command {
    Command::new("playbook")
        .about("Run Ansible playbooks")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(run())
}

fn run() -> Command {
    let [_, mask, short] = work::args();
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name)
            .long(name)
            .short(short)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let file = |name, help| text(name, "FILE", help).value_parser(value_parser!(PathBuf));
    Command::new("run")
        .about("Run a playbook right here, without a server")
        .after_help(
            "With the same redaction and the same log as on a server: what the vault decrypts is in no output. Runs as \
             you, where you are, and exits with the code of ansible-playbook.",
        )
        .arg(
            Arg::new("playbook")
                .value_name("PLAYBOOK")
                .required(true)
                .help("The playbook"),
        )
        .arg(
            text("inventory", "INVENTORY", "Inventory: a file, a directory, or hosts with commas (`web1,`)")
                .short('i')
                .required(true),
        )
        .arg(
            text("extra-vars", "NAME=VALUE", "Variable that wins over all others")
                .short('e')
                .action(ArgAction::Append),
        )
        .arg(text("tags", "TAGS", "Only what has one of these tags").short('t'))
        .arg(text("skip-tags", "TAGS", "Not what has one of these tags"))
        .arg(text("limit", "PATTERN", "Only hosts that fit").short('l'))
        .arg(flag("check", 'C', "Change nothing; say what would change"))
        .arg(flag("diff", 'D', "Show what changes in files"))
        .arg(
            Arg::new("verbose")
                .short('v')
                .action(ArgAction::Count)
                .help("Say more; up to four times"),
        )
        .arg(
            text("forks", "COUNT", "Hosts at once")
                .short('f')
                .value_parser(value_parser!(u32).range(1..)),
        )
        .arg(
            text("timeout", "SECONDS", "Stop after so many seconds")
                .value_parser(value_parser!(u64).range(1..=DURATION_SECONDS_MAX)),
        )
        .arg(text("user", "USER", "User on the hosts").short('u'))
        .args(SECRETS.map(|(name, _, _, _, help)| file(name, help)))
        .arg(
            text("vault-id", "[ID@]FILE", "File with a password of the vault")
                .alias("vault-password-file")
                .action(ArgAction::Append),
        )
        .args([mask, short])
        .arg(file("log-dir", "Keep the log in this directory").value_name("DIR"))
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let Some(("run", matches)) = matches.subcommand() else {
        unreachable!("clap takes no other");
    };
    let (uses, credentials) = credentials(matches)?;
    let here = std::env::current_dir().map_err(|error| {
        let why = format!("find the current directory: {error}");
        Failure::new(Exit::Failed, "directory", why)
    })?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let playbook = Playbook {
        source: Source::Local {
            path: here.to_string_lossy().into_owned(),
            playbook: text("playbook").unwrap_or_default(),
        },
        inventory: inventory(&text("inventory").unwrap_or_default())?,
        credentials: uses,
        extra_vars: extra_vars(matches)?,
        options: options(matches)?,
    };
    run_here(Here {
        order: Order {
            task: Task::Playbook(playbook),
            git_ref: None,
            parameters: BTreeMap::new(),
            masks: work::masks(matches)?,
            trace: Trace::default(),
        },
        credentials,
        log_dir: work::path(matches, "log-dir"),
        screen: screen.clone(),
        is_pipeline: true,
    })
}

/// Checks a part as the server would.
fn checked<T>(
    part: &Value,
    name: &str,
    read: impl Fn(Node, &str, &mut Vec<Mistake>) -> Option<T>,
) -> Result<T, Failure> {
    let mut list = Vec::new();
    let node = Node::from_json(part).map_err(|mistake| list.push(mistake));
    let found = node.ok().and_then(|node| read(node, name, &mut list));
    found.filter(|_| list.is_empty()).ok_or_else(|| {
        let mistakes = Mistakes { list, source: None };
        Failure::mistakes(Exit::Usage, mistakes.to_string(), vec![mistakes])
    })
}

fn options(matches: &ArgMatches) -> Result<Options, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let asked = json!({
        "tags": text("tags"),
        "skip_tags": text("skip-tags"),
        "limit": text("limit"),
        "check": matches.get_flag("check"),
        "diff": matches.get_flag("diff"),
        "verbosity": matches.get_count("verbose"),
        "forks": matches.get_one::<u32>("forks"),
        "timeout_seconds": matches.get_one::<u64>("timeout"),
    });
    checked(&asked, "", Options::read)
}

/// A file or directory, or a list of hosts as Ansible knows one by its comma.
fn inventory(text: &str) -> Result<Inventory, Failure> {
    if !text.contains(',') {
        if !Path::new(text).exists() {
            let why = format!("--inventory {}: there is no such file", text.escape_debug());
            return Err(Failure::usage(why));
        }
        return Ok(Inventory::Source {
            path: text.to_owned(),
        });
    }
    let hosts: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    let inline = json!({"type": "inline", "hosts": hosts});
    checked(&inline, "/inventory", Inventory::read)
}

fn extra_vars(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let pairs = work::assignments(matches, "extra-vars")?;
    Ok(pairs
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect())
}

/// The files with secrets, as credentials of this run, and what each is for.
fn credentials(matches: &ArgMatches) -> Result<(Uses, Vec<Credential>), Failure> {
    let mut uses = Map::new();
    let mut all = Vec::new();
    let user = matches.get_one::<String>("user").cloned();
    for (option, used_as, kind, field, _) in SECRETS {
        let Some(path) = work::path(matches, option) else {
            continue;
        };
        let mut credential = credential(option, kind, (field, &path))?;
        let username = user.clone().map(|it| ("username".to_owned(), it));
        credential.metadata = username
            .filter(|_| used_as != "become")
            .into_iter()
            .collect();
        uses.insert(used_as.to_owned(), option.into());
        all.push(credential);
    }
    if user.is_some() && !uses.contains_key("ssh") && !uses.contains_key("password") {
        let why = "--user goes with --private-key or --connection-password-file; without them, set ansible_user in the inventory";
        return Err(Failure::usage(why));
    }
    let vaults = matches.get_many::<String>("vault-id").into_iter().flatten();
    let mut names = Vec::new();
    for (index, given) in vaults.enumerate() {
        let (id, path) = match given.split_once('@') {
            Some((id, path)) => (Some(id), path),
            None => (None, given.as_str()),
        };
        let name = format!("vault-{index}");
        let kind = CredentialKind::VaultPassword;
        let mut credential = credential(&name, kind, ("password", Path::new(path)))?;
        let id = id.map(|it| ("vault_id".to_owned(), it.to_owned()));
        credential.metadata = id.into_iter().collect();
        names.push(name);
        all.push(credential);
    }
    uses.insert("vault".to_owned(), names.into());
    Ok((
        checked(&Value::Object(uses), "/credentials", Uses::read)?,
        all,
    ))
}

fn credential(
    name: &str,
    kind: CredentialKind,
    (field, path): (&str, &Path),
) -> Result<Credential, Failure> {
    let text = work::read_file(path)
        .map_err(|why| Failure::usage(format!("--{name}: read {}: {why}", path.display())))?;
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
