//! On which hosts a playbook runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
// tidy: allow(model-io): a value, as text is; nothing is connected
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::source::read::{require, text};
use super::source::rules::{is_plain_http, wrong_hex, wrong_path, wrong_repository, wrong_url};
use super::source::without_secrets;
use super::{HOSTS_MAX, variables};
use crate::mistake::Mistake;
use crate::spec::{Fields, Node, Value};

/// Groups of an inline inventory.
const GROUPS_MAX: usize = 1_000;

/// Bytes of the name of a host or a group: DNS allows 253.
const HOST_BYTES_MAX: usize = 253;

/// An inventory.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Inventory {
    /// It came with the request.
    Inline(Inline),
    /// A file or directory in the source.
    Source {
        /// Its path there.
        path: String,
    },
    /// A file in a git repository of its own.
    Git {
        /// The repository's address, as `git` takes it.
        repo: String,
        /// The branch, tag or commit; none for the repository's own.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        git_ref: Option<String>,
        /// Its path there.
        path: String,
    },
    /// A file behind a URL.
    Url {
        /// Its address.
        url: String,
        /// Its SHA-256 in lower-case hex. Always there for `http`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
}

/// Variables of a host or a group. May be secrets.
type Variables = Map<String, Json>;

/// Hosts and groups.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inline {
    hosts: BTreeMap<String, Variables>,
    groups: BTreeMap<String, Group>,
}

/// A group of hosts.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Group {
    hosts: BTreeMap<String, Variables>,
    vars: Variables,
    children: BTreeSet<String>,
}

impl Inventory {
    /// Reads `inventory` of a submit. None when something is wrong; every mistake is noted.
    pub fn read(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        #[derive(Clone, Copy)]
        enum Type {
            Inline,
            Source,
            Git,
            Url,
        }
        const TYPES: [(&str, Type); 4] = [
            ("inline", Type::Inline),
            ("source", Type::Source),
            ("git", Type::Git),
            ("url", Type::Url),
        ];
        let before = mistakes.len();
        let mut fields = Fields::open(node, pointer, mistakes)?;
        let kind = require(&mut fields, "type", |fields, name| {
            fields.take_word(name, &TYPES)
        });
        // Which other fields belong here is known only with the type.
        let inventory = match kind? {
            Type::Inline => Inline::read(&mut fields).map(Self::Inline),
            Type::Source => text(&mut fields, "path", wrong_path).map(|path| Self::Source { path }),
            Type::Git => {
                let repo = text(&mut fields, "repo", wrong_repository);
                let git_ref = fields.take_ref("ref");
                let path = text(&mut fields, "path", wrong_path);
                repo.zip(path).map(|(repo, path)| Self::Git {
                    repo,
                    git_ref,
                    path,
                })
            }
            Type::Url => address(&mut fields),
        };
        fields.end();
        inventory.filter(|_| mistakes.len() == before)
    }

    /// What it is, without anything that could be secret.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Inline(it) => format!("{} hosts in the request", it.count()),
            Self::Source { path } => format!("{path} in the source"),
            Self::Git { repo, path, .. } => format!("{path} in {}", without_secrets(repo)),
            Self::Url { url, .. } => without_secrets(url),
        }
    }
}

/// Only what may be shown.
impl fmt::Debug for Inventory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Inventory({})", self.shown())
    }
}

/// A file behind a URL: what comes over plain `http` could be anybody's.
fn address(fields: &mut Fields<'_>) -> Option<Inventory> {
    let url = text(fields, "url", wrong_url);
    let sha256 = fields.take_checked("sha256", |text| wrong_hex(text, 64));
    let sha256 = sha256.map(|it| it.to_ascii_lowercase());
    let url = url?;
    if is_plain_http(&url) && sha256.is_none() {
        fields.refuse("sha256", None, "must be given for an address with http://");
    }
    Some(Inventory::Url { url, sha256 })
}

impl Inline {
    /// How many hosts are named.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names().collect::<BTreeSet<_>>().len()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let of_groups = self.groups.values().flat_map(|it| it.hosts.keys());
        self.hosts.keys().chain(of_groups).map(String::as_str)
    }

    /// The text of a file that Ansible reads as an inventory: JSON, which is YAML.
    #[must_use]
    pub fn to_json(&self) -> String {
        let groups = self.groups.iter().filter(|(name, _)| *name != "all");
        let groups: Map<String, Json> = groups
            .map(|(name, group)| (name.clone(), group.to_json()))
            .collect();
        let mut all = self.groups.get("all").cloned().unwrap_or_default();
        all.hosts.extend(self.hosts.clone());
        let mut all = all.to_json();
        if let Json::Object(children) = &mut all["children"] {
            children.extend(groups);
        }
        json!({"all": all}).to_string()
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let hosts = hosts(fields);
        let groups = groups(fields);
        let inline = Self { hosts, groups };
        if inline.count() == 0 {
            fields.refuse("hosts", None, "or `groups` must name at least one host");
            return None;
        }
        if inline.count() > HOSTS_MAX {
            let why = format!("and `groups` name more than {HOSTS_MAX} hosts");
            fields.refuse("hosts", None, &why);
            return None;
        }
        if let Some(name) = inline.names().find(|it| inline.groups.contains_key(*it)) {
            let why = format!("and `hosts` both have `{name}`, of which Ansible would lose one");
            fields.refuse("groups", None, &why);
            return None;
        }
        if let Some(name) = inline.in_a_ring() {
            let why = format!("form a ring of children, of which `{name}` is one");
            fields.refuse("groups", None, &why);
            return None;
        }
        Some(inline)
    }

    /// A group that is among its own children's children.
    fn in_a_ring(&self) -> Option<&str> {
        // Groups that have no children left are taken away, until none has none.
        let mut left: BTreeMap<&str, BTreeSet<&str>> = self
            .groups
            .iter()
            .map(|(name, group)| (&**name, group.children.iter().map(|it| &**it).collect()))
            .collect();
        loop {
            let done: Vec<&str> = left
                .iter()
                .filter(|(_, children)| children.iter().all(|it| !left.contains_key(it)))
                .map(|(name, _)| *name)
                .collect();
            if done.is_empty() {
                return left.keys().next().copied();
            }
            for name in done {
                left.remove(name);
            }
        }
    }
}

impl Group {
    fn to_json(&self) -> Json {
        let none = |name: &String| (name.clone(), json!({}));
        let children: Map<String, Json> = self.children.iter().map(none).collect();
        json!({"hosts": self.hosts, "vars": self.vars, "children": children})
    }
}

/// A list of hosts, or a map of them with their variables.
fn hosts(fields: &mut Fields<'_>) -> BTreeMap<String, Variables> {
    let Some(node) = fields.take("hosts") else {
        return BTreeMap::new();
    };
    let at = node.at;
    let pointer = fields.below("hosts");
    let entries: Vec<(Node, Option<Node>)> = match node.value {
        Value::List(list) => list.into_iter().map(|it| (it, None)).collect(),
        Value::Map(entries) => entries.into_iter().map(|(k, v)| (k, Some(v))).collect(),
        _ => {
            fields.refuse("hosts", at, "must be a list of names, or a map of them");
            return BTreeMap::new();
        }
    };
    let mut hosts = BTreeMap::new();
    for (name, vars) in entries {
        let Some(name) = name_of(name).filter(|it| is_host(it)) else {
            let why = "holds what can't be a host: a name of letters, digits and `._-`, or an address, with or without `:port`; list hosts one by one, a range isn't taken";
            fields.refuse("hosts", at, why);
            continue;
        };
        let vars = vars.filter(|it| it.value != Value::Null);
        let vars = vars.and_then(|vars| {
            let pointer = format!("{pointer}/{name}");
            variables::read(vars, &pointer, fields.mistakes())
        });
        hosts.insert(name, vars.unwrap_or_default());
    }
    hosts
}

fn groups(fields: &mut Fields<'_>) -> BTreeMap<String, Group> {
    let Some(node) = fields.take("groups") else {
        return BTreeMap::new();
    };
    let at = node.at;
    let Value::Map(entries) = node.value else {
        fields.refuse("groups", at, "must be a map of groups");
        return BTreeMap::new();
    };
    if entries.len() > GROUPS_MAX {
        let why = format!(
            "has {} groups; at most {GROUPS_MAX} are allowed",
            entries.len()
        );
        fields.refuse("groups", at, &why);
        return BTreeMap::new();
    }
    let pointer = fields.below("groups");
    let mut groups = BTreeMap::new();
    for (name, group) in entries {
        let Some(name) = name_of(name).filter(|it| is_group(it)) else {
            let why = "holds what can't be a group's name: letters, digits and `_`, not beginning with a digit";
            fields.refuse("groups", at, why);
            continue;
        };
        let pointer = format!("{pointer}/{name}");
        if let Some(group) = group_of(group, &pointer, fields.mistakes()) {
            groups.insert(name, group);
        }
    }
    let unknown = groups.values().flat_map(|it| &it.children);
    let unknown: Vec<String> = unknown
        .filter(|it| !groups.contains_key(*it))
        .map(|it| format!("`{it}`"))
        .collect();
    if !unknown.is_empty() {
        let why = format!(
            "have children that are no groups here: {}",
            unknown.join(", ")
        );
        fields.refuse("groups", at, &why);
    }
    groups
}

fn group_of(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Group> {
    if node.value == Value::Null {
        return Some(Group::default());
    }
    let mut fields = Fields::open(node, pointer, mistakes)?;
    let hosts = hosts(&mut fields);
    let vars = fields.take("vars").and_then(|node| {
        let pointer = fields.below("vars");
        variables::read(node, &pointer, fields.mistakes())
    });
    let names = fields.take_list("children").unwrap_or_default();
    let mut children = BTreeSet::new();
    for node in names {
        let at = node.at;
        match name_of(node).filter(|it| is_group(it) && it != "all") {
            Some(name) => drop(children.insert(name)),
            None => fields.refuse("children", at, "holds what can't be a group's name"),
        }
    }
    fields.end();
    Some(Group {
        hosts,
        vars: vars.unwrap_or_default(),
        children,
    })
}

fn name_of(node: Node) -> Option<String> {
    match node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// Whether `text` can be a host: a name or an address, with or without a port. No range:
/// Ansible would make a million hosts of one short text.
fn is_host(text: &str) -> bool {
    if text.len() > HOST_BYTES_MAX {
        return false;
    }
    if text.contains("::") || text.matches(':').count() > 1 {
        return text.parse::<Ipv6Addr>().is_ok();
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let fits = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    name.starts_with(|it: char| it.is_ascii_alphanumeric())
        && name.bytes().all(fits)
        && port.is_none_or(|it| it.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether `text` can be a group, as Ansible wants it.
fn is_group(text: &str) -> bool {
    text.len() <= HOST_BYTES_MAX && crate::spec::is_variable_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Json) -> (Option<Inventory>, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let node = Node::from_json(value).unwrap();
        let inventory = Inventory::read(node, "/inventory", &mut mistakes);
        (inventory, mistakes)
    }

    fn refused(value: &Json, pointers: &[&str]) {
        let (inventory, mistakes) = read(value);
        let found: Vec<&str> = mistakes.iter().map(|it| &*it.pointer).collect();
        assert_eq!(found, pointers, "{value}");
        assert_eq!(inventory, None);
        assert!(!format!("{mistakes:?}").contains("hush"), "{mistakes:?}");
    }

    #[test]
    fn an_inline_inventory_is_what_ansible_reads() {
        let value = json!({"type": "inline",
        "hosts": ["a", "::1"],
        "groups": {
            "web": {"hosts": {"b": {"ansible_port": 22}}, "vars": {"x": "{{ y }}"}},
            "site": {"children": ["web"]},
            "all": {"vars": {"z": 1}},
        }});
        let (inventory, mistakes) = read(&value);
        assert_eq!(mistakes, []);
        let Some(Inventory::Inline(inline)) = inventory else {
            panic!("it is one");
        };
        assert_eq!(inline.count(), 3);
        let text: Json = serde_json::from_str(&inline.to_json()).unwrap();
        let none = json!({"hosts": {}, "vars": {}, "children": {}});
        assert_eq!(text["all"]["hosts"], json!({"a": {}, "::1": {}}));
        assert_eq!(text["all"]["vars"], json!({"z": 1}));
        let groups = &text["all"]["children"];
        assert_eq!(groups["web"]["hosts"]["b"], json!({"ansible_port": 22}));
        assert_eq!(groups["web"]["vars"], json!({"x": "{{ y }}"}));
        assert_eq!(groups["site"]["children"], json!({"web": {}}));
        assert_eq!(groups["site"]["hosts"], none["hosts"]);
    }

    #[test]
    fn the_other_kinds_are_read_and_shown_without_secrets() {
        for (value, shown) in [
            (
                json!({"type": "source", "path": "inv/prod"}),
                "inv/prod in the source",
            ),
            (
                json!({"type": "git", "repo": "https://h/r.git", "ref": "v1", "path": "hosts"}),
                "hosts in https://h/r.git",
            ),
            (
                json!({"type": "url", "url": "https://h/inv?token=hush"}),
                "https://h/inv",
            ),
        ] {
            let (inventory, mistakes) = read(&value);
            assert_eq!(mistakes, []);
            let inventory = inventory.unwrap();
            assert_eq!(format!("{inventory:?}"), format!("Inventory({shown})"));
            let text = serde_json::to_string(&inventory).unwrap();
            assert_eq!(serde_json::from_str::<Inventory>(&text).unwrap(), inventory);
        }
    }

    #[test]
    fn every_mistake_is_told_and_no_value() {
        refused(&json!({"hosts": ["a"]}), &["/inventory/type"]);
        refused(&json!({"type": "inline"}), &["/inventory/hosts"]);
        refused(
            &json!({"type": "inline", "hosts": ["-a", "a b"]}),
            &["/inventory/hosts", "/inventory/hosts", "/inventory/hosts"],
        );
        for host in ["web[1:99999]", "[::1]", "h:x", "a:::b", "h:0", ".a"] {
            let value = json!({"type": "inline", "hosts": ["good", host]});
            refused(&value, &["/inventory/hosts"]);
        }
        refused(
            &json!({"type": "inline", "hosts": ["web"], "groups": {"web": {"hosts": ["b:2222"]}}}),
            &["/inventory/groups"],
        );
        refused(
            &json!({"type": "inline", "hosts": {"a": {"a-b": "hush"}}}),
            &["/inventory/hosts/a"],
        );
        refused(
            &json!({"type": "inline", "hosts": ["h"], "groups": {
                "1x": {}, "g": {"vars": ["hush"], "children": ["no"], "else": "hush"}}}),
            &[
                "/inventory/groups",
                "/inventory/groups/g/vars",
                "/inventory/groups/g/else",
                "/inventory/groups",
            ],
        );
        refused(
            &json!({"type": "inline", "hosts": ["h"], "groups": {
                "a": {"children": ["b"]}, "b": {"children": ["a"]}}}),
            &["/inventory/groups"],
        );
        refused(
            &json!({"type": "source", "path": "../x"}),
            &["/inventory/path"],
        );
        refused(
            &json!({"type": "url", "url": "http://h/x"}),
            &["/inventory/sha256"],
        );
        refused(
            &json!({"type": "url", "url": "https://u:hush@h/x"}),
            &["/inventory/url"],
        );
    }
}
