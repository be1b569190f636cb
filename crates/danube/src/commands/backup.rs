//! `danube backup`: takes a backup of a server, from here or from anywhere.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_backup::{Backup, Manifest, Source, TakeError, examine};
use danube_master::{StartError, StoppedDirectory};
use danube_model::Timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::NamedTempFile;

use super::restore::{checks_as_json, checks_as_table};
use crate::client::{Watched, args, connect, names_server};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::serve;
use crate::terminal::{Progress, Screen};

/// How long a server may send nothing: it copies and checks its database before the
/// first byte, a minute for each ten gigabytes.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 128 * 1024;

pub(super) fn command() -> Command {
    Command::new("backup")
        .about("Take a backup of the server while it works")
        .long_about(
            "Take a backup of the server while it works: its database, its keys, the logs and traces \
             of its jobs, and the pipelines and settings in its data directory. It is one tar, \
             readable by its owner only, and is checked once it is there.\n\n\
             With --data-dir and no server running there, the directory itself is read.",
        )
        .after_help(
            "The backup holds the keys that open every secret in it: keep it as safe as the server. \
             `danube restore` makes a data directory of it.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Where to; a name that ends in .gz is compressed, - is standard output [default: danube-backup-TIME.tar]"),
        )
        .arg(
            Arg::new("without-keys")
                .long("without-keys")
                .action(ArgAction::SetTrue)
                .help("Leave out the sealing keys, the admin key and the settings file: to restore it, the sealing keys must be given"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let with_keys = !matches.get_flag("without-keys");
    let file = matches.get_one::<PathBuf>("file").cloned();
    let file = file.unwrap_or_else(|| PathBuf::from(default_name()));
    if file == Path::new("-") {
        let mut out = io::stdout().lock();
        take(matches, with_keys, &mut out, screen)?;
        return Ok(Exit::Ok.into());
    }
    if file.exists() {
        let message = format!("take a backup: {} exists", file.display());
        return Err(Failure::new(Exit::Conflict, "file_exists", message)
            .hint("name another file, or move that one away; a backup is never written over"));
    }
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let write = |error: io::Error| failed(&format!("write {}: {error}", file.display()));
    let draft = tempfile::Builder::new()
        .prefix(".danube-backup-")
        .tempfile_in(dir)
        .map_err(write)?;
    fill(matches, with_keys, (&draft, &file), screen)?;
    draft.as_file().sync_all().map_err(write)?;
    let mut progress = Progress::new(screen);
    progress.tick("checking the backup");
    let archive = File::open(draft.path()).map_err(write)?;
    let report = examine(BufReader::new(archive), None, dir).map_err(write)?;
    drop(progress);
    let (true, Some(manifest)) = (report.is_well(), &report.manifest) else {
        screen.error(&checks_as_table(&report).render(screen, true));
        return Err(
            failed("what came isn't a whole and right backup; nothing was written")
                .hint("the server's log tells why (backup_failed); try again"),
        );
    };
    let bytes = draft.as_file().metadata().map_err(write)?.len();
    draft
        .persist_noclobber(&file)
        .map_err(|error| write(error.error))?;
    File::open(dir)
        .and_then(|it| it.sync_all())
        .map_err(write)?;
    if screen.is_json() {
        let checks = checks_as_json(&report);
        screen
            .json(&json!({"file": file, "bytes": bytes, "manifest": manifest, "checks": checks}))?;
    } else {
        screen.print(&summary(&file, bytes, manifest))?;
    }
    Ok(Exit::Ok.into())
}

/// Takes it into the draft, compressed if the name says so.
fn fill(
    matches: &ArgMatches,
    with_keys: bool,
    (draft, file): (&NamedTempFile, &Path),
    screen: &Screen,
) -> Result<(), Failure> {
    let out = BufWriter::with_capacity(PIECE_BYTES, draft.as_file());
    let write = |error: io::Error| failed(&format!("write {}: {error}", file.display()));
    let is_compressed = file.extension().is_some_and(|it| it == "gz" || it == "tgz");
    if !is_compressed {
        let mut out = out;
        take(matches, with_keys, &mut out, screen)?;
        return out.flush().map_err(write);
    }
    let mut out = GzEncoder::new(out, Compression::fast());
    take(matches, with_keys, &mut out, screen)?;
    out.finish().and_then(|mut it| it.flush()).map_err(write)
}

/// From the server, or from the directory that was named if none works there.
fn take(
    matches: &ArgMatches,
    with_keys: bool,
    out: &mut dyn Write,
    screen: &Screen,
) -> Result<(), Failure> {
    let named = matches.get_one::<PathBuf>("data-dir");
    if let Some(dir) = named.filter(|_| !names_server(matches))
        && let Some(_held) = stopped(dir)?
    {
        let source = Source {
            data_dir: dir.clone(),
            pipelines_dir: dir.join("pipelines"),
            with_keys,
        };
        let backup = Backup::of_stopped(source).map_err(|error| unread(&error))?;
        backup.write(out, || true).map_err(|error| unread(&error))?;
        return Ok(());
    }
    let client = connect(matches, true)?;
    let taken = client.backup(with_keys);
    let taken = taken.map_err(|error| Failure::call("take a backup", &error))?;
    let mut progress = Progress::new(screen);
    let mut archive = Watched::new(taken, SILENCE_MAX);
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0_u64;
    loop {
        let have = archive.read(&mut piece).map_err(|error| {
            failed(&format!("the server broke the backup off: {error}"))
                .hint("its log tells why (backup_failed); try again")
        })?;
        if have == 0 {
            return Ok(());
        }
        let written = out.write_all(&piece[..have]);
        written.map_err(|error| failed(&format!("write the backup: {error}")))?;
        bytes += have as u64;
        progress.tick(&format!("taking a backup, {} MiB", bytes >> 20));
    }
}

/// The directory, if no server works there.
fn stopped(dir: &Path) -> Result<Option<StoppedDirectory>, Failure> {
    if !dir.join("danube.db").exists() {
        let message = format!("take a backup: {} holds no database", dir.display());
        return Err(Failure::new(Exit::NotFound, "not_found", message)
            .hint("--data-dir names the data directory of a master"));
    }
    match StoppedDirectory::take(dir) {
        Ok(held) => Ok(Some(held)),
        Err(StartError::InUse(why)) if why.contains("in use") => Ok(None),
        Err(error) => Err(serve::told("backup", &error)),
    }
}

fn unread(error: &TakeError) -> Failure {
    failed(&error.to_string()).hint("it must be readable and writable by whoever takes the backup")
}

fn failed(why: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        "backup_failed",
        format!("take a backup: {why}"),
    )
}

fn default_name() -> String {
    let now: String = Timestamp::now()
        .to_string()
        .chars()
        .filter(|it| *it != ':')
        .collect();
    let seconds = now.split('.').next().unwrap_or(&now);
    format!("danube-backup-{seconds}Z.tar")
}

fn summary(file: &Path, bytes: u64, manifest: &Manifest) -> String {
    let Manifest { about, .. } = manifest;
    let mut text = format!(
        "{} holds {} jobs, {} logs and {} traces as of {} ({bytes} bytes)\n",
        file.display(),
        manifest.jobs,
        manifest.logs,
        manifest.traces,
        about.taken_at,
    );
    text.push_str(match about.with_keys {
        true => "It holds the keys, too: whoever reads it reads every secret in it.\n",
        false => "It holds no keys: keep seal.key of the data directory somewhere else, or it is of no use.\n",
    });
    for name in &manifest.left_out {
        text.push_str(&format!("left out: {name}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_is_one_on_every_system() {
        let name = default_name();
        assert!(name.starts_with("danube-backup-2") && name.ends_with("Z.tar"));
        assert!(!name.contains([':', '/', ' ']), "{name}");
        assert!(!Path::new(&name).exists());
    }
}
