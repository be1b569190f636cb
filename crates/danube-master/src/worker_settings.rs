//! What a worker is told, inside a master and elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use danube_executor::{Limits, UID_COUNT_DEFAULT, UidPool};
use danube_worker::{PlaceSettings, PlaybookSettings, Where};
use sha2::{Digest, Sha256};

use crate::remote::LOCAL_PREFIX;
use crate::settings::Settings;
use crate::start::{StartError, directory, is_root};

/// How long a step's processes have between TERM and KILL, at most: ten seconds
/// after a job has ended none of its processes may live.
const KILL_AFTER_MAX: Duration = Duration::from_secs(8);

pub(crate) fn worker_settings(settings: &Settings) -> Result<danube_worker::Settings, StartError> {
    let dir = settings
        .data_dir
        .canonicalize()
        .map_err(directory(&settings.data_dir))?;
    let steps = &settings.steps;
    let name = Sha256::digest(dir.as_os_str().as_bytes());
    let place = PlaceSettings {
        nursery: steps.nursery(),
        cgroup: Some(format!(
            "danube-{:02x}{:02x}{:02x}{:02x}",
            name[0], name[1], name[2], name[3]
        )),
        place: Where::Below(dir.join("work")),
        hide: vec![dir],
        hide_from_steps: own_home(),
        limits: Limits {
            memory_bytes: steps.memory_bytes,
            processes: steps.processes,
            cpu_cores: steps.cpu_cores,
            open_files: steps.open_files,
        },
        network: steps.network,
        uids: is_root().then(|| UidPool::new(steps.uid_base, UID_COUNT_DEFAULT)),
    };
    Ok(danube_worker::Settings {
        id: format!("{LOCAL_PREFIX}{}", process::id()),
        jobs_at_once: settings.jobs_at_once,
        place,
        path: steps.path.clone(),
        grace: settings.grace.min(KILL_AFTER_MAX),
        server: settings
            .public_url
            .clone()
            .unwrap_or_else(|| own_address(settings.listen)),
        rules: settings.rules.clone().into(),
        allow_unisolated: steps.allow_unisolated,
        job_logs: None,
        playbooks: PlaybookSettings {
            cache: Some(settings.data_dir.join("sources")),
            allow_private: settings.sources_private.clone(),
            galaxy: settings.galaxy.clone(),
        },
    })
}

/// The address under which a job on this machine reaches the server: to listen
/// on any is not an address to go to.
pub(crate) fn own_address(mut listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{listen}")
}

/// The home of the user that the steps run as, too, when the master isn't root:
/// its ssh keys, tokens and start-up files are nothing for a job.
fn own_home() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.filter(|it| !is_root() && it.is_absolute() && it.parent().is_some())
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_an_address_that_it_can_go_to() {
        for (listen, address) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("[::]:8080", "http://[::1]:8080"),
            ("192.0.2.1:80", "http://192.0.2.1:80"),
        ] {
            assert_eq!(own_address(listen.parse().unwrap()), address);
        }
    }
}
