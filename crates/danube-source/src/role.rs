//! The playbook that applies a role.

use serde_json::{Map, Value, json};

/// Writes it as JSON, which is YAML: nothing in a value can be read as more.
pub(crate) fn playbook(name: &str, hosts: &str, vars: &Map<String, Value>) -> String {
    let mut role = Map::new();
    role.insert("role".to_owned(), json!(name));
    if !vars.is_empty() {
        role.insert("vars".to_owned(), Value::Object(vars.clone()));
    }
    let plays = json!([{"name": format!("apply {name}"), "hosts": hosts, "roles": [role]}]);
    format!("{plays:#}\n")
}
