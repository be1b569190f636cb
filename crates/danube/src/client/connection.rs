//! Finds the server and the key: flags, variables, the local data directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, value_parser};
use danube_api::client::Client;

use super::login::Login;
use crate::config::{self, Sources, server_url};
use crate::exit::Exit;
use crate::failure::Failure;

/// Bytes of a key or address file; a key has fewer than a hundred.
const SMALL_FILE_BYTES_MAX: u64 = 4096;

/// The flags of every command that talks to a server.
pub(crate) fn args() -> [Arg; 3] {
    let heading = "Connection";
    [
        Arg::new("server")
            .long("server")
            .value_name("URL")
            .help(
                "Server to talk to [environment: DANUBE_SERVER] [default: the one on this machine]",
            )
            .help_heading(heading),
        Arg::new("key-file")
            .long("key-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("File with the API key [environment: DANUBE_API_KEY holds the key itself]")
            .help_heading(heading),
        Arg::new("data-dir")
            .long("data-dir")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Data directory of the server on this machine, for its address and admin key")
            .help_heading(heading),
    ]
}

/// A client for the server that is meant. `needs_key`: nothing works without one.
pub(crate) fn connect(matches: &ArgMatches, needs_key: bool) -> Result<Client, Failure> {
    let local = Local::new(matches);
    // A data directory that is named is another wish.
    let login = if local.is_named { None } else { Login::read()? };
    let named = named_server(matches)?;
    let server = match (&named, &login) {
        (None, Some(login)) => Some(login.server.clone()),
        _ => named,
    };
    let (server, is_local) = match server {
        // The admin key of this machine goes to this machine's server only, or
        // to whom it was given on purpose.
        Some(server) => {
            let is_local = local.is_named || local.address().is_ok_and(|it| it == server);
            (server, is_local)
        }
        None => (local.address()?, true),
    };
    let login = login.filter(|it| it.server == server);
    let key = match key(matches, login, is_local.then_some(&local)) {
        Ok(key) => key,
        Err(_) if !needs_key => String::new(),
        Err(failure) => return Err(failure),
    };
    Ok(Client::new(&server, &key))
}

/// Whether a server was named, by flag or variable.
pub(crate) fn names_server(matches: &ArgMatches) -> bool {
    let variable = std::env::var_os("DANUBE_SERVER");
    matches.contains_id("server") || variable.is_some_and(|it| !it.is_empty())
}

/// Server, id and token of the job that this program runs in.
pub(super) fn job(elsewhere: &str) -> Result<(String, String, String), Failure> {
    let names = ["DANUBE_SERVER", "DANUBE_JOB_ID", "DANUBE_JOB_TOKEN"];
    let values = names.map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let missing: Vec<&str> = names
        .iter()
        .zip(&values)
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| *name)
        .collect();
    let [Some(server), Some(id), Some(token)] = values else {
        let message = format!(
            "find the job that this runs in: {} not set here",
            match missing.as_slice() {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(", ")),
            }
        );
        return Err(Failure::usage(message).hint(format!(
            "a server sets them for the steps of its jobs, `danube run` doesn't; {elsewhere}"
        )));
    };
    let server = server_url(&server).ok_or_else(|| {
        Failure::usage(format!(
            "DANUBE_SERVER: `{server}` is no address of a server"
        ))
    })?;
    let token =
        one_line(&token).map_err(|error| Failure::usage(format!("DANUBE_JOB_TOKEN: {error}")))?;
    Ok((server, id, token))
}

fn named_server(matches: &ArgMatches) -> Result<Option<String>, Failure> {
    let (from, text) = match (
        matches.get_one::<String>("server"),
        std::env::var("DANUBE_SERVER"),
    ) {
        (Some(text), _) => ("--server", text.clone()),
        (None, Ok(text)) if !text.is_empty() => ("DANUBE_SERVER", text),
        _ => return Ok(None),
    };
    server_url(&text).map(Some).ok_or_else(|| {
        Failure::usage(format!("{from}: `{text}` is no address of a server"))
            .hint("it begins with http:// or https://, such as http://127.0.0.1:8080")
    })
}

/// The server to log in at.
pub(crate) fn login_server(matches: &ArgMatches) -> Result<String, Failure> {
    match named_server(matches)? {
        Some(server) => Ok(server),
        None => Local::new(matches).address(),
    }
}

fn key(
    matches: &ArgMatches,
    login: Option<Login>,
    local: Option<&Local>,
) -> Result<String, Failure> {
    if let Some(path) = matches.get_one::<PathBuf>("key-file") {
        let key = small_file(path).and_then(|it| one_line(&it));
        return key
            .map_err(|error| Failure::usage(format!("read key file {}: {error}", path.display())));
    }
    if let Some(key) = std::env::var("DANUBE_API_KEY")
        .ok()
        .filter(|it| !it.is_empty())
    {
        return one_line(&key).map_err(|error| Failure::usage(format!("DANUBE_API_KEY: {error}")));
    }
    if let Some(login) = login {
        return one_line(&login.key)
            .map_err(|error| Failure::usage(format!("the key of `danube login`: {error}")));
    }
    let no_key = |message: String| {
        Failure::new(Exit::NotAuthorised, "no_key", message)
            .hint("set DANUBE_API_KEY or give --key-file, or `danube login`; an admin makes keys with `danube apikey create`")
    };
    let Some(local) = local else {
        return Err(no_key("there is no key for this server".into()));
    };
    let path = local.dir()?.join("admin.key");
    let key = small_file(&path).and_then(|it| one_line(&it));
    key.map_err(|error| no_key(format!("read {}: {error}", path.display())))
}

/// The server on this machine, as its data directory tells of it.
struct Local {
    dir: Option<PathBuf>,
    /// The directory was named on the command line.
    is_named: bool,
}

impl Local {
    fn new(matches: &ArgMatches) -> Self {
        let named = match matches.try_get_one::<PathBuf>("data-dir") {
            Ok(named) => named.cloned(),
            // `danube config show` has the server's flag of that name.
            Err(_) => matches
                .get_one::<OsString>("server.data_dir")
                .map(PathBuf::from),
        };
        Self {
            is_named: named.is_some(),
            dir: named.or_else(|| config::data_dir(&Sources::here())),
        }
    }

    fn dir(&self) -> Result<&Path, Failure> {
        self.dir.as_deref().ok_or_else(|| {
            Failure::usage("there is no home directory to look for a server in")
                .hint("name the server with --server or DANUBE_SERVER")
        })
    }

    fn address(&self) -> Result<String, Failure> {
        let path = self.dir()?.join("master.addr");
        let text = small_file(&path).and_then(|it| one_line(&it)).map_err(|error| {
            let message = match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("find the server: none has been started with the data directory {}", self.dir_text())
                }
                _ => format!("find the server: read {}: {error}", path.display()),
            };
            Failure::new(Exit::Away, "away", message)
                .hint("start one with `danube master`, or name one with --server, DANUBE_SERVER or --data-dir")
        })?;
        url_of(&text).ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                "failed",
                format!("{} holds no address", path.display()),
            )
        })
    }

    fn dir_text(&self) -> String {
        self.dir
            .as_deref()
            .unwrap_or(Path::new(""))
            .display()
            .to_string()
    }
}

/// Where to reach a server that listens here. "Any address" is for listening only.
pub(crate) fn url_of(text: &str) -> Option<String> {
    let Ok(mut address) = text.parse::<std::net::SocketAddr>() else {
        return server_url(text);
    };
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    Some(format!("http://{address}"))
}

fn small_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(SMALL_FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// A key or an address stands alone, and becomes part of a header.
fn one_line(text: &str) -> io::Result<String> {
    let line = text.trim();
    if line.is_empty() || !line.bytes().all(|it| it.is_ascii_graphic()) {
        let error = "it must hold one line without blanks";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_loopback() {
        for (text, expected) in [
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("0.0.0.0:80", Some("http://127.0.0.1:80")),
            ("[::]:80", Some("http://[::1]:80")),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("nonsense", None),
        ] {
            assert_eq!(url_of(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_key_can_not_bring_a_header_with_it() {
        assert_eq!(one_line("dnb_abc\n").unwrap(), "dnb_abc");
        for wrong in ["", "\n", "a b", "a\r\nx: y"] {
            assert!(one_line(wrong).is_err(), "{wrong:?}");
        }
    }
}
