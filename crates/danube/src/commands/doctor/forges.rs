//! The forges that the server of this directory knows: whether they are set up so that webhooks
//! come in, and statuses lead back.

use std::fs;
use std::net::IpAddr;

use danube_api::client::Client;
use danube_model::credential::CredentialKind;

use super::found::Found;
use crate::client::url_of;
use crate::config::Config;

pub(super) fn forges(config: &Config) -> Found {
    let dir = &config.settings.data_dir;
    let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
    let Some(url) = read("master.addr").and_then(|it| url_of(it.trim())) else {
        return Found::unused("the server looks at them, and none works in this directory");
    };
    let Some(key) = read("admin.key") else {
        return Found::unused("the server knows them, and tells whoever reads its admin.key");
    };
    let client = Client::new(&url, key.trim());
    let known = match client.credentials() {
        Ok(list) => list.credentials.into_iter().filter(|it| {
            CredentialKind::parse(&it.kind).is_some_and(|kind| kind.forge().is_some())
        }),
        Err(error) => {
            return Found::wrong(
                format!("{url} doesn't tell its forges: {error}"),
                "look at the line of `server`, and whether admin.key is a key that still holds",
            );
        }
    };
    let names: Vec<String> = known.map(|it| it.name).collect();
    if names.is_empty() {
        return Found::unused("no credential is a forge's");
    }
    judged(
        &names,
        &said(&client),
        config.settings.public_url.as_deref(),
    )
}

/// What the server's own look at them says; nothing when all is well.
fn said(client: &Client) -> String {
    let report = client.raw("/api/v1/health").map(|it| it.1);
    let report = report.unwrap_or_default();
    let checks = report["checks"].as_array().into_iter().flatten();
    let mut found = checks.filter(|it| it["name"] == "forges");
    let said = found.next().and_then(|it| it["message"].as_str());
    said.unwrap_or_default().to_owned()
}

fn judged(names: &[String], said: &str, public_url: Option<&str>) -> Found {
    if !said.is_empty() {
        return Found::wrong(
            said,
            "`danube credential set NAME --kind KIND` sets secret, url and token anew; docs/triggers.md says what each may be",
        );
    }
    let names = names.join(", ");
    let fix = "set server.public_url to the address that people and forges reach this server by";
    match public_url {
        None => Found::weak(
            format!(
                "{names}: server.public_url isn't set, so statuses of commits link to this machine's own address"
            ),
            fix,
        ),
        Some(url) if is_inside(url) => Found::weak(
            format!(
                "{names}: server.public_url is {url}, which nobody elsewhere reaches: webhooks from outside don't come in, and statuses of commits link there"
            ),
            fix,
        ),
        Some(_) => Found::fine(format!("{names}: they answer")),
    }
}

/// Whether an address means this machine, or one of a network of its own, to whoever reads it.
fn is_inside(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |it| it.1);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(it)) => it.is_loopback() || it.is_private() || it.is_link_local(),
        Ok(IpAddr::V6(it)) => it.is_loopback() || it.is_unique_local(),
        Err(_) => {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost") || !host.contains('.')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::found::Status;
    use super::*;

    #[test]
    fn a_set_up_whose_links_lead_nowhere_is_told_apart() {
        let of = |said: &str, url: Option<&str>| judged(&["work".to_owned()], said, url).status;
        assert_eq!(of("", Some("https://ci.example.org")), Status::Ok);
        assert_eq!(
            of("work: it refuses the token", Some("https://ci.example.org")),
            Status::Failed
        );
        for url in [
            None,
            Some("http://127.0.0.1:8080"),
            Some("http://localhost:8080/x"),
            Some("https://[::1]"),
            Some("http://10.1.2.3"),
            Some("http://ci"),
        ] {
            assert_eq!(of("", url), Status::Degraded, "{url:?}");
        }
    }
}
