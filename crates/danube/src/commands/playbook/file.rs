//! Reads files that are written for Ansible, as Ansible reads them.

use std::path::Path;

use danube_model::Mistakes;
use danube_model::spec::Node;
use serde_json::{Map, Value};

use crate::commands::work;
use crate::exit::Exit;
use crate::failure::Failure;

/// What a file begins with that is sealed as a whole.
const SEALED: &str = "$ANSIBLE_VAULT;";

/// A file's text; `option` is what named it.
pub(super) fn text(path: &Path, option: &str) -> Result<String, Failure> {
    let name = path.display();
    let text = work::read_file(path)
        .map_err(|why| Failure::usage(format!("{option}: read {name}: {why}")))?;
    if text.starts_with(SEALED) {
        let why = format!("{option}: {name} is sealed with ansible-vault as a whole");
        return Err(Failure::usage(why).hint(
            "seal its values one by one (`ansible-vault encrypt_string`), or put it into the source",
        ));
    }
    Ok(text)
}

/// A text as YAML or JSON; `name` says whose it is.
pub(super) fn parse(text: &str, name: &str) -> Result<Value, Failure> {
    // Ansible tries JSON first, where numbers are those of JSON.
    if let Ok(json) = serde_json::from_str(text) {
        return Ok(json);
    }
    let node = Node::parse_for_ansible(text).map_err(|mistake| {
        // Without the text: it may hold secrets.
        let mistakes = Mistakes {
            list: vec![mistake],
            source: None,
        };
        Failure::mistakes(Exit::Usage, format!("read {name}"), vec![mistakes])
    })?;
    let json = node.to_json().map(merged);
    json.ok_or_else(|| {
        let why = "holds a key that is no text or stands twice, or a number that isn't finite";
        Failure::usage(format!("{name} {why}"))
    })
}

/// The map that a text is.
pub(super) fn map(value: &Value, name: &str, wanted: &str) -> Result<Map<String, Value>, Failure> {
    match value {
        Value::Object(map) => Ok(map.clone()),
        _ => Err(Failure::usage(format!("{name} must be {wanted}"))),
    }
}

/// The variables in a file; one that holds nothing has none.
pub(super) fn variables(path: &Path, option: &str) -> Result<Map<String, Value>, Failure> {
    let name = format!("{option}: {}", path.display());
    let value = match text(path, option)? {
        text if text.trim().is_empty() => return Ok(Map::new()),
        text => parse(&text, &name)?,
    };
    if value.is_null() {
        return Ok(Map::new());
    }
    map(&value, &name, "a map of variables")
}

/// The same with the keys `<<` resolved: what stands beside one wins over what it brings.
fn merged(value: Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.into_iter().map(merged).collect()),
        Value::Object(mut map) => {
            let mut all = Map::new();
            match map.remove("<<") {
                Some(Value::Object(more)) => all.extend(more),
                // Of several the first counts.
                Some(Value::Array(list)) => {
                    for more in list.into_iter().rev() {
                        if let Value::Object(more) = more {
                            all.extend(more);
                        }
                    }
                }
                Some(_) | None => {}
            }
            all.extend(map);
            let all = all.into_iter().map(|(key, it)| (key, merged(it)));
            Value::Object(all.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_what_ansible_would_read() {
        let text = "base: &base {a: 1, b: no}\nmore:\n  <<: *base\n  a: 2\n";
        let expected = json!({"base": {"a": 1, "b": false}, "more": {"a": 2, "b": false}});
        assert_eq!(parse(text, "f").unwrap(), expected);
        let json = parse("{\"a\": 1e3, \"b\": \"no\"}", "f").unwrap();
        assert_eq!(json, json!({"a": 1_000.0, "b": "no"}));
        assert!(parse("a: [", "f").is_err());
        assert!(parse("1: a", "f").is_err());
    }
}
