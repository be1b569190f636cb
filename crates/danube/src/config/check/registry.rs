//! The registry's settings.

use danube_master::{RegistryAddress, RegistrySettings, StartedRegistry};
use danube_model::Mistake;

use super::Values;

pub(super) fn read(it: &Values<'_>) -> Option<RegistrySettings> {
    let start = match it.bool("registry.start")? {
        true => Some(StartedRegistry {
            program: it.text("registry.program")?,
            listen: it.address("registry.listen")?,
        }),
        false => None,
    };
    let theirs = it.collector("registry.url").map(|address| RegistryAddress {
        authorization: address.authorization().map(|it| it.value),
        url: address.url,
    });
    let ours = start.as_ref().map(|it| RegistryAddress {
        url: format!("http://{}", it.listen),
        authorization: None,
    });
    let days = it.number("retention.images_days")?;
    Some(RegistrySettings {
        url: theirs.or(ours),
        start,
        images_days: Some(u32::try_from(days).expect("the table bounds it")).filter(|it| *it > 0),
    })
}

/// Notes what doesn't fit together.
pub(super) fn check(it: &Values<'_>, mistakes: &mut Vec<Mistake>) {
    let start = it.found("registry.start");
    if start.is_wrong || it.bool("registry.start") != Some(true) {
        return;
    }
    if it.collector("registry.url").is_some() {
        mistakes.push(start.wrong(
            "registry.start",
            "there is a registry at registry.url already",
            "take one of them out",
        ));
    }
    let listen = it.found("registry.listen");
    let Some(address) = it.address("registry.listen").filter(|_| !listen.is_wrong) else {
        return;
    };
    if !address.ip().is_loopback() {
        mistakes.push(listen.wrong(
            "registry.listen",
            format!("{address} can be reached by others, and the registry asks for no login"),
            "listen on 127.0.0.1, behind a proxy that asks for one",
        ));
    } else if address.port() == 0 {
        mistakes.push(listen.wrong(
            "registry.listen",
            "port 0 would be another one after each start",
            "choose one, such as 5000",
        ));
    }
}
