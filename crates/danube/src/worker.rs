//! `danube worker`: runs jobs of a master on another machine until it is told to stop.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use danube_master::WorkerHome;
use danube_remote::{Home, Master, RemoteError};
use danube_worker::NoWorker;

use crate::config::{self, Sources, server_url};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::telemetry;

/// Bytes of a token file; a token has 54.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Bytes of a file of certificates: all that systems usually trust have a quarter of it.
const CA_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What `danube worker` was asked.
pub(crate) struct WorkerArgs {
    pub(crate) server: String,
    pub(crate) token_file: PathBuf,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) jobs: Option<u64>,
    pub(crate) queues: Option<Vec<String>>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) insecure_http: bool,
}

/// Works until it is told to stop and has drained.
pub(crate) fn work(args: &WorkerArgs) -> Result<ExitCode, Failure> {
    let url = address(&args.server, args.insecure_http)?;
    let token = token(&args.token_file)?;
    let ca_pem = args
        .ca_file
        .as_deref()
        .map(|it| read(it, CA_FILE_BYTES_MAX));
    let ca_pem = ca_pem.transpose()?;
    let mut config = config::load(&sources(args)?)?;
    config.secrets.push(token.clone());
    let telemetry = telemetry::start(&config)?;
    let settings = config.settings;
    let grace = settings.grace;
    let mut home = WorkerHome::take(&settings, &telemetry.signals, &url)
        .map_err(|error| crate::serve::told("worker", &error))?;
    home.settings.server.clone_from(&url);
    // A job's steps run as the worker does, where it isn't root.
    if let Ok(file) = args.token_file.canonicalize() {
        home.settings.place.hide.push(file);
    }
    let master = Master { url, token, ca_pem };
    let lives = Home {
        settings: home.settings.clone(),
        logs: home.logs.clone(),
        grace,
        queues: args.queues.clone(),
        redis: settings.queue_url.clone(),
    };
    let ran = danube_remote::run(&master, lives, &telemetry.signals);
    drop(home);
    ran.map(|()| Exit::Ok.into())
        .map_err(|error| failed(&error))
}

/// The settings of this machine, with what was said.
fn sources(args: &WorkerArgs) -> Result<Sources, Failure> {
    let mut sources = Sources::here();
    let dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => config::data_dir(&sources)
            .map(|dir| dir.join("worker"))
            .ok_or_else(|| Failure::usage("name the worker's directory with --data-dir"))?,
    };
    let flags = &mut sources.flags;
    flags.insert("server.data_dir", vec![dir.into_os_string()]);
    if let Some(jobs) = args.jobs {
        flags.insert("queue.jobs_at_once", vec![jobs.to_string().into()]);
    }
    Ok(sources)
}

/// The master's address, if nothing secret travels to it in clear.
fn address(text: &str, insecure_http: bool) -> Result<String, Failure> {
    let url = server_url(text).filter(|it| {
        // Calls go to paths of their own.
        let rest = it.split_once("://").map_or("", |(_, rest)| rest);
        !rest.contains('/')
    });
    let Some(url) = url else {
        let what = format!(
            "--server must be https://host[:port] or http://host[:port], not `{}`",
            text.escape_debug()
        );
        return Err(Failure::usage(what));
    };
    let is_clear = url
        .strip_prefix("http://")
        .is_some_and(|rest| !is_loopback(rest));
    if is_clear && !insecure_http {
        let what = format!("jobs, their secrets and the token would travel to {url} in clear");
        return Err(Failure::usage(what)
            .hint("use https:// (a proxy with TLS before the master), or say --insecure-http"));
    }
    Ok(url)
}

fn is_loopback(host_and_port: &str) -> bool {
    let host = match host_and_port.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host_and_port.split(':').next().unwrap_or_default(),
    };
    let is_address = host
        .parse::<std::net::IpAddr>()
        .is_ok_and(|it| it.is_loopback());
    is_address || host == "localhost"
}

fn token(path: &Path) -> Result<String, Failure> {
    let bytes = read(path, TOKEN_FILE_BYTES_MAX)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim();
    if !token.starts_with("dnb_worker_") || !token.bytes().all(|it| it.is_ascii_graphic()) {
        let what = format!("{} holds no worker's token", path.display());
        return Err(Failure::new(Exit::Usage, "token", what)
            .hint("`danube worker create NAME` prints one that begins with dnb_worker_"));
    }
    Ok(token.to_owned())
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .and_then(|_| {
            let fits = bytes.len() as u64 <= bytes_max;
            fits.then_some(())
                .ok_or_else(|| io::Error::other(format!("it has more than {bytes_max} bytes")))
        })
        .map_err(|error| {
            let what = format!("read {}: {error}", path.display());
            Failure::new(Exit::Usage, "file", what)
        })?;
    Ok(bytes)
}

fn failed(error: &RemoteError) -> Failure {
    let message = format!("work for the master: {error}");
    match error {
        RemoteError::Unauthorized(_) => Failure::new(Exit::NotAuthorised, "token", message)
            .hint("the token was revoked or is another server's; `danube worker create NAME` makes a new one"),
        RemoteError::Address(_) => Failure::new(Exit::Usage, "server", message),
        RemoteError::Wrong(_) => Failure::new(Exit::Failed, "protocol", message),
        RemoteError::Worker(NoWorker::Nursery(_)) => {
            Failure::new(Exit::Failed, "nursery", message).hint(crate::serve::NURSERY_HINT)
        }
        RemoteError::Worker(_) | RemoteError::System { .. } => {
            Failure::new(Exit::Failed, "start", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel_in_clear_only_on_this_machine_or_when_it_was_said() {
        for (url, is_fine) in [
            ("https://ci.example.org", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost", true),
            ("http://ci.example.org", false),
            ("http://192.0.2.1:8080", false),
            ("http://127.0.0.1.example.org", false),
            ("https://ci.example.org/danube", false),
            ("ci.example.org", false),
        ] {
            assert_eq!(address(url, false).is_ok(), is_fine, "{url}");
        }
        assert!(address("http://192.0.2.1:8080", true).is_ok());
    }
}
