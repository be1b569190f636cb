//! `extra_vars`: JSON values under names that Ansible takes. Values may be secrets, so
//! none is ever shown.

use serde_json::{Map, Value as Json};

use super::source::read::json;
use crate::mistake::Mistake;
use crate::spec::{Node, Value, is_variable_name};

/// Bytes of all `extra_vars` as JSON: what people write, not what they ship files with.
pub const EXTRA_VARS_BYTES_MAX: usize = 256 * 1024;

/// Reads a map of variables.
pub(super) fn read(
    node: Node,
    pointer: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<Map<String, Json>> {
    let mut refuse = |pointer: String, message: String| {
        mistakes.push(Mistake {
            code: "extra_vars.form",
            pointer,
            at: node.at,
            message,
            help: None,
        });
    };
    let Value::Map(entries) = node.value else {
        refuse(pointer.to_owned(), "must be a map of variables".to_owned());
        return None;
    };
    let mut all = Map::new();
    for (key, value) in entries {
        match key.value {
            Value::Text(name) if is_variable_name(&name) => match json(&value) {
                Some(value) => drop(all.insert(name, value)),
                None => {
                    let why = format!("`{name}` holds a number that isn't finite");
                    refuse(pointer.to_owned(), why);
                }
            },
            Value::Text(name) => {
                let shown: String = name.chars().take(64).collect();
                let why = format!("`{}` can't be the name of a variable", shown.escape_debug());
                refuse(pointer.to_owned(), why);
            }
            _ => refuse(pointer.to_owned(), "must have text as keys".to_owned()),
        }
    }
    let bytes = serde_json::to_vec(&all).map_or(usize::MAX, |it| it.len());
    if bytes > EXTRA_VARS_BYTES_MAX {
        let why = format!("takes {bytes} bytes; at most {EXTRA_VARS_BYTES_MAX} are allowed");
        refuse(pointer.to_owned(), why);
        return None;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_all_kinds_come_through_as_they_were() {
        let given = json!({"a": 1, "b": [true, null, 1.5], "c": {"x-y": "{{ z }}"}});
        let mut mistakes = Vec::new();
        let found = read(
            Node::from_json(&given).unwrap(),
            "/extra_vars",
            &mut mistakes,
        );
        assert_eq!(mistakes, []);
        assert_eq!(Json::Object(found.unwrap()), given);
    }

    #[test]
    fn names_that_ansible_would_not_take_are_refused_without_their_values() {
        let given = json!({"a-b": "hush-hush", "1x": "hush-hush", "ok": 1});
        let mut mistakes = Vec::new();
        let _ = read(
            Node::from_json(&given).unwrap(),
            "/extra_vars",
            &mut mistakes,
        );
        assert_eq!(mistakes.len(), 2);
        assert!(!format!("{mistakes:?}").contains("hush"));
    }
}
