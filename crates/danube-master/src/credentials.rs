//! Checks credentials that come in, and gives jobs those that they name.

use danube_model::credential::{Credential, read_credential};
use danube_model::{Attempt, Mistake};
use danube_redact::{Rules, Secrets};
use danube_signals::{CredentialAccessed, Signals};
use danube_store::{Store, StoreError};
use zeroize::Zeroize as _;

use crate::log_level::MaskInLog;
use crate::submit::check_mask;

/// Checks the body of a request and wipes it. With `named` the name stands in the
/// address.
///
/// # Errors
/// Every mistake; none repeats a value.
pub(crate) fn check(
    mut body: serde_json::Value,
    named: Option<&str>,
) -> Result<Credential, Vec<Mistake>> {
    let read = read_credential(&body, named, &|value| check_mask(value, false));
    wipe(&mut body);
    let credential = read?;
    let mistakes = shown_values(&credential);
    if mistakes.is_empty() {
        Ok(credential)
    } else {
        Err(mistakes)
    }
}

/// What is shown of a credential may hold none of its values.
fn shown_values(credential: &Credential) -> Vec<Mistake> {
    let secrets = Secrets::new(Rules::none());
    for value in credential.values.values() {
        // Each was taken by a trial before.
        let _ = secrets.register(value.reveal().as_bytes());
    }
    let shown = credential
        .metadata
        .iter()
        .map(|(name, it)| (name.as_str(), it));
    let shown = shown.chain([("name", &credential.name)]);
    let mistake = |name: &str| Mistake {
        code: "credential.shown",
        pointer: format!("/{name}"),
        at: None,
        message: format!("`{name}` holds one of the secret values, but is shown"),
        help: Some("is each value in its own field?".to_owned()),
    };
    shown
        .filter(|(_, text)| secrets.redact(text) != **text)
        .map(|(name, _)| mistake(name))
        .collect()
}

/// Overwrites every text of it.
fn wipe(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => text.zeroize(),
        serde_json::Value::Array(list) => list.iter_mut().for_each(wipe),
        serde_json::Value::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

/// Keeps what is stored out of the server's log, before anything is served.
pub(crate) fn mask_all(store: &Store, mask: &MaskInLog) -> Result<(), StoreError> {
    for value in store.credential_values()? {
        mask(value.reveal().as_bytes());
    }
    Ok(())
}

/// Gives an attempt the credentials that its job names, all or none, and tells which.
/// Blocks until that is durable: called from the job's own thread.
///
/// # Errors
/// See [`Store::resolve_credentials`]; the text of one that a job can't get over is its
/// reason.
pub(crate) fn resolve(
    store: &Store,
    signals: &Signals,
    attempt: Attempt,
    names: Vec<String>,
) -> Result<Vec<Credential>, StoreError> {
    let given = store.resolve_credentials(attempt, names).wait()?;
    let job_id = attempt.job.to_string();
    for credential in &given {
        signals.emit(CredentialAccessed {
            credential_name: &credential.name,
            job_id: &job_id,
        });
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_that_stands_where_it_is_shown_is_refused_and_not_repeated() {
        let body = json!({"name": "web", "kind": "password", "password": "hunter2-hunter2", "username": "hunter2-hunter2"});
        let mistakes = check(body, None).unwrap_err();
        assert_eq!(mistakes[0].pointer, "/username");
        assert!(!format!("{mistakes:?}").contains("hunter2"));
        let body = json!({"kind": "password", "password": "hunter2-hunter2"});
        let mistakes = check(body, Some("hunter2-hunter2")).unwrap_err();
        assert_eq!(mistakes[0].pointer, "/name");
    }

    #[test]
    fn a_value_that_would_shred_a_log_is_refused_with_the_reason() {
        for (value, why) in [
            ("hunter2", "too short"),
            ("password", "common word"),
            ("aaaaaaaaaa", "repeated"),
        ] {
            let body = json!({"name": "web", "kind": "password", "password": value});
            let mistakes = check(body, None).unwrap_err();
            assert!(mistakes[0].message.contains(why), "{mistakes:?}");
        }
        let body = json!({"name": "web", "kind": "password", "password": "hunter2-hunter2"});
        assert!(check(body, None).is_ok());
    }
}
