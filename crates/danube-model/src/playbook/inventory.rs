//! stub
use serde::{Deserialize, Serialize};

use crate::mistake::Mistake;
use crate::spec::{Node, Value};
/// stub
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Inventory {
    /// stub
    Inline(Inline),
    /// stub
    Source {
        /// stub
        path: String,
    },
    /// stub
    Git {
        /// stub
        repo: String,
        /// stub
        #[serde(rename = "ref")]
        git_ref: Option<String>,
        /// stub
        path: String,
    },
    /// stub
    Url {
        /// stub
        url: String,
        /// stub
        sha256: Option<String>,
    },
}
/// stub
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Inline {
    /// stub
    hosts: Vec<String>,
}
impl Inline {
    /// stub
    pub fn to_json(&self) -> String {
        let hosts: serde_json::Map<String, serde_json::Value> = self
            .hosts
            .iter()
            .map(|it| {
                (
                    it.clone(),
                    serde_json::json!({"ansible_connection": "local"}),
                )
            })
            .collect();
        serde_json::json!({"all": {"hosts": hosts}}).to_string()
    }
}
impl Inventory {
    /// stub
    pub fn read(node: Node, _pointer: &str, _mistakes: &mut Vec<Mistake>) -> Option<Self> {
        fn json(node: Node) -> serde_json::Value {
            match node.value {
                Value::Text(it) => it.into(),
                Value::List(list) => list.into_iter().map(json).collect(),
                Value::Map(entries) => entries
                    .into_iter()
                    .filter_map(|(key, value)| match key.value {
                        Value::Text(name) => Some((name, json(value))),
                        _ => None,
                    })
                    .collect::<serde_json::Map<_, _>>()
                    .into(),
                _ => serde_json::Value::Null,
            }
        }
        serde_json::from_value(json(node)).ok()
    }
}
