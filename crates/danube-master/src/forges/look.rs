//! Whether each forge that is told of jobs answers, and takes its token.

use std::thread;
use std::time::Duration;

use danube_model::ForgeKind;
use danube_model::credential::CredentialKind;
use danube_outgoing::Client;
use danube_store::{Store, StoreError};

use super::api::Api;
use super::{Forge, Forges};

/// How long a forge may take to say a few words.
const DEADLINE: Duration = Duration::from_secs(8);

/// Bytes of these words; they aren't read.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Forges that are asked in one look, each on a thread of its own. Those behind them in the
/// alphabet aren't.
const FORGES_MAX: usize = 32;

/// The name of a forge's credential, and what is wrong with it.
type Looked = (String, Result<(), String>);

/// The forges that are known, by the names of their credentials, and what is wrong with each.
/// Asks all at once; blocks for [`DEADLINE`] at most, and a little.
///
/// # Errors
/// When the database can't be read.
pub(crate) fn at_all(forges: &Forges, store: &Store) -> Result<Vec<Looked>, StoreError> {
    let mut known = Vec::new();
    for it in store.credentials()? {
        let kind = CredentialKind::parse(&it.kind).and_then(CredentialKind::forge);
        if let Some(kind) = kind {
            known.push((Forge::known(store, kind, &it.name), it.name));
        }
    }
    known.truncate(FORGES_MAX);
    let client = &forges.client;
    Ok(thread::scope(|scope| {
        let looks: Vec<_> = known
            .into_iter()
            .map(|(forge, name)| (name, scope.spawn(move || at(forge, client))))
            .collect();
        let gone = |_| Err("the look at it broke off".to_owned());
        let found = looks
            .into_iter()
            .map(|(name, look)| (name, look.join().unwrap_or_else(gone)));
        found.collect()
    }))
}

fn at(forge: Result<Option<Forge>, StoreError>, client: &Client) -> Result<(), String> {
    let forge = forge.map_err(|error| error.to_string())?.ok_or(
        "its credential has no webhook_secret or no url, so its webhooks are refused: set it anew",
    )?;
    if forge.token.is_none() {
        // Nothing is told to it, so it may lie where this server doesn't reach.
        return Ok(());
    }
    // What each tells whoever has a good token, whatever else that may do.
    let path = match forge.kind {
        ForgeKind::GitHub => "rate_limit",
        ForgeKind::GitLab => "version",
        ForgeKind::Gitea => "user",
    };
    let answer = Api::of(&forge).get(client, path, (DEADLINE, BODY_BYTES_MAX));
    judged(forge.kind, answer?.status)
}

/// What a status says of the forge and its token.
fn judged(kind: ForgeKind, status: u16) -> Result<(), String> {
    match (kind, status) {
        (_, 200..300) => Ok(()),
        (_, 401) => Err("it refuses the token (401): set the credential with a new one".to_owned()),
        // A token that may set statuses and nothing else.
        (ForgeKind::Gitea, 403) => Ok(()),
        // A GitHub of one's own whose limits are off.
        (ForgeKind::GitHub, 404) => Ok(()),
        (_, 403 | 429) => Err(format!(
            "it lets nobody in ({status}): calls are limited, or the token may not use the API"
        )),
        (_, status) => Err(format!(
            "its API answers with status {status}: is the credential's url its address?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_forge_answers_says_whether_its_token_is_good() {
        let check = |kind, status, expected: &str| {
            let found = judged(kind, status).err().unwrap_or_default();
            let fits = found.contains(expected) && found.is_empty() == expected.is_empty();
            assert!(fits, "{kind:?} {status}: {found}");
        };
        for kind in ForgeKind::ALL {
            check(kind, 200, "");
            check(kind, 401, "refuses the token");
            check(kind, 502, "502");
        }
        check(ForgeKind::GitHub, 404, "");
        check(ForgeKind::Gitea, 404, "url");
        check(ForgeKind::Gitea, 403, "");
        check(ForgeKind::GitHub, 403, "limited");
    }
}
