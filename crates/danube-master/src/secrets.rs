//! Checks secrets that come in, and gives jobs those that they may have.
//!
//! What a job was given is kept in memory until its attempt ends, so that a job which asks
//! again costs no write, and sees one value whatever is set meanwhile. Only a deletion
//! reaches what is kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_model::credential::SecretText;
use danube_model::limits::SECRET_VALUE_BYTES_MAX;
use danube_model::secret::{NewSecret, is_secret_name, secret_name_rule};
use danube_model::spec::{Fields, Node, Value, is_name};
use danube_model::{Attempt, JobId, Mistake};
use danube_redact::{Rules, Secrets};
use danube_signals::{SecretAccessFailed, SecretAccessed, Signals};
use danube_store::{Live, Moved, SecretRefusal, Store, StoreError};

use crate::log_level::MaskInLog;
use crate::submit::check_mask;

/// Checks a secret that is to be set. The name and the pipeline stand in the address, the
/// value in the body.
///
/// # Errors
/// Every mistake; none repeats the value.
pub(crate) fn check(
    body: &serde_json::Value,
    name: String,
    pipeline: Option<String>,
) -> Result<NewSecret, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let value = read_value(body, (&name, pipeline.as_deref()), &mut mistakes);
    match value {
        Some(value) if mistakes.is_empty() => Ok(NewSecret {
            name,
            pipeline,
            value,
        }),
        _ => Err(mistakes),
    }
}

fn read_value(
    body: &serde_json::Value,
    (name, pipeline): (&str, Option<&str>),
    mistakes: &mut Vec<Mistake>,
) -> Option<SecretText> {
    let node = Node::from_json(body)
        .map_err(|mistake| mistakes.push(mistake))
        .ok()?;
    let mut fields = Fields::open(node, "", mistakes)?;
    if !is_secret_name(name) {
        let rule = secret_name_rule();
        fields.refuse("name", None, &format!("must be {rule}"));
    }
    if pipeline.is_some_and(|it| !is_name(it)) {
        fields.refuse("pipeline", None, "can't be the name of a pipeline");
    }
    let value = match fields.require("value").map(|it| it.value) {
        Some(Value::Text(text)) => Some(SecretText::new(text)),
        Some(_) => {
            fields.refuse("value", None, "must be text");
            None
        }
        None => None,
    };
    if let Some(why) = value.as_ref().and_then(|it| wrong_value(it.reveal())) {
        fields.refuse("value", None, &why);
    } else if let Some(value) = &value {
        let only = Secrets::new(Rules::none());
        // Taken by a trial before.
        let _ = only.register(value.reveal().as_bytes());
        for (field, text) in [("name", Some(name)), ("pipeline", pipeline)] {
            if text.is_some_and(|it| only.redact(it) != *it) {
                fields.refuse(field, None, "holds the value, but is shown");
            }
        }
    }
    fields.end();
    value
}

/// Why a value can't be a secret, without the value.
fn wrong_value(text: &str) -> Option<String> {
    if text.len() > SECRET_VALUE_BYTES_MAX {
        return Some(format!("is longer than {SECRET_VALUE_BYTES_MAX} bytes"));
    }
    if text.contains('\0') {
        return Some("holds a NUL byte, which no program can be given".to_owned());
    }
    check_mask(text, false).err()
}

/// Keeps what is stored out of the server's log, before anything is served.
pub(crate) fn mask_all(store: &Store, mask: &MaskInLog) -> Result<(), StoreError> {
    for value in store.secret_values()? {
        mask(value.reveal().as_bytes());
    }
    Ok(())
}

/// What became of each name that a job asked for.
pub(crate) type Given = Vec<(String, Result<SecretText, SecretRefusal>)>;

/// Gives jobs their secrets.
pub(crate) struct Vault {
    signals: Signals,
    /// One entry a job that a worker holds, from its claim on.
    held: Mutex<HashMap<JobId, Held>>,
}

/// What an active job was given.
#[derive(Default)]
struct Held {
    /// Which attempt of it; none before the first was given.
    attempt: Option<Attempt>,
    pipeline: String,
    user: String,
    values: HashMap<String, SecretText>,
}

impl Vault {
    pub(crate) fn new(signals: Signals) -> Self {
        Self {
            signals,
            held: Mutex::default(),
        }
    }

    /// A job moved: what a worker doesn't hold has nothing here.
    pub(crate) fn moved(&self, moved: &Moved) {
        let mut held = self.lock();
        if moved.to.is_leased() {
            held.entry(moved.job).or_default();
        } else {
            held.remove(&moved.job);
        }
    }

    /// Everything was counted anew.
    pub(crate) fn counted(&self, live: &Live) {
        let mut held = self.lock();
        let mut before = std::mem::take(&mut *held);
        for it in &live.leased {
            held.insert(it.job, before.remove(&it.job).unwrap_or_default());
        }
    }

    /// A secret of this name was deleted: nobody is given it from memory.
    pub(crate) fn deleted(&self, name: &str) {
        for held in self.lock().values_mut() {
            held.values.remove(name);
        }
    }

    /// What the attempt's job may have of these, and tells of each. Blocks until it is
    /// durable that it was given.
    ///
    /// # Errors
    /// See [`Store::resolve_secrets`].
    pub(crate) fn give(
        &self,
        store: &Store,
        attempt: Attempt,
        names: &[String],
    ) -> Result<Given, StoreError> {
        let mut given = self.kept(attempt, names);
        let known = |name: &String, given: &Given| given.iter().any(|(it, _)| it == name);
        let missing: Vec<String> = names
            .iter()
            .filter(|it| !known(it, &given))
            .cloned()
            .collect();
        if !missing.is_empty() {
            self.signals
                .secret_cache_misses_total
                .add(missing.len() as u64);
            let found = store.resolve_secrets(attempt, missing).wait()?;
            let about = (found.pipeline.as_str(), found.user.as_str());
            self.keep(attempt, about, &found.secrets);
            self.tell(attempt, about, &found.secrets);
            given.extend(found.secrets);
        }
        Ok(given)
    }

    /// What it was given before.
    fn kept(&self, attempt: Attempt, names: &[String]) -> Given {
        let (given, pipeline, user) = {
            let held = self.lock();
            let Some(held) = held.get(&attempt.job) else {
                return Vec::new();
            };
            if held.attempt != Some(attempt) {
                return Vec::new();
            }
            let found = |name: &String| Some((name.clone(), Ok(held.values.get(name)?.clone())));
            let given: Given = names.iter().filter_map(found).collect();
            (given, held.pipeline.clone(), held.user.clone())
        };
        self.signals.secret_cache_hits_total.add(given.len() as u64);
        self.tell(attempt, (&pipeline, &user), &given);
        given
    }

    fn keep(&self, attempt: Attempt, (pipeline, user): (&str, &str), found: &Given) {
        let mut held = self.lock();
        // One whose lease ended meanwhile has no entry, so that nothing is left behind.
        let Some(held) = held.get_mut(&attempt.job) else {
            return;
        };
        if held.attempt != Some(attempt) {
            *held = Held {
                attempt: Some(attempt),
                pipeline: pipeline.to_owned(),
                user: user.to_owned(),
                values: HashMap::new(),
            };
        }
        for (name, value) in found {
            if let Ok(value) = value {
                held.values.insert(name.clone(), value.clone());
            }
        }
    }

    fn tell(&self, attempt: Attempt, (pipeline, user): (&str, &str), given: &Given) {
        let job_id = attempt.job.to_string();
        for (secret_key, outcome) in given {
            match outcome {
                Ok(_) => self.signals.emit(SecretAccessed {
                    secret_key,
                    pipeline,
                    job_id: &job_id,
                    user,
                }),
                Err(refusal) => self.signals.emit(SecretAccessFailed {
                    secret_key,
                    pipeline,
                    job_id: &job_id,
                    reason: &refusal.to_string(),
                    user,
                }),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Held>> {
        // Whole after every line that changes it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them, or what is wrong with those that aren't given.
///
/// # Errors
/// A sentence that names each.
pub(crate) fn all_or_none(given: Given) -> Result<Vec<(String, SecretText)>, String> {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for (name, outcome) in given {
        match outcome {
            Ok(value) => all.push((name, value)),
            Err(refusal) => wrong.push(format!("secret `{name}`: {refusal}")),
        }
    }
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(wrong.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use danube_model::{Kind, State};
    use danube_signals::{BuildInfo, Limits};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_secret_is_told_all_that_is_wrong_and_never_its_value() {
        for (name, pipeline, body, pointers) in [
            ("a", None, json!({"value": "hunter2"}), &["/value"][..]),
            (
                "a",
                None,
                json!({"valeu": "hunter2-hunter2"}),
                &["/value", "/valeu"],
            ),
            (
                "-a",
                Some("-p"),
                json!({"value": 7}),
                &["/name", "/pipeline", "/value"],
            ),
            (
                "a",
                None,
                json!({"value": "hunter2\u{0}hunter2"}),
                &["/value"],
            ),
            (
                "hunter2-hunter2",
                None,
                json!({"value": "hunter2-hunter2"}),
                &["/name"],
            ),
            ("a", None, json!(["hunter2"]), &[""]),
        ] {
            let mistakes = check(&body, name.to_owned(), pipeline.map(str::to_owned)).unwrap_err();
            let found: Vec<&str> = mistakes.iter().map(|it| it.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{body}");
            let texts: String = mistakes.iter().map(|it| it.message.as_str()).collect();
            assert!(!texts.contains("hunter2"), "{texts}");
        }
        assert!(check(&json!({"value": "hunter2-hunter2"}), "a".into(), None).is_ok());
    }

    #[test]
    fn what_a_job_was_given_goes_with_its_lease_and_no_other_attempt_gets_it() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        let vault = Vault::new(signals);
        let job = JobId::new();
        let attempt = |fence| Attempt {
            job,
            fence,
            number: 1,
        };
        let moved = |to| Moved {
            job,
            pipeline: "p".to_owned(),
            kind: Kind::Pipeline,
            queue: "default".to_owned(),
            from: None,
            to,
        };
        let found = vec![("a".to_owned(), Ok(SecretText::new("value".to_owned())))];
        let names = ["a".to_owned()];
        let keep = |fence| vault.keep(attempt(fence), ("p", "me"), &found);
        let kept = |fence| vault.kept(attempt(fence), &names).len();
        keep(1);
        assert_eq!(kept(1), 0, "nobody holds the job");
        vault.moved(&moved(State::Scheduling));
        keep(1);
        vault.moved(&moved(State::Running));
        assert_eq!((kept(1), kept(2)), (1, 0));
        vault.deleted("a");
        assert_eq!(kept(1), 0);
        keep(1);
        vault.moved(&moved(State::Success));
        assert_eq!(kept(1), 0);
        assert!(vault.lock().is_empty());
    }
}
