//! Lists of texts with their places, and patterns of branches and paths.

use danube_model::spec::{Fields, Value};
use danube_model::{Mistake, Position};

/// Texts of one list: more are a program's work, and a program can write more files.
pub(crate) const TEXTS_MAX: usize = 500;

/// Bytes of a pattern: as many as a name of a branch may have.
const PATTERN_BYTES_MAX: usize = 255;

/// Stars of one pattern: each may be tried at every byte of a path.
const STARS_MAX: usize = 8;

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) pointer: String,
    pub(crate) at: Option<Position>,
}

/// Takes a list of texts; `check` says what is wrong with one.
pub(crate) fn take(
    fields: &mut Fields<'_>,
    name: &'static str,
    check: fn(&str) -> Option<&'static str>,
) -> Option<Vec<Text>> {
    let list = fields.take_list(name)?;
    if list.len() > TEXTS_MAX {
        fields.refuse(name, None, &format!("has more than {TEXTS_MAX} entries"));
        return None;
    }
    let mut texts: Vec<Text> = Vec::with_capacity(list.len());
    for (index, node) in list.into_iter().enumerate() {
        let pointer = format!("{}/{index}", fields.below(name));
        let wrong = match &node.value {
            Value::Text(text) if texts.iter().any(|it| it.text == *text) => {
                Err(format!("`{}` stands here twice", text.escape_debug()))
            }
            Value::Text(text) => match check(text) {
                None => Ok(text.clone()),
                Some(why) => Err(format!("`{}` {why}", text.escape_debug())),
            },
            _ => Err(format!("must be text, found {}", node.kind())),
        };
        let at = node.at;
        match wrong {
            Ok(text) => texts.push(Text { text, pointer, at }),
            Err(message) => fields.mistakes().push(Mistake {
                code: "field.value",
                pointer,
                at,
                message,
                help: None,
            }),
        }
    }
    Some(texts)
}

/// Patterns, without their places.
pub(crate) fn patterns(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    let texts = take(fields, name, wrong_pattern).unwrap_or_default();
    texts.into_iter().map(|it| it.text).collect()
}

fn wrong_pattern(text: &str) -> Option<&'static str> {
    let bare = text.strip_prefix('!').unwrap_or(text);
    let sane = !bare.is_empty()
        && bare.len() <= PATTERN_BYTES_MAX
        && !bare.starts_with('/')
        && !bare.chars().any(char::is_control)
        && bare.matches('*').count() <= STARS_MAX;
    (!sane).then_some("isn't a pattern: a name in which `*` stands for any text, up to eight of them; with `!` before it, it takes out again")
}

/// Whether a list of patterns takes a name. `*` stands for any text, `/` too; a pattern
/// behind `!` takes out again; the last that fits decides. Without patterns all are taken,
/// and with nothing but `!` all others.
#[must_use]
pub fn matches(patterns: &[String], name: &str) -> bool {
    let mut taken = patterns.iter().all(|it| it.starts_with('!'));
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(bare) if fits(bare, name) => taken = false,
            None if fits(pattern, name) => taken = true,
            _ => {}
        }
    }
    taken
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    // Each part at its first place leaves the most to those behind it.
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_what_it_says() {
        let check = |patterns: &str, name: &str, expected: bool| {
            let patterns: Vec<String> = patterns.split_whitespace().map(Into::into).collect();
            assert_eq!(matches(&patterns, name), expected, "{patterns:?} {name}");
        };
        check("", "main", true);
        check("main", "main", true);
        check("main", "maintenance", false);
        check("release/*", "release/1/a", true);
        check("release/*", "release", false);
        check("*", "anything", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("a*a", "a", false);
        check("* !wip/*", "wip/x", false);
        check("* !wip/* wip/ready", "wip/ready", true);
        check("!docs/*", "src/main.rs", true);
        check("!docs/*", "docs/a.md", false);
    }
}
