//! How Ansible is called: the options of a playbook job.

use serde::{Deserialize, Serialize};

use crate::limits::DURATION_SECONDS_MAX;
use crate::mistake::Mistake;
use crate::spec::{Fields, Node, Value};

/// Tags of one list: they stand on a command line together.
const TAGS_MAX: usize = 100;

/// Bytes of a tag.
const TAG_BYTES_MAX: usize = 100;

/// Bytes of a pattern of hosts: it is one argument.
const LIMIT_BYTES_MAX: usize = 1_024;

/// Hosts at once: each is a process of some 60 MiB.
const FORKS_MAX: u64 = 500;

/// `-vvvv`; Ansible knows two levels more, which say nothing about a playbook.
const VERBOSITY_MAX: u64 = 4;

/// The options of a run; what isn't given is as Ansible has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Only what has one of these tags.
    pub tags: Vec<String>,
    /// Not what has one of these.
    pub skip_tags: Vec<String>,
    /// Only hosts that fit this pattern.
    pub limit: Option<String>,
    /// Change nothing; say what would change.
    pub check: bool,
    /// Show what changes in files.
    pub diff: bool,
    /// As many `v`.
    pub verbosity: u8,
    /// Hosts at once.
    pub forks: Option<u32>,
    /// Seconds that the whole job may take.
    pub timeout_seconds: Option<u64>,
}

impl Options {
    /// Reads `options` of a submit. None when something is wrong; every mistake is noted.
    pub fn read(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let before = mistakes.len();
        let mut fields = Fields::open(node, pointer, mistakes)?;
        let options = Self {
            tags: tags(&mut fields, "tags"),
            skip_tags: tags(&mut fields, "skip_tags"),
            limit: fields.take_checked("limit", wrong_limit),
            check: fields.take_bool("check").unwrap_or(false),
            diff: fields.take_bool("diff").unwrap_or(false),
            verbosity: verbosity(&mut fields),
            forks: fields
                .take_count("forks", FORKS_MAX)
                .and_then(|it| u32::try_from(it).ok()),
            timeout_seconds: fields.take_count("timeout_seconds", DURATION_SECONDS_MAX),
        };
        fields.end();
        (mistakes.len() == before).then_some(options)
    }
}

/// A list of tags, or one text with commas between them, as `--tags` takes it.
fn tags(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    let Some(node) = fields.take(name) else {
        return Vec::new();
    };
    let texts: Option<Vec<String>> = match node.value {
        Value::Text(text) => Some(text.split(',').map(|it| it.trim().to_owned()).collect()),
        Value::List(list) => list.into_iter().map(text_of).collect(),
        _ => None,
    };
    let Some(texts) = texts else {
        fields.refuse(name, node.at, "must be a list of texts");
        return Vec::new();
    };
    if texts.len() > TAGS_MAX {
        let why = format!("has {} tags; at most {TAGS_MAX} are allowed", texts.len());
        fields.refuse(name, node.at, &why);
        return Vec::new();
    }
    if let Some(wrong) = texts.iter().find(|it| !is_tag(it)) {
        let shown: String = wrong.chars().take(TAG_BYTES_MAX).collect();
        let why = format!(
            "holds `{}`; a tag is 1 to {TAG_BYTES_MAX} letters, digits and `_-.:/`, not beginning with `-`",
            shown.escape_debug()
        );
        fields.refuse(name, node.at, &why);
        return Vec::new();
    }
    texts
}

fn text_of(node: Node) -> Option<String> {
    match node.value {
        Value::Text(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether `text` can be a tag: no comma, for they are joined by commas.
fn is_tag(text: &str) -> bool {
    let fits = |it: char| it.is_alphanumeric() || "_-.:/".contains(it);
    !text.is_empty()
        && text.len() <= TAG_BYTES_MAX
        && !text.starts_with('-')
        && text.chars().all(fits)
}

/// Why `text` can't be a pattern of hosts.
fn wrong_limit(text: &str) -> Option<&'static str> {
    let fits = !text.trim().is_empty()
        && text.len() <= LIMIT_BYTES_MAX
        && !text.chars().any(char::is_control);
    if !fits {
        return Some("must be a pattern of hosts of at most 1024 bytes on one line");
    }
    if text.starts_with('-') {
        return Some("must not begin with `-`");
    }
    text.contains('@')
        .then_some("must not hold `@`, which would read a file")
}

fn verbosity(fields: &mut Fields<'_>) -> u8 {
    let Some(node) = fields.take("verbosity") else {
        return 0;
    };
    match node.value {
        Value::Integer(it @ 0..=4) => u8::try_from(it).unwrap_or(0),
        _ => {
            let why = format!("must be a whole number from 0 to {VERBOSITY_MAX}");
            fields.refuse("verbosity", node.at, &why);
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &serde_json::Value) -> (Option<Options>, Vec<String>) {
        let mut mistakes = Vec::new();
        let node = Node::from_json(value).unwrap();
        let options = Options::read(node, "/options", &mut mistakes);
        let pointers = mistakes.into_iter().map(|it| it.pointer);
        (options, pointers.collect())
    }

    #[test]
    fn tags_come_as_a_list_or_with_commas() {
        let (one, _) = read(&json!({"tags": ["a", "b:c"], "skip_tags": "x, y"}));
        let one = one.unwrap();
        assert_eq!(
            (one.tags, one.skip_tags),
            (
                vec!["a".to_owned(), "b:c".to_owned()],
                vec!["x".to_owned(), "y".to_owned()],
            )
        );
        let (whole, mistakes) = read(&json!({"limit": "web:!web1", "check": true, "diff": true,
            "verbosity": 3, "forks": 20, "timeout_seconds": 60}));
        assert_eq!(mistakes, [] as [&str; 0]);
        let whole = whole.unwrap();
        assert_eq!((whole.verbosity, whole.forks), (3, Some(20)));
        assert_eq!(read(&json!({})).0, Some(Options::default()));
    }

    #[test]
    fn nothing_gets_through_that_ansible_would_read_as_something_else() {
        for (value, pointer) in [
            (json!({"tags": ["--check"]}), "/options/tags"),
            (json!({"tags": ["a,b"]}), "/options/tags"),
            (json!({"skip_tags": {"a": 1}}), "/options/skip_tags"),
            (json!({"limit": "@/etc/passwd"}), "/options/limit"),
            (json!({"limit": "web,@/etc/passwd"}), "/options/limit"),
            (json!({"limit": "a:&@/etc/passwd"}), "/options/limit"),
            (json!({"limit": "--check"}), "/options/limit"),
            (json!({"limit": "a\nb"}), "/options/limit"),
            (json!({"verbosity": 5}), "/options/verbosity"),
            (json!({"forks": 0}), "/options/forks"),
            (json!({"timeout_seconds": -1}), "/options/timeout_seconds"),
            (json!({"extra": 1}), "/options/extra"),
        ] {
            let (options, pointers) = read(&value);
            assert_eq!(
                (options, pointers),
                (None, vec![pointer.to_owned()]),
                "{value}"
            );
        }
    }
}
