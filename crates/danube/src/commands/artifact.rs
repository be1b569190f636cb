//! `danube artifact upload|list|download|delete|keep|release`: files that jobs leave.
//!
//! Inside a job `upload` needs nothing but the file: the environment says which job it is,
//! where the server is, and what to show there.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::client::Client;
use danube_api::rpc::upload_path;
use danube_api::{ArtifactView, KeepArtifacts};
use danube_model::wrong_artifact_name;
use sha2::{Digest, Sha256};

use crate::client::{Watched, args, connect, connect_by_environment, size};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

/// How long a server may send nothing: it reads from its disk and computes nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 128 * 1024;

pub(super) fn command() -> Command {
    let job = || {
        Arg::new("id")
            .value_name("JOB")
            .required(true)
            .help("The job: its id, or the short one")
    };
    let name = || Arg::new("name").value_name("NAME");
    Command::new("artifact")
        .about("Keep files that jobs make, and fetch them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("upload")
                .about("Leave a file: inside a job, from one of its steps")
                .after_help(
                    "The same file may be left again, other bytes under the same name may not; a job that is run anew \
                     replaces what it left before. Nothing is taken out of a file: whoever may read the job reads every \
                     secret that was written into it.",
                )
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("The file"),
                )
                .arg(name().long("name").help("What it is called, such as `dist/app.tar.gz` [default: the file's own name]")),
        )
        .subcommand(
            Command::new("list")
                .about("List what a job left")
                .arg(job())
                .args(args()),
        )
        .subcommand(
            Command::new("download")
                .about("Fetch what a job left, and compare it with its hash")
                .after_help("A file that is there is never written over.")
                .arg(job())
                .arg(name().help("One of them [default: all]"))
                .arg(
                    Arg::new("dir")
                        .long("dir")
                        .value_name("DIR")
                        .default_value(".")
                        .value_parser(value_parser!(PathBuf))
                        .help("Where to put it; a name with `/` in it makes directories there"),
                )
                .args(args()),
        )
        .subcommand(
            Command::new("delete")
                .about("Delete a file that a job left, before its time")
                .arg(job())
                .arg(name().required(true).help("Which"))
                .args(args()),
        )
        .subcommands(keeping(job, name))
}

fn keeping(job: impl Fn() -> Arg, name: impl Fn() -> Arg) -> [Command; 2] {
    [
        Command::new("keep")
            .about("Keep what a job left until it is released, whatever `retention` says")
            .arg(job())
            .arg(name().help("One of them [default: all that there are now]"))
            .args(args()),
        Command::new("release")
            .about("Have what was kept go in its time again")
            .arg(job())
            .arg(name().help("One of them [default: all]"))
            .args(args()),
    ]
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    if verb == "upload" {
        let file = matches
            .get_one::<PathBuf>("file")
            .expect("clap requires it");
        return upload(file, text("name"), screen);
    }
    let client = connect(matches, true)?;
    let id = text("id").expect("clap requires it");
    match verb {
        "list" => {
            let list = client.artifacts(id);
            let list =
                list.map_err(|error| Failure::call(&format!("list what job {id} left"), &error))?;
            if screen.is_json() {
                screen.json(&list)?;
            } else {
                screen.print(&table(&list.artifacts).render(screen, true))?;
            }
        }
        "download" => {
            let dir = matches.get_one::<PathBuf>("dir").expect("it has a default");
            download(&client, (id, text("name")), dir, screen)?;
        }
        "keep" | "release" => {
            let keep = KeepArtifacts {
                keep: verb == "keep",
                name: text("name").map(str::to_owned),
            };
            let list = client.keep_artifacts(id, &keep);
            let list = list.map_err(|error| {
                Failure::call(&format!("{verb} what job {} left", clean(id)), &error)
            })?;
            if screen.is_json() {
                screen.json(&list)?;
            } else {
                screen.print(&table(&list.artifacts).render(screen, true))?;
            }
        }
        _ => {
            let name = text("name").expect("clap requires it");
            let gone = client.delete_artifact(id, name).map_err(|error| {
                Failure::call(&format!("delete artifact {}", clean(name)), &error)
            })?;
            if screen.is_json() {
                screen.json(&gone)?;
            } else {
                screen.print(&format!("{} is deleted\n", clean(&gone.name)))?;
            }
        }
    }
    Ok(Exit::Ok.into())
}

fn upload(file: &Path, name: Option<&str>, screen: &Screen) -> Result<ExitCode, Failure> {
    let own = file.file_name().and_then(|it| it.to_str());
    let Some(name) = name.or(own) else {
        let message = format!("{} has no name that is UTF-8", file.display());
        return Err(Failure::usage(message).hint("give it one with --name"));
    };
    if let Some(why) = wrong_artifact_name(name) {
        return Err(Failure::usage(format!("the name {} {why}", clean(name))));
    }
    let read = |error: io::Error| Failure::usage(format!("read {}: {error}", file.display()));
    // Before it is opened: opening a pipe would wait for whoever writes to it.
    if !fs::metadata(file).map_err(read)?.is_file() {
        return Err(Failure::usage(format!(
            "{} is no regular file",
            file.display()
        )));
    }
    let opened = File::open(file).map_err(read)?;
    let bytes = opened.metadata().map_err(read)?.len();
    let calls = connect_by_environment("only a running job leaves artifacts")?;
    let step = std::env::var("DANUBE_STEP")
        .ok()
        .filter(|it| !it.is_empty());
    let path = upload_path(name, step.as_deref());
    let sent = calls.upload::<ArtifactView>(&path, (&opened, bytes));
    let stored = sent.map_err(|error| Failure::call(&format!("upload {}", clean(name)), &error))?;
    if stored.sha256 != hash(&opened, bytes).map_err(read)? {
        let message = format!(
            "upload {}: the server has other bytes than were sent",
            clean(name)
        );
        return Err(Failure::new(Exit::Failed, "hash_differs", message).hint(
            "somebody wrote to the file meanwhile, or a machine between here and there did",
        ));
    }
    if screen.is_json() {
        screen.json(&stored)?;
    } else {
        screen.print(&told("uploaded", &stored))?;
    }
    Ok(Exit::Ok.into())
}

/// What the file hashes to now.
fn hash(mut file: &File, bytes: u64) -> io::Result<String> {
    file.rewind()?;
    let mut source = Hashed::new(file.take(bytes));
    io::copy(&mut source, &mut io::sink())?;
    Ok(source.sha256())
}

fn told(what: &str, it: &ArtifactView) -> String {
    let name = clean(&it.name);
    format!("{what} {name} ({}, sha256 {})\n", size(it.bytes), it.sha256)
}

fn table(all: &[ArtifactView]) -> Table {
    let mut table = Table::new(
        &["name", "bytes", "sha256", "step", "created", "kept"],
        &[2],
    );
    for it in all {
        table.row(vec![
            Cell::new(&it.name),
            Cell::number(&it.bytes.to_string()),
            Cell::new(&it.sha256),
            Cell::new(it.step.as_deref().unwrap_or("-")),
            Cell::new(&it.created_at.to_string()),
            Cell::new(match (it.is_kept, it.kept_by_blueprint) {
                (true, _) => "yes",
                (false, true) => "blueprint",
                (false, false) => "-",
            }),
        ]);
    }
    table
}

fn download(
    client: &Client,
    (id, name): (&str, Option<&str>),
    dir: &Path,
    screen: &Screen,
) -> Result<(), Failure> {
    let list = client.artifacts(id);
    let mut list =
        list.map_err(|error| Failure::call(&format!("list what job {id} left"), &error))?;
    if let Some(name) = name {
        list.artifacts.retain(|it| it.name == name);
        if list.artifacts.is_empty() {
            let message = format!("job {id} left nothing that is called {}", clean(name));
            return Err(Failure::new(Exit::NotFound, "not_found", message)
                .hint("`danube artifact list JOB` tells what it left"));
        }
    }
    for it in &list.artifacts {
        // A server that isn't ours, or was broken into, must not choose where we write.
        if wrong_artifact_name(&it.name).is_some() {
            let message = format!("{} is no name of an artifact", clean(&it.name));
            return Err(Failure::new(Exit::Failed, "wrong_name", message));
        }
        if dir.join(&it.name).symlink_metadata().is_ok() {
            let message = format!(
                "{} exists",
                clean(&dir.join(&it.name).display().to_string())
            );
            return Err(Failure::new(Exit::Conflict, "file_exists", message).hint(
                "move it away, or name another directory with --dir; a file is never written over",
            ));
        }
    }
    for it in &list.artifacts {
        fetch(client, (id, it), dir)?;
        if !screen.is_json() {
            screen.print(&told("downloaded", it))?;
        }
    }
    if screen.is_json() {
        screen.json(&list)?;
    }
    Ok(())
}

/// Fetches one file; under its name there is all of it or nothing.
fn fetch(client: &Client, (id, it): (&str, &ArtifactView), dir: &Path) -> Result<(), Failure> {
    let path = dir.join(&it.name);
    let parent = path.parent().unwrap_or(dir);
    let failed = |why: &str| {
        let message = format!("download {}: {why}", clean(&it.name));
        Failure::new(Exit::Failed, "download_failed", message)
    };
    let write = |error: io::Error| failed(&format!("write {}: {error}", path.display()));
    fs::create_dir_all(parent).map_err(write)?;
    let mut draft = tempfile::Builder::new()
        .prefix(".danube-artifact-")
        .tempfile_in(parent)
        .map_err(write)?;
    let sent = client.artifact(id, &it.name);
    let sent =
        sent.map_err(|error| Failure::call(&format!("download {}", clean(&it.name)), &error))?;
    let mut source = Hashed::new(Watched::new(sent, SILENCE_MAX));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let have = source
            .read(&mut piece)
            .map_err(|error| failed(&format!("the server broke off: {error}")))?;
        if have == 0 {
            break;
        }
        draft.write_all(&piece[..have]).map_err(write)?;
    }
    if source.sha256() != it.sha256 {
        return Err(failed("what came has another hash; nothing was written"));
    }
    draft.as_file().sync_all().map_err(write)?;
    draft
        .persist_noclobber(&path)
        .map_err(|error| write(error.error))?;
    Ok(())
}

/// Hashes what is read.
struct Hashed<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Hashed<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            hash: Sha256::new(),
        }
    }

    fn sha256(&self) -> String {
        let hash = self.hash.clone().finalize();
        hash.iter().map(|it| format!("{it:02x}")).collect()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let have = self.from.read(into)?;
        self.hash.update(&into[..have]);
        Ok(have)
    }
}
