//! How the jobs of a pipeline wait for their turn: how many run and wait at once, which newer
//! ones take the place of older ones, and whose share of the workers they take.

use serde::{Deserialize, Serialize};

use super::{Fields, Value};
use crate::limits::{CONCURRENCY_MAX, PENDING_MAX};

/// The rules of one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queueing {
    /// How many of its jobs run at once, on all workers together; none for any number.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// How many of its jobs may wait; none for as many as the server lets wait.
    #[serde(default)]
    pub max_pending: Option<u32>,
    /// What a newer job for the same ref cancels.
    #[serde(default)]
    pub cancel_superseded: Superseded,
    /// The team whose share of the workers its jobs take. Only a blueprint says so: whoever
    /// could name any team could take the share of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
}

/// Which older jobs a newer one for the same ref cancels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Superseded {
    /// `false`: none.
    #[default]
    None,
    /// `pending`: those that wait.
    Pending,
    /// `true`: also those that run.
    All,
}

/// As it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Flag(bool),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Pending,
}

impl From<Written> for Superseded {
    fn from(written: Written) -> Self {
        match written {
            Written::Flag(false) => Self::None,
            Written::Flag(true) => Self::All,
            Written::Word(Word::Pending) => Self::Pending,
        }
    }
}

impl From<Superseded> for Written {
    fn from(superseded: Superseded) -> Self {
        match superseded {
            Superseded::None => Self::Flag(false),
            Superseded::All => Self::Flag(true),
            Superseded::Pending => Self::Word(Word::Pending),
        }
    }
}

/// Takes what a pipeline says of it.
pub(super) fn take(fields: &mut Fields<'_>) -> Queueing {
    let small = |it: u64| u32::try_from(it).unwrap_or(u32::MAX);
    let concurrency = fields.take_count("concurrency", u64::from(CONCURRENCY_MAX));
    let max_pending = fields.take_count("max_pending", u64::from(PENDING_MAX));
    Queueing {
        concurrency: concurrency.map(small),
        max_pending: max_pending.map(small),
        cancel_superseded: superseded(fields),
        team: None,
    }
}

fn superseded(fields: &mut Fields<'_>) -> Superseded {
    const NAME: &str = "cancel_superseded";
    let Some(node) = fields.take(NAME) else {
        return Superseded::None;
    };
    match &node.value {
        Value::Bool(false) => Superseded::None,
        Value::Bool(true) => Superseded::All,
        Value::Text(text) if text == "pending" => Superseded::Pending,
        _ => {
            let why = "must be `true`, `false` or `pending` (only jobs that haven't begun)";
            fields.refuse(NAME, node.at, why);
            Superseded::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Node, read_request};

    fn check(text: &str, expected: Result<Queueing, &[&str]>) {
        let text = format!("{{name: p, steps: [{{name: a, run: x}}], {text}}}");
        let mut mistakes = Vec::new();
        let node = Node::parse(&text).unwrap();
        let read = read_request(node, "/spec", &mut mistakes);
        match expected {
            Ok(queueing) => {
                let pipeline = read.expect("no mistake");
                assert_eq!(pipeline.queueing, queueing, "{text}");
                // As a command line sends it on.
                let json = serde_json::to_value(&pipeline).unwrap();
                let again = read_request(Node::from_json(&json).unwrap(), "", &mut mistakes);
                assert_eq!((again, mistakes), (Some(pipeline), vec![]));
            }
            Err(pointers) => {
                let found: Vec<&str> = mistakes.iter().map(|it| &*it.pointer).collect();
                assert_eq!(found, pointers, "{text}");
            }
        }
    }

    #[test]
    fn a_pipeline_says_how_its_jobs_wait() {
        check("env: {}", Ok(Queueing::default()));
        let all = Queueing {
            concurrency: Some(1),
            max_pending: Some(20),
            cancel_superseded: Superseded::All,
            team: None,
        };
        check(
            "concurrency: 1, max_pending: 20, cancel_superseded: true",
            Ok(all),
        );
        let pending = Queueing {
            cancel_superseded: Superseded::Pending,
            ..Queueing::default()
        };
        check("cancel_superseded: pending", Ok(pending));
        check("cancel_superseded: false", Ok(Queueing::default()));
    }

    #[test]
    fn nonsense_is_refused_whole() {
        check(
            "concurrency: 0, max_pending: -1, cancel_superseded: running, team: core",
            Err(&[
                "/spec/concurrency",
                "/spec/max_pending",
                "/spec/cancel_superseded",
                "/spec/team",
            ]),
        );
    }
}
