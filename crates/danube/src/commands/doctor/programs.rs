//! The programs that jobs use.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::found::Found;
use crate::config::Config;

/// Where the hosts of the whole machine stand.
const SYSTEM_HOSTS: &str = "/etc/ssh/ssh_known_hosts";

/// Playbooks need it; pipelines don't.
pub(super) fn ansible(config: &Config) -> Found {
    match danube_ansible::find(&config.settings.steps.path) {
        Ok(version) => Found::fine(format!("ansible-core {version}")),
        Err(error) => Found::wrong(
            error.to_string(),
            "install ansible-core, or name its directory in steps.path",
        ),
    }
}

/// The server's own, which clones with the keys of whoever it runs as.
pub(super) fn git() -> Found {
    match version(&["git", "--version"]) {
        Ok(text) => Found::fine(text),
        Err(why) => Found::wrong(why, "install git"),
    }
}

/// What git and Ansible reach other machines with.
pub(super) fn ssh() -> Found {
    let version = match version(&["ssh", "-V"]) {
        Ok(text) => text,
        Err(why) => return Found::wrong(why, "install an OpenSSH client"),
    };
    let own = std::env::var_os("HOME").map(|it| PathBuf::from(it).join(".ssh/known_hosts"));
    let mut known = Vec::new();
    for path in own
        .iter()
        .map(PathBuf::as_path)
        .chain([Path::new(SYSTEM_HOSTS)])
    {
        match fs::read(path) {
            Ok(_) => known.push(path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Found::wrong(
                    format!("{} can't be read: {error}", path.display()),
                    "let the user that runs the master read it, or no host is trusted",
                );
            }
        }
    }
    let known = match known.is_empty() {
        true => "no host is known yet".to_owned(),
        false => format!("hosts in {}", known.join(" and ")),
    };
    Found::fine(format!("{version}; {known}"))
}

/// What a program says of its version, on whichever output.
fn version(words: &[&str]) -> Result<String, String> {
    let (program, arguments) = words.split_first().expect("a program is named");
    let asked = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = asked.map_err(|error| format!("{program} can't be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", words.join(" "), output.status));
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}
