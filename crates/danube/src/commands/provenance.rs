//! `danube provenance key|show|verify`: where artifacts come from, and whether that is true.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::Envelope;
use danube_master::provenance::{
    PAYLOAD_TYPE, PREDICATE_TYPE, PublicKey, STATEMENT_TYPE, open_envelope,
};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

/// Bytes of a file with an envelope or keys: one of a thousand artifacts has half a megabyte.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(super) fn command() -> Command {
    let file = |name: &'static str| Arg::new(name).value_parser(value_parser!(PathBuf));
    Command::new("provenance")
        .about("Tell where artifacts come from, and check it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("key")
                .about("Print the public keys that the server signs with, the current one first")
                .args(args()),
        )
        .subcommand(
            Command::new("show")
                .about("Print the signed statement about what a job left")
                .after_help("A DSSE envelope with an in-toto statement, SLSA provenance v1; for a file, redirect it.")
                .arg(
                    Arg::new("id")
                        .value_name("JOB")
                        .required(true)
                        .help("The job: its id, or the short one"),
                )
                .args(args()),
        )
        .subcommand(
            Command::new("verify")
                .about("Check that files are what a job left")
                .after_help(
                    "Hashes the files, and checks who signed the statement that names them. With --key nobody is \
                     asked, and the server isn't believed; without it, the server says what its keys are. Exits 1 \
                     when a file is another one, or the statement isn't to be believed.",
                )
                .arg(
                    file("file")
                        .value_name("FILE")
                        .required(true)
                        .num_args(1..)
                        .help("What to check, whatever it is called"),
                )
                .arg(
                    file("provenance")
                        .long("provenance")
                        .value_name("FILE")
                        .required(true)
                        .help("What `danube provenance show` printed"),
                )
                .arg(
                    file("key")
                        .long("key")
                        .value_name("PEM")
                        .help("The public keys to believe: what `danube provenance key` printed"),
                )
                .args(args()),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    match verb {
        "key" => {
            let keys = connect(matches, true)?.provenance_keys();
            let keys = keys.map_err(|error| Failure::call("fetch the keys", &error))?;
            match screen.is_json() {
                true => screen.json(&json!({"pem": keys}))?,
                false => screen.print(&keys)?,
            }
        }
        "show" => {
            let id = matches.get_one::<String>("id").expect("clap requires it");
            let envelope = connect(matches, true)?.provenance(id);
            let what = format!("fetch the provenance of job {}", clean(id));
            screen.json(&envelope.map_err(|error| Failure::call(&what, &error))?)?;
        }
        _ => return verify(matches, screen),
    }
    Ok(Exit::Ok.into())
}

/// What of a statement is checked.
#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: Hashes,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: String,
}

fn verify(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let path = |name: &str| matches.get_one::<PathBuf>(name);
    let given = path("provenance").expect("clap requires it");
    let envelope = serde_json::from_str::<Envelope>(&read(given)?);
    let envelope = envelope.map_err(|error| {
        Failure::usage(format!("read {}: no envelope: {error}", given.display()))
    })?;
    let (pem, from) = match path("key") {
        Some(file) => (read(file)?, file.display().to_string()),
        None => {
            let keys = connect(matches, true)?.provenance_keys();
            let keys = keys.map_err(|error| Failure::call("fetch the keys", &error))?;
            (keys, "the server".to_owned())
        }
    };
    let keys = PublicKey::all_of_pem(&pem)
        .map_err(|why| Failure::usage(format!("read the keys of {from}: {why}")))?;
    let untrue = |why: &str| {
        let message = format!("{} isn't to be believed: {why}", given.display());
        Failure::new(Exit::Failed, "wrong_signature", message)
    };
    let (payload, key) = open_envelope(&envelope, &keys).map_err(|why| untrue(&why))?;
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|_| untrue("what is signed is no statement"))?;
    let types = (
        &*envelope.payload_type,
        &*statement.kind,
        &*statement.predicate,
    );
    if types != (PAYLOAD_TYPE, STATEMENT_TYPE, PREDICATE_TYPE) {
        return Err(untrue("what is signed is no provenance of SLSA v1"));
    }
    let files = matches.get_many::<PathBuf>("file").into_iter().flatten();
    let mut checked = Vec::new();
    for file in files {
        let hash = hash(file)
            .map_err(|error| Failure::usage(format!("read {}: {error}", file.display())))?;
        let subject = statement.subject.iter().find(|it| it.digest.sha256 == hash);
        checked.push((file, hash, subject.map(|it| it.name.as_str())));
    }
    tell(&checked, &key, screen)?;
    Ok(match checked.iter().all(|(.., name)| name.is_some()) {
        true => Exit::Ok.into(),
        false => Exit::Failed.into(),
    })
}

/// One line a file.
fn tell(
    checked: &[(&PathBuf, String, Option<&str>)],
    key: &PublicKey,
    screen: &Screen,
) -> Result<(), Failure> {
    if screen.is_json() {
        let files = checked.iter().map(|(file, hash, name)| {
            json!({"file": file, "sha256": hash, "artifact": name, "is_right": name.is_some()})
        });
        let files: Vec<_> = files.collect();
        return screen.json(&json!({"keyid": key.id(), "files": files}));
    }
    for (file, hash, name) in checked {
        let file = clean(&file.display().to_string());
        screen.print(&match name {
            Some(name) => format!("{file} is the artifact {} ({hash})\n", clean(name)),
            None => format!("{file} is WRONG: the job left no file with these bytes ({hash})\n"),
        })?;
    }
    screen.print(&format!("signed by the key {}\n", key.id()))
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::usage(format!("read {}: {error}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

fn hash(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 128 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(have) => hash.update(&piece[..have]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let hash = hash.finalize();
    Ok(hash.iter().map(|it| format!("{it:02x}")).collect())
}
