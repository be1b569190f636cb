//! Takes a map apart field by field and notes every mistake on the way.

use std::collections::BTreeMap;

use super::{Node, Value, is_git_ref};
use crate::limits::{FIELDS_MAX, NAME_BYTES_MAX, VARIABLE_BYTES_MAX, VARIABLES_MAX};
use crate::mistake::{Mistake, Position};

/// The fields of one map. Each `take_*` removes what it reads; [`Fields::end`]
/// refuses what is left.
pub struct Fields<'m> {
    pointer: String,
    at: Option<Position>,
    entries: Vec<(String, Option<Position>, Node)>,
    allowed: Vec<&'static str>,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'m> Fields<'m> {
    /// Opens `node`, which must be a map with texts as keys.
    pub fn open(node: Node, pointer: &str, mistakes: &'m mut Vec<Mistake>) -> Option<Self> {
        let kind = node.kind();
        let Value::Map(map) = node.value else {
            mistakes.push(wrong_type(pointer, node.at, "a map", kind));
            return None;
        };
        if map.len() > FIELDS_MAX {
            // Each field is compared with all before it.
            mistakes.push(Mistake {
                code: "field.too_many",
                pointer: pointer.to_owned(),
                at: node.at,
                message: format!("{} fields; at most {FIELDS_MAX} are allowed", map.len()),
                help: None,
            });
            return None;
        }
        let mut entries: Vec<(String, Option<Position>, Node)> = Vec::with_capacity(map.len());
        for (key, value) in map {
            let Some(name) = plain_text(&key) else {
                mistakes.push(wrong_type(pointer, key.at, "text as key", key.kind()));
                continue;
            };
            if entries.iter().any(|(other, ..)| *other == name) {
                mistakes.push(Mistake {
                    code: "field.twice",
                    pointer: below(pointer, &name),
                    at: key.at,
                    message: format!("`{name}` stands here twice"),
                    help: Some("keep one".into()),
                });
                continue;
            }
            entries.push((name, key.at, value));
        }
        Some(Self {
            pointer: pointer.to_owned(),
            at: node.at,
            entries,
            allowed: Vec::new(),
            mistakes,
        })
    }

    /// All that is left, as it was written.
    pub(super) fn into_entries(self) -> Vec<(String, Option<Position>, Node)> {
        self.entries
    }

    /// The list of mistakes, to note one more.
    pub fn mistakes(&mut self) -> &mut Vec<Mistake> {
        self.mistakes
    }

    /// Where the map stands.
    pub(crate) fn at(&self) -> Option<Position> {
        self.at
    }

    /// The pointer of a field of this map.
    #[must_use]
    pub fn below(&self, name: &str) -> String {
        below(&self.pointer, name)
    }

    /// Whether there is such a field, with something behind it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let mut all = self.entries.iter();
        all.any(|(it, _, node)| it == name && node.value != Value::Null)
    }

    /// Where the value of a field stands.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<Position> {
        let field = self.entries.iter().find(|(it, ..)| it == name)?;
        field.2.at
    }

    /// Removes a field as it was written.
    pub fn take(&mut self, name: &'static str) -> Option<Node> {
        self.allowed.push(name);
        let at = self.entries.iter().position(|(it, ..)| it == name)?;
        let (_, _, node) = self.entries.remove(at);
        // `key:` with nothing behind it is the same as no key at all.
        (node.value != Value::Null).then_some(node)
    }

    /// Removes a field that must be there.
    pub fn require(&mut self, name: &'static str) -> Option<Node> {
        let node = self.take(name);
        if node.is_none() {
            let (pointer, at) = (self.below(name), self.at);
            self.mistakes.push(Mistake {
                code: "field.missing",
                pointer,
                at,
                message: format!("`{name}` is missing"),
                help: None,
            });
        }
        node
    }

    /// Text, a number or a boolean, as text.
    pub fn take_text(&mut self, name: &'static str) -> Option<String> {
        self.take_checked(name, |_| None)
    }

    /// The same; `check` says what is wrong with it, if anything.
    pub fn take_checked(
        &mut self,
        name: &'static str,
        check: impl Fn(&str) -> Option<&'static str>,
    ) -> Option<String> {
        let node = self.take(name)?;
        let text = self.expect(name, &node, "text", plain_text)?;
        let wrong = if text.contains('\0') {
            Some("holds a NUL byte, which no program can be given")
        } else {
            check(&text)
        };
        if let Some(why) = wrong {
            self.refuse(name, node.at, why);
            return None;
        }
        Some(text)
    }

    /// A branch, tag or commit.
    pub fn take_ref(&mut self, name: &'static str) -> Option<String> {
        const RULE: &str = "must be a branch, tag or commit: letters, digits and `._/-+@#`, not beginning with `-`, `/` or `.`, without `..`";
        self.take_checked(name, |text| (!is_git_ref(text)).then_some(RULE))
    }

    /// `true` or `false`.
    pub fn take_bool(&mut self, name: &'static str) -> Option<bool> {
        let node = self.take(name)?;
        self.expect(name, &node, "`true` or `false`", |it| match it.value {
            Value::Bool(it) => Some(it),
            _ => None,
        })
    }

    /// A whole number between 1 and `max`.
    pub fn take_count(&mut self, name: &'static str, max: u64) -> Option<u64> {
        let node = self.take(name)?;
        let expected = format!("a whole number from 1 to {max}");
        self.expect(name, &node, &expected, |it| match it.value {
            Value::Integer(it) => u64::try_from(it).ok().filter(|it| (1..=max).contains(it)),
            _ => None,
        })
    }

    /// A number above 0.
    pub fn take_positive(&mut self, name: &'static str) -> Option<f64> {
        let node = self.take(name)?;
        self.expect(name, &node, "a number above 0", |it| match it.value {
            #[expect(clippy::cast_precision_loss, reason = "nobody counts cores past 2^52")]
            Value::Integer(it) if it > 0 => Some(it as f64),
            Value::Float(it) if it > 0.0 && it.is_finite() => Some(it),
            _ => None,
        })
    }

    /// A list.
    pub fn take_list(&mut self, name: &'static str) -> Option<Vec<Node>> {
        let node = self.take(name)?;
        self.expect(name, &node, "a list", |it| match &it.value {
            Value::List(it) => Some(it.clone()),
            _ => None,
        })
    }

    /// One of a few words.
    pub fn take_word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let node = self.take(name)?;
        let names: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let expected = format!("one of {}", names.join(", "));
        self.expect(name, &node, &expected, |it| {
            let text = plain_text(it)?;
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
        })
    }

    /// Variables: names that a shell can hold, and their values.
    pub fn take_variables(&mut self, name: &'static str) -> Option<BTreeMap<String, String>> {
        let node = self.take(name)?;
        let pointer = self.below(name);
        let mut inner = Fields::open(node, &pointer, self.mistakes)?;
        let entries = std::mem::take(&mut inner.entries);
        if entries.len() > VARIABLES_MAX {
            self.refuse(
                name,
                None,
                &format!("has more than {VARIABLES_MAX} variables"),
            );
            return None;
        }
        let mut variables = BTreeMap::new();
        for (key, at, node) in entries {
            let pointer = below(&pointer, &key);
            if let Some(value) = self.variable(&pointer, &key, at, &node) {
                variables.insert(key, value);
            }
        }
        Some(variables)
    }

    /// The value of a variable, whose name is checked, too.
    pub(super) fn variable(
        &mut self,
        pointer: &str,
        key: &str,
        at: Option<Position>,
        node: &Node,
    ) -> Option<String> {
        if !is_variable_name(key) {
            self.mistakes.push(Mistake {
                code: "variable.name",
                pointer: pointer.to_owned(),
                at,
                message: format!("`{key}` can't be the name of a variable"),
                help: Some("letters, digits and `_`, not beginning with a digit".into()),
            });
            return None;
        }
        let Some(value) = plain_text(node) else {
            self.mistakes
                .push(wrong_type(pointer, node.at, "text", node.kind()));
            return None;
        };
        if value.len() > VARIABLE_BYTES_MAX || value.contains('\0') {
            self.mistakes.push(Mistake {
                code: "variable.value",
                pointer: pointer.to_owned(),
                at: node.at,
                message: format!(
                    "the value of `{key}` holds a NUL byte or more than {VARIABLE_BYTES_MAX} bytes"
                ),
                help: None,
            });
            return None;
        }
        Some(value)
    }

    /// A name as pipelines and steps have them.
    pub fn require_name(&mut self, name: &'static str) -> Option<String> {
        let node = self.require(name)?;
        let text = self.expect(name, &node, "text", plain_text)?;
        if !is_name(&text) {
            let pointer = self.below(name);
            self.mistakes.push(Mistake {
                code: "name.form",
                pointer,
                at: node.at,
                message: format!("`{}` can't be a name", text.escape_debug()),
                help: Some(format!("1 to {NAME_BYTES_MAX} letters, digits, spaces and `-_./:()+#&,`, beginning with a letter or digit")),
            });
            return None;
        }
        Some(text)
    }

    /// Notes that a field holds what it can't.
    pub fn refuse(&mut self, name: &str, at: Option<Position>, why: &str) {
        let pointer = self.below(name);
        self.mistakes.push(Mistake {
            code: "field.value",
            pointer,
            at: at.or(self.at),
            message: format!("`{name}` {why}"),
            help: None,
        });
    }

    fn expect<T>(
        &mut self,
        name: &str,
        node: &Node,
        expected: &str,
        read: impl Fn(&Node) -> Option<T>,
    ) -> Option<T> {
        let value = read(node);
        if value.is_none() {
            let pointer = self.below(name);
            self.mistakes
                .push(wrong_type(&pointer, node.at, expected, node.kind()));
        }
        value
    }

    /// Refuses every field that nobody took.
    pub fn end(self) {
        for (name, at, _) in self.entries {
            let near = self.allowed.iter().find(|it| is_near(it, &name));
            let listed: Vec<String> = self.allowed.iter().map(|it| format!("`{it}`")).collect();
            let help = match near {
                Some(near) => format!("did you mean `{near}`? allowed are {}", listed.join(", ")),
                None => format!("allowed are {}", listed.join(", ")),
            };
            self.mistakes.push(Mistake {
                code: "field.unknown",
                pointer: below(&self.pointer, &name),
                at,
                message: format!("there is no field `{}` here", name.escape_debug()),
                help: Some(help),
            });
        }
    }
}

/// Text of a scalar. Numbers and booleans are what people write without quotes.
pub(super) fn plain_text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(it) => Some(it.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn wrong_type(pointer: &str, at: Option<Position>, expected: &str, found: &str) -> Mistake {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    let subject = if name.is_empty() {
        "this".to_owned()
    } else {
        format!("`{name}`")
    };
    Mistake {
        code: "field.type",
        pointer: pointer.to_owned(),
        at,
        message: format!("{subject} must be {expected}, found {found}"),
        help: None,
    }
}

/// The JSON pointer of a field (RFC 6901).
fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Whether `text` can name a pipeline or a step: it is shown on pages and in
/// terminals and stands in addresses, so it holds no control characters.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |it: char| it.is_alphanumeric() || " -_./:()+#&,".contains(it);
    text.len() <= NAME_BYTES_MAX
        && text.chars().next().is_some_and(char::is_alphanumeric)
        && text.chars().all(allowed)
        && !text.ends_with(' ')
}

/// Whether `text` can name a variable in a shell (POSIX, 3.216 "Name").
#[must_use]
pub fn is_variable_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

/// Whether one edit (insert, remove, change, swap) turns one word into the other: whether
/// it was probably meant.
#[must_use]
pub fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same_start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (a, b) = (&a[..a.len() - same_end], &b[..b.len() - same_end]);
    match (a, b) {
        ([x, y], [p, q]) => x == q && y == p,
        _ => a.len() <= 1 && b.len() <= 1,
    }
}
