//! `danube audit list|verify`: who asked for what, and whether anybody changed the record.

use std::collections::HashMap;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::client::Client;
use danube_api::{AUDIT_PAGE_MAX, AuditEntry, AuditFact, AuditList, AuditRow};
use danube_model::AuditHead;
use serde_json::json;

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

/// Entries that are shown when nobody says how many.
const LISTED: u32 = 100;

pub(super) fn command() -> Command {
    Command::new("audit")
        .about("Show what administrators did, and check that nobody changed the record")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("list")
                .about("List the last entries, oldest first")
                .arg(
                    Arg::new("limit")
                        .long("limit")
                        .value_name("NUMBER")
                        .value_parser(value_parser!(u32).range(1..=i64::from(AUDIT_PAGE_MAX)))
                        .help("Entries at most, 1 to 1000 [default: 100]"),
                )
                .arg(
                    Arg::new("after")
                        .long("after")
                        .value_name("NUMBER")
                        .value_parser(value_parser!(u64))
                        .help("Those that follow this entry, instead of the last ones"),
                )
                .args(args()),
        )
        .subcommand(
            Command::new("verify")
                .about("Read the whole record and check what binds each entry to those before")
                .after_help(
                    "Keep what it prints somewhere else. Given as --head later, it shows that nothing up to \
                     there was changed, left out or cut off. Exits 1 when something was.",
                )
                .arg(
                    Arg::new("head")
                        .long("head")
                        .value_name("NUMBER:HASH")
                        .value_parser(value_parser!(AuditHead))
                        .help("What an earlier check printed"),
                )
                .args(args()),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let client = connect(matches, true)?;
    match verb {
        "verify" => verify(&client, matches.get_one("head").copied(), screen),
        _ => list(&client, matches, screen),
    }
}

fn list(client: &Client, matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let limit = matches.get_one("limit").copied().unwrap_or(LISTED);
    let after = match matches.get_one("after") {
        Some(after) => *after,
        None => head(&page(client, u64::MAX >> 1, 1)?)?
            .seq
            .saturating_sub(u64::from(limit)),
    };
    let page = page(client, after, limit)?;
    if screen.is_json() {
        screen.json(&page)?;
        return Ok(Exit::Ok.into());
    }
    if page.entries.is_empty() {
        screen.print("no entry is there\n")?;
        return Ok(Exit::Ok.into());
    }
    screen.print(&table(&page.entries)?.render(screen, true))?;
    Ok(Exit::Ok.into())
}

/// One row for what was asked, with how it was answered.
fn table(entries: &[AuditRow]) -> Result<Table, Failure> {
    let parsed: Vec<(u64, AuditEntry)> = entries
        .iter()
        .map(|it| Ok((it.seq, entry(it)?)))
        .collect::<Result<_, Failure>>()?;
    let mut answers = HashMap::new();
    for (_, it) in &parsed {
        if let AuditFact::Answered { to, status, about } = &it.fact {
            answers.insert(*to, (*status, about.clone().unwrap_or_default()));
        }
    }
    let mut table = Table::new(
        &["ENTRY", "TIME", "USER", "WHAT", "STATUS", "MADE"],
        &[3, 5],
    );
    for (seq, it) in &parsed {
        let AuditFact::Asked {
            user, method, path, ..
        } = &it.fact
        else {
            continue;
        };
        let (status, about) = answers.remove(seq).unzip();
        table.row(vec![
            Cell::number(&seq.to_string()),
            Cell::new(&it.time.to_string()),
            Cell::new(user),
            Cell::new(&format!("{method} {path}")),
            Cell::new(&status.map(|it: u16| it.to_string()).unwrap_or_default()),
            Cell::new(&about.unwrap_or_default()),
        ]);
    }
    Ok(table)
}

/// Reckons the whole chain anew; the server's word isn't taken for it.
fn verify(client: &Client, known: Option<AuditHead>, screen: &Screen) -> Result<ExitCode, Failure> {
    let mut found = AuditHead::default();
    let mut wrong = None;
    let told = loop {
        let page = page(client, found.seq, AUDIT_PAGE_MAX)?;
        for it in &page.entries {
            let next = found.then(&it.entry);
            let said: Option<AuditHead> = format!("{}:{}", it.seq, it.hash).parse().ok();
            if said != Some(next) {
                wrong = Some(format!(
                    "entry {} isn't what was put down after entry {}: it, or what stood between them, was changed",
                    it.seq, found.seq
                ));
                break;
            }
            if known.is_some_and(|it| it.seq == next.seq && it != next) {
                wrong = Some(format!(
                    "entry {} isn't the one that was noted: it, or one before it, was put there since",
                    next.seq
                ));
                break;
            }
            found = next;
        }
        if wrong.is_some() || page.entries.is_empty() {
            break head(&page)?;
        }
    };
    if wrong.is_none() && found.seq < told.seq {
        wrong = Some(format!("what follows entry {} isn't there", found.seq));
    }
    if wrong.is_none() && known.is_some_and(|it| it.seq > found.seq) {
        wrong = Some(format!(
            "it ends at entry {}, before the one that was noted: the end was cut off, or an older state was put back",
            found.seq
        ));
    }
    tell(found, wrong, screen)
}

fn tell(found: AuditHead, wrong: Option<String>, screen: &Screen) -> Result<ExitCode, Failure> {
    let exit = if wrong.is_some() {
        Exit::Failed
    } else {
        Exit::Ok
    };
    if screen.is_json() {
        screen.json(&json!({
            "whole": wrong.is_none(), "entries": found.seq, "head": found.to_string(), "wrong": wrong,
        }))?;
        return Ok(exit.into());
    }
    let Some(wrong) = wrong else {
        screen.print(&format!("{found}\n"))?;
        screen.note(&format!(
            "{} entries, and none was changed; keep this line elsewhere for --head",
            found.seq
        ));
        return Ok(exit.into());
    };
    Err(Failure::new(exit, "audit_broken", clean(&wrong))
        .hint("compare with a backup, and find out who could write the data directory"))
}

fn page(client: &Client, after: u64, limit: u32) -> Result<AuditList, Failure> {
    let page = client.audit(after, limit);
    page.map_err(|error| Failure::call("read the audit log", &error))
}

fn head(page: &AuditList) -> Result<AuditHead, Failure> {
    let head = page.head.parse();
    head.map_err(|_| {
        Failure::new(
            Exit::Failed,
            "answer",
            "the server named no head".to_owned(),
        )
    })
}

fn entry(row: &AuditRow) -> Result<AuditEntry, Failure> {
    serde_json::from_str(&row.entry).map_err(|error| {
        let message = format!("entry {} can't be read: {error}", row.seq);
        Failure::new(Exit::Failed, "answer", message)
    })
}
