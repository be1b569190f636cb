//! `danube login` and `danube logout`: a key for who is signed in in a browser.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{ArgMatches, Command};
use danube_api::LoginProof;
use danube_api::client::{Client, ClientError};
use sha2::{Digest, Sha256};

use crate::client::{Login, args, login_server};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

/// How long it waits for the browser.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// How long a connection may take to say what it wants.
const ASK_MAX: Duration = Duration::from_secs(5);

/// Bytes of a request that are read.
const REQUEST_BYTES_MAX: u64 = 8 * 1024;

/// Statuses from here on say that the server is there, and can't do it now.
const SERVERS_TROUBLE: u16 = 500;

/// How often it looks for a connection.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn command() -> Command {
    Command::new("login")
        .about("Log in as a user, with a browser on this machine")
        .after_help(
            "Prints an address to open in a browser, waits until you are signed in there, and keeps a \
             key that is good for 12 hours in the configuration directory. Flags and variables go \
             before it.",
        )
        .args(args())
}

pub(super) fn logout_command() -> Command {
    Command::new("logout").about("End the key that `danube login` got, and forget it")
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let server = login_server(matches)?;
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, "failed", format!("{what}: {error}"))
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|it| it.set_nonblocking(true).map(|()| it))
        .map_err(|error| failed("listen for the browser", &error))?;
    let port = listener
        .local_addr()
        .map_err(|error| failed("listen for the browser", &error))?
        .port();
    let (verifier, state) = (token()?, token()?);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    screen.note(&format!(
        "open this address in a browser on this machine:\n{server}/login/cli?port={port}&challenge={challenge}&state={state}"
    ));
    let code = wait(&listener, &state)?;
    let got = Client::new(&server, "").login(&LoginProof { code, verifier });
    let got = got.map_err(|error| Failure::call("log in", &error))?;
    let login = Login {
        server,
        key: got.key,
        user: got.user,
        expires_at: got.expires_at,
    };
    login.save()?;
    screen.print(&format!(
        "logged in as {} until {}\n",
        clean(&login.user),
        login.expires_at
    ))?;
    Ok(Exit::Ok.into())
}

pub(super) fn log_out(_: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let Some(login) = Login::read()? else {
        screen.print("nobody was logged in\n")?;
        return Ok(Exit::Ok.into());
    };
    let ended = Client::new(&login.server, &login.key).logout();
    if let Err(error @ ClientError::Problem(problem)) = &ended
        && problem.status >= SERVERS_TROUBLE
    {
        // Forgotten, it would stay good with nobody left to end it.
        return Err(Failure::call("end the key", error).hint(format!(
            "{} is still logged in: run `danube logout` again; the key ends by itself at {}",
            clean(&login.user),
            login.expires_at
        )));
    }
    // Otherwise it is forgotten in any case: who logs out wants nothing to be left here.
    Login::forget()?;
    ended.map_err(|error| {
        Failure::call("end the key", &error).hint(format!(
            "it is forgotten here, and ends by itself at {}",
            login.expires_at
        ))
    })?;
    screen.print(&format!("{} is logged out\n", clean(&login.user)))?;
    Ok(Exit::Ok.into())
}

fn token() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Failed, "failed", format!("get random bytes: {error}"))
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The code that a browser brings with our state.
fn wait(listener: &TcpListener, state: &str) -> Result<String, Failure> {
    let end = Instant::now() + WAIT_MAX;
    while Instant::now() < end {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Ok(Some(code)) = hear(&stream, state) {
                    return Ok(code);
                }
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
    let message = "nobody came from the browser within five minutes";
    Err(Failure::new(Exit::Away, "away", message).hint("run `danube login` again"))
}

fn hear(stream: &TcpStream, state: &str) -> std::io::Result<Option<String>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ASK_MAX))?;
    stream.set_write_timeout(Some(ASK_MAX))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let code = code_of(&line, state);
    let (status, text) = match code {
        Some(_) => ("200 OK", "You are logged in. Go back to the command line."),
        None => ("404 Not Found", "This is for the command line alone."),
    };
    let mut answer = stream;
    write!(
        answer,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )?;
    Ok(code)
}

/// The code in a request line, if it comes with our state.
fn code_of(line: &str, state: &str) -> Option<String> {
    let query = line.strip_prefix("GET /?")?.split(' ').next()?;
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|it| it.split_once('='));
        pairs.find(|(it, _)| *it == name).map(|(_, it)| it)
    };
    (value("state") == Some(state)).then(|| value("code").map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_counts_only_with_our_state() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(code_of(line, "s").as_deref(), expected, "{line}");
        };
        check("GET /?code=c&state=s HTTP/1.1\r\n", Some("c"));
        check("GET /?state=s&code=c HTTP/1.1\r\n", Some("c"));
        check("GET /?code=c&state=t HTTP/1.1\r\n", None);
        check("GET /?code=c HTTP/1.1\r\n", None);
        check("GET /?state=s HTTP/1.1\r\n", None);
        check("POST /?code=c&state=s HTTP/1.1\r\n", None);
        check("GET /favicon.ico HTTP/1.1\r\n", None);
        check("", None);
    }
}
