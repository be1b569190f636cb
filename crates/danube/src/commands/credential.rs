//! `danube credential set|list|show|delete|usage|rotate-key`
//!
//! A value comes from a file, standard input or the terminal: an argument can be
//! read by every user of the machine.

pub(super) mod value;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use danube_api::client::Client;
use danube_api::{CredentialView, NewCredential, SealKeyView};
use danube_model::credential::KINDS;

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

/// How often a rotation is asked how far it is.
const ROTATION_ASKED_EVERY: Duration = Duration::from_millis(200);

/// How long a rotation is waited for: it goes on without anybody, and a million jobs
/// take some minutes.
const ROTATION_WAIT_MAX: Duration = Duration::from_secs(600);

pub(super) fn command() -> Command {
    let name = || Arg::new("name").value_name("NAME").required(true);
    Command::new("credential")
        .about("Keep keys and passwords that jobs use")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(set())
        .subcommand(
            Command::new("list")
                .about("List names and what is shown of each; values never come back")
                .args(args()),
        )
        .subcommand(
            Command::new("show")
                .about("Show what is known of one; its values never come back")
                .arg(name().help("Its name"))
                .args(args()),
        )
        .subcommand(
            Command::new("delete")
                .about("Forget one; a job that names it fails from now on")
                .arg(name().help("Its name"))
                .args(args()),
        )
        .subcommand(
            Command::new("usage")
                .about("List the jobs that were given it, the latest first")
                .arg(name().help("Its name; also of one that was deleted"))
                .args(args()),
        )
        .subcommand(
            Command::new("rotate-key")
                .about("Replace the key that seals what the server stores, while it works")
                .after_help(
                    "Everything is sealed anew, a few rows at a time; then the old key is removed from `seal.key` in the \
                     data directory. A backup of the database needs the `seal.key` of its own time. Interrupted, it goes on \
                     by itself when the server starts again.",
                )
                .args(args()),
        )
}

/// What a forge has beside its webhook secret.
fn of_forge() -> [Arg; 2] {
    let url = Arg::new("url").long("url").value_name("URL");
    let token = Arg::new("token-file").long("token-file").value_name("FILE");
    [
        url.help("For gitea, and for a GitHub or GitLab of one's own: its address"),
        token
            .value_parser(value_parser!(std::path::PathBuf))
            .help("For a forge: take the token that may set the status of commits from this file"),
    ]
}

fn set() -> Command {
    let shown = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let kinds: Vec<String> = KINDS
        .iter()
        .map(|it| format!("  {:14}  {}", it.name, it.about))
        .collect();
    Command::new("set")
        .about("Make a credential, or set it anew")
        .after_help(format!(
            "Kinds:\n{}\n\nFor a forge the value is its webhook secret. For git a value that begins as a private key is one, any other is the password of --username; for \
             nexus_token it is the password of --username, without one a bearer token. Files are taken as they are, but that \
             passwords lose the line ends at their end; `--value-stdin` is the same for standard input.",
            kinds.join("\n")
        ))
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .required(true)
                .help("Its name: letters, digits and `-_.`"),
        )
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .required(true)
                .value_parser(PossibleValuesParser::new(KINDS.iter().map(|it| it.name)))
                .hide_possible_values(true)
                .help("What it is for, see below"),
        )
        .arg(shown("username", "USER", "The user to connect as or to become; shown in lists"))
        .arg(shown("method", "METHOD", "For become: sudo, su, doas, …"))
        .arg(shown("vault-id", "ID", "For vault_password: the vault id"))
        .args(of_forge())
        .arg(
            Arg::new("value-file")
                .long("value-file")
                .value_name("FILE")
                .value_parser(value_parser!(std::path::PathBuf))
                .help("Take the value from this file"),
        )
        .arg(
            Arg::new("value-stdin")
                .long("value-stdin")
                .action(ArgAction::SetTrue)
                .help("Take the value from standard input"),
        )
        .arg(
            Arg::new("prompt")
                .long("prompt")
                .action(ArgAction::SetTrue)
                .help("Ask for the value on the terminal, without showing it"),
        )
        .group(
            ArgGroup::new("value")
                .args(["value-file", "value-stdin", "prompt"])
                .required(true),
        )
        .arg(
            Arg::new("passphrase-file")
                .long("passphrase-file")
                .value_name("FILE")
                .value_parser(value_parser!(std::path::PathBuf))
                .help("Take the passphrase of a private key from this file"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    // Before anybody is asked for a value in vain.
    let client = connect(matches, true)?;
    let name = || {
        matches
            .get_one::<String>("name")
            .expect("clap requires it")
            .as_str()
    };
    match verb {
        "set" => {
            let new = new_credential(matches)?;
            let view = client.put_credential(name(), &new);
            let view = view.map_err(|error| doing("set", name(), &error))?;
            told(&view, "set", screen)?;
        }
        "show" => {
            let view = client.credential(name());
            show(
                &view.map_err(|error| doing("show", name(), &error))?,
                screen,
            )?;
        }
        "delete" => {
            let view = client.delete_credential(name());
            let view = view.map_err(|error| doing("delete", name(), &error))?;
            told(&view, "deleted", screen)?;
        }
        "usage" => usage(&client, name(), screen)?,
        "rotate-key" => rotate(&client, screen)?,
        _ => list(&client, screen)?,
    }
    Ok(Exit::Ok.into())
}

fn doing(verb: &str, name: &str, error: &danube_api::client::ClientError) -> Failure {
    Failure::call(&format!("{verb} credential {name}"), error)
}

fn new_credential(matches: &ArgMatches) -> Result<NewCredential, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let kind = text("kind").expect("clap requires it");
    let mut new = NewCredential {
        username: text("username"),
        method: text("method"),
        vault_id: text("vault-id"),
        url: text("url"),
        ..NewCredential::default()
    };
    let value = value::read(matches)?;
    let is_key = value.starts_with("-----BEGIN ");
    match kind.as_str() {
        "ssh_key" => new.private_key = Some(value),
        "git" if is_key => new.private_key = Some(value),
        "github" | "gitlab" | "gitea" => new.webhook_secret = Some(value::one_line(value)),
        "nexus_token" if new.username.is_none() => new.token = Some(value::one_line(value)),
        _ => new.password = Some(value::one_line(value)),
    }
    if let Some(path) = matches.get_one::<std::path::PathBuf>("passphrase-file") {
        new.passphrase = Some(value::one_line(value::from_file(path)?));
    }
    if let Some(path) = matches.get_one::<std::path::PathBuf>("token-file") {
        new.token = Some(value::one_line(value::from_file(path)?));
    }
    new.kind = kind;
    Ok(new)
}

fn told(view: &CredentialView, what: &str, screen: &Screen) -> Result<(), Failure> {
    if screen.is_json() {
        return screen.json(view);
    }
    let (name, kind) = (clean(&view.name), clean(&view.kind));
    screen.print(&format!(
        "{what} {name} ({kind}), version {}\n",
        view.version
    ))
}

fn shown(view: &CredentialView) -> String {
    let pairs = view
        .metadata
        .iter()
        .map(|(name, it)| format!("{name}={it}"));
    pairs.collect::<Vec<_>>().join(" ")
}

fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client
        .credentials()
        .map_err(|error| Failure::call("list credentials", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    let mut table = Table::new(
        &["NAME", "KIND", "SHOWN", "VERSION", "UPDATED", "LAST USED"],
        &[0, 2],
    );
    for one in &list.credentials {
        table.row(vec![
            Cell::new(&one.name),
            Cell::new(&one.kind),
            Cell::new(&shown(one)),
            Cell::new(&one.version.to_string()),
            Cell::new(&one.updated_at.to_string()),
            Cell::new(
                &one.last_used_at
                    .map(|it| it.to_string())
                    .unwrap_or_default(),
            ),
        ]);
    }
    screen.print(&table.render(screen, true))
}

fn show(view: &CredentialView, screen: &Screen) -> Result<(), Failure> {
    if screen.is_json() {
        return screen.json(view);
    }
    let mut rows = vec![
        ("name", view.name.clone()),
        ("kind", view.kind.clone()),
        ("version", view.version.to_string()),
        (
            "created",
            format!("{} by {}", view.created_at, view.created_by),
        ),
        (
            "updated",
            format!("{} by {}", view.updated_at, view.updated_by),
        ),
    ];
    let used = view.last_used_at.map(|it| it.to_string());
    rows.push(("last used", used.unwrap_or_else(|| "never".to_owned())));
    rows.extend(
        view.metadata
            .iter()
            .map(|(name, it)| (name.as_str(), it.clone())),
    );
    let lines = rows
        .iter()
        .map(|(name, it)| format!("{:10} {}\n", clean(name), clean(it)));
    screen.print(&lines.collect::<String>())
}

fn usage(client: &Client, name: &str, screen: &Screen) -> Result<(), Failure> {
    let usage = client
        .credential_usage(name)
        .map_err(|error| doing("list the usage of", name, &error))?;
    if screen.is_json() {
        return screen.json(&usage);
    }
    let mut table = Table::new(&["JOB", "ATTEMPT", "TIME"], &[]);
    for one in &usage.uses {
        table.row(vec![
            Cell::new(&one.job_id),
            Cell::new(&one.attempt.to_string()),
            Cell::new(&one.at.to_string()),
        ]);
    }
    screen.print(&table.render(screen, true))
}

/// Begins, and waits for the end.
fn rotate(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let failed = |error| Failure::call("rotate the sealing key", &error);
    let until = Instant::now() + ROTATION_WAIT_MAX;
    let mut view = client.rotate_seal_key().map_err(failed)?;
    while view.state == "rotating" {
        if Instant::now() >= until {
            let message =
                "rotate the sealing key: it hasn't ended yet, and goes on without this command";
            return Err(Failure::new(Exit::Away, "rotating", message)
                .hint("the same command waits for its end again"));
        }
        std::thread::sleep(ROTATION_ASKED_EVERY);
        view = client.seal_key().map_err(failed)?;
    }
    rotated(&view, screen)
}

fn rotated(view: &SealKeyView, screen: &Screen) -> Result<(), Failure> {
    if view.state != "idle" {
        let why = view.error.as_deref().unwrap_or("it stopped");
        let message = format!("rotate the sealing key: {why}; both keys are kept");
        return Err(Failure::new(Exit::Failed, "rotation_stopped", message)
            .hint("nothing is lost; give the command again once the reason is gone"));
    }
    if screen.is_json() {
        return screen.json(view);
    }
    let (id, rows) = (clean(&view.key_id), view.rows_resealed);
    screen.print(&format!(
        "the key is {id} now; {rows} rows were sealed anew\n"
    ))?;
    if view.rows_unreadable > 0 {
        screen.note(&format!(
            "warning: {} rows were unreadable before and still are",
            view.rows_unreadable
        ));
    }
    screen
        .note("back `seal.key` up with the database: an older backup of one doesn't fit the other");
    Ok(())
}
