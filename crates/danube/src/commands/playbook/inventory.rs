//! The hosts of a playbook: named on the command line, in a file here, or where its source is.

use std::path::Path;

use clap::ArgMatches;
use danube_model::playbook::Inventory;
use serde_json::{Map, Value, json};

use super::{asked, file, ini};
use crate::failure::Failure;

/// How an inventory of another form becomes one of ours.
const OTHER_FORMS: &str =
    "`ansible-inventory -i FILE --list --yaml --output hosts.yml` writes any inventory as YAML";

/// The hosts in a list, as Ansible knows one by its comma.
fn listed(text: &str) -> Option<Value> {
    let is_list = text.contains(',') && !text.starts_with('@');
    let hosts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    is_list.then(|| json!({"type": "inline", "hosts": hosts.collect::<Vec<_>>()}))
}

/// The inventory of a run right here: Ansible itself reads a file or directory.
pub(super) fn here(text: &str) -> Result<Inventory, Failure> {
    if let Some(list) = listed(text) {
        return super::run::checked(&list, "/inventory", Inventory::read);
    }
    if !Path::new(text).exists() {
        let why = format!("--inventory {}: there is no such file", text.escape_debug());
        return Err(Failure::usage(why));
    }
    Ok(Inventory::Source {
        path: text.to_owned(),
    })
}

/// The `inventory` of a job for a server. `is_inline`: its source is a file from here, so
/// that the inventory can only be one, too.
pub(super) fn sent(matches: &ArgMatches, is_inline: bool) -> Result<Value, Failure> {
    let text = matches.get_one::<String>("inventory");
    let text = text.expect("clap requires it").as_str();
    if let Some(repo) = matches.get_one::<String>("inventory-repo") {
        let git_ref = matches.get_one::<String>("inventory-ref");
        let git = json!({"type": "git", "repo": repo, "ref": git_ref, "path": text});
        return Ok(Value::Object(asked::without_nulls(git)));
    }
    if let Some(list) = listed(text) {
        return Ok(list);
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        let sha256 = matches.get_one::<String>("inventory-sha256");
        let url = json!({"type": "url", "url": text, "sha256": sha256});
        return Ok(Value::Object(asked::without_nulls(url)));
    }
    match text.strip_prefix('@') {
        Some(path) => in_file(Path::new(path)),
        None if is_inline => in_file(Path::new(text)),
        None => Ok(json!({"type": "source", "path": text})),
    }
}

/// A file from here, which goes along in the request.
fn in_file(path: &Path) -> Result<Value, Failure> {
    let name = format!("--inventory: {}", path.display());
    if path.is_dir() {
        let why = format!("{name} is a directory");
        return Err(Failure::usage(why).hint(OTHER_FORMS));
    }
    let text = file::text(path, "--inventory")?;
    if text.starts_with("#!") {
        let why = format!("{name} is a program");
        return Err(Failure::usage(why).hint(OTHER_FORMS));
    }
    let groups = groups_in(&text, &name, path)?;
    let mut inline = Inline::default();
    for (group, body) in &groups {
        inline.add(group, body).map_err(|group| {
            let why = format!(
                "{name}: group `{}` isn't a map of `hosts`, `vars` and `children`",
                group.escape_debug()
            );
            Failure::usage(why).hint(OTHER_FORMS)
        })?;
    }
    Ok(json!({"type": "inline", "hosts": inline.hosts, "groups": inline.groups}))
}

/// The groups in a file. One that Ansible reads as YAML or JSON, by its name, is nothing else;
/// any other may be, too.
fn groups_in(text: &str, name: &str, path: &Path) -> Result<Map<String, Value>, Failure> {
    let extension = path.extension().and_then(|it| it.to_str());
    let is_yaml = matches!(extension, Some("yml" | "yaml" | "json"));
    match file::parse(text, name) {
        Ok(Value::Object(groups)) if is_yaml || are_groups(&groups) => return Ok(groups),
        Err(failure) if is_yaml => return Err(failure),
        Ok(_) if is_yaml => {
            let why = format!("{name} must be a map of groups");
            return Err(Failure::usage(why));
        }
        Ok(_) | Err(_) => {}
    }
    ini::parse(text).map_err(|wrong| {
        let why = format!("{name}, line {} {}", wrong.line, wrong.why);
        Failure::usage(why).hint(OTHER_FORMS)
    })
}

/// Whether these may be groups: `web1 note="a: b"` is a map, too.
fn are_groups(groups: &Map<String, Value>) -> bool {
    groups.values().all(|it| map_of(it).is_some())
}

/// Groups in each other, as Ansible writes them, side by side as a request has them.
#[derive(Default)]
struct Inline {
    hosts: Map<String, Value>,
    groups: Map<String, Value>,
}

impl Inline {
    /// Takes a group in; which group isn't one, otherwise.
    fn add(&mut self, name: &str, body: &Value) -> Result<(), String> {
        let fields = map_of(body).ok_or(name)?;
        let (mut hosts, mut vars, mut children) = (Map::new(), Map::new(), Vec::new());
        for (field, value) in fields {
            let value = map_of(&value).ok_or(name)?;
            match field.as_str() {
                "hosts" => hosts = value,
                "vars" => vars = value,
                "children" => children.extend(value),
                _ => return Err(name.to_owned()),
            }
        }
        for (child, body) in &children {
            self.add(child, body)?;
        }
        // Every host is in `all`, and `ungrouped` is what is in nothing else.
        if matches!(name, "all" | "ungrouped") {
            merge(&mut self.hosts, hosts);
            hosts = Map::new();
            children.clear();
        }
        if hosts.is_empty() && vars.is_empty() && name == "ungrouped" {
            return Ok(());
        }
        let group = self.groups.entry(name).or_insert_with(|| json!({}));
        let names = children.into_iter().map(|(name, _)| name);
        let parts = [
            ("hosts", Value::Object(hosts)),
            ("vars", Value::Object(vars)),
            ("children", names.map(Value::from).collect()),
        ];
        for (part, value) in parts {
            match (&mut group[part], value) {
                (Value::Object(have), Value::Object(more)) => merge(have, more),
                (Value::Array(have), Value::Array(more)) => {
                    let new: Vec<Value> =
                        more.into_iter().filter(|it| !have.contains(it)).collect();
                    have.extend(new);
                }
                (have, more) => *have = more,
            }
        }
        Ok(())
    }
}

/// A map, or nothing, which counts as an empty one.
fn map_of(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::Null => Some(Map::new()),
        _ => None,
    }
}

/// A host may stand in several places, each with some of its variables.
fn merge(have: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (have.get_mut(&name), value) {
            (Some(Value::Object(have)), Value::Object(more)) => have.extend(more),
            (Some(_), Value::Null) => {}
            (_, value) => drop(have.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Value, Value), String> {
        let Value::Object(groups) = file::parse(text, "f").unwrap() else {
            panic!("a map");
        };
        let mut inline = Inline::default();
        for (name, body) in &groups {
            inline.add(name, body)?;
        }
        Ok((inline.hosts.into(), inline.groups.into()))
    }

    #[test]
    fn groups_in_each_other_come_to_stand_side_by_side() {
        let text = "all:\n  hosts: {bastion: }\n  vars: {x: yes}\n  children:\n    ungrouped: {hosts: {lone: {a: 1}}}\n    \
            web:\n      hosts: {w1: {ansible_port: 22}, w2: }\n      children: {edge: {hosts: {w1: }}}\n\
            web:\n  vars: {y: 2}\n  hosts: {w1: {b: 3}}\n";
        let (hosts, groups) = read(text).unwrap();
        assert_eq!(hosts, json!({"bastion": null, "lone": {"a": 1}}));
        let expected = json!({
            "all": {"hosts": {}, "vars": {"x": true}, "children": []},
            "edge": {"hosts": {"w1": null}, "vars": {}, "children": []},
            "web": {"hosts": {"w1": {"ansible_port": 22, "b": 3}, "w2": null}, "vars": {"y": 2}, "children": ["edge"]},
        });
        assert_eq!(groups, expected);
        // It is what a server takes.
        let inline = json!({"type": "inline", "hosts": hosts, "groups": groups});
        let node = danube_model::spec::Node::from_json(&inline).unwrap();
        let mut mistakes = Vec::new();
        assert!(
            Inventory::read(node, "/inventory", &mut mistakes).is_some(),
            "{mistakes:?}"
        );
    }

    #[test]
    fn what_is_no_group_is_named() {
        assert_eq!(read("web: [a, b]\n").err().as_deref(), Some("web"));
        assert_eq!(
            read("all: {children: {db: {host: {a: }}}}\n")
                .err()
                .as_deref(),
            Some("db")
        );
    }

    #[test]
    fn a_comma_makes_a_list() {
        assert_eq!(listed("web1,").unwrap()["hosts"], json!(["web1"]));
        assert_eq!(listed(" a , b").unwrap()["hosts"], json!(["a", "b"]));
        assert_eq!(listed("hosts"), None);
        assert_eq!(listed("@a,b"), None);
    }
}
