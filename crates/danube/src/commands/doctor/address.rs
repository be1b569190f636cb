//! The address to listen on: whether it can be had, and who is reached by it.

use std::net::TcpListener;

use super::found::Found;
use crate::config::Config;

pub(super) fn address(config: &Config) -> Found {
    let settings = &config.settings;
    let listen = settings.listen;
    let is_ours = settings.data_dir.join("master.addr").exists();
    // With a server in the directory the address is taken, and `server` tells of it.
    if !is_ours && let Err(error) = TcpListener::bind(listen) {
        return Found::wrong(
            format!("{listen} can't be had: {error}"),
            "end the program that has it, or choose another with server.listen; ports below 1024 need a right",
        );
    }
    if listen.ip().is_loopback() {
        return Found::fine(match &settings.public_url {
            Some(url) => format!("{listen}, for a proxy that serves {url}"),
            None => format!("{listen}, for this machine alone"),
        });
    }
    // The settings allow it only with `insecure_http`.
    Found::weak(
        format!("{listen} is reached by others without TLS: keys and logs travel in clear"),
        "listen on loopback, put a proxy with TLS before it, and name it in server.public_url",
    )
}
