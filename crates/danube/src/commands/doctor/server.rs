//! The server of this directory, if one works: whether it is ready.

use std::fs;

use danube_api::client::Client;
use serde_json::Value;

use super::found::Found;
use crate::client::url_of;
use crate::config::Config;

pub(super) fn server(config: &Config) -> Found {
    let path = config.settings.data_dir.join("master.addr");
    let Ok(text) = fs::read_to_string(&path) else {
        return Found::unused("none works in this directory");
    };
    let Some(url) = url_of(text.trim()) else {
        return Found::wrong(
            format!("{} holds no address", path.display()),
            "remove it; the next start writes it",
        );
    };
    let (status, body) = match Client::new(&url, "").raw("/health/ready") {
        Ok(answer) => answer,
        Err(error) => {
            return Found::wrong(
                format!("the one that was started at {url} doesn't answer: {error}"),
                "it was killed, or hangs: look at its log, then start it again",
            );
        }
    };
    if status == 200 {
        return Found::fine(format!("{url} is ready"));
    }
    let failed: Vec<String> = body["checks"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, it)| word(it) == "failed")
        .map(|(name, _)| name.clone())
        .collect();
    Found::wrong(
        format!("{url} isn't ready: {}", failed.join(", ")),
        "`danube health` says more; docs/runbooks what to do",
    )
}

/// A check is a word, or an object with one.
fn word(check: &Value) -> &str {
    let status = check.get("status").unwrap_or(check);
    status.as_str().unwrap_or_default()
}
