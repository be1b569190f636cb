//! A tree of values that remembers where each one stands.
//!
//! One tree for YAML, for JSON files (YAML 1.2 contains JSON) and for JSON that
//! came in a request, so that one check serves all three.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::ansible;

use crate::limits::{FILE_BYTES_MAX, FILE_DEPTH_MAX, FILE_NODES_MAX};
use crate::mistake::{Mistake, Position};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands; none when it came in a request.
    pub at: Option<Position>,
    /// What it is.
    pub value: Value,
}

/// What a node can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order in which it was written; a key may stand twice.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Reads one YAML or JSON document.
    ///
    /// # Errors
    /// The first mistake that keeps the text from being read at all.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        Self::read(text, Words::Core)
    }

    /// The same of a file that is meant for Ansible: plain words are what Ansible takes them
    /// for (`yes` is true), and `!vault` and `!unsafe` become what they are in JSON.
    ///
    /// # Errors
    /// The first mistake that keeps the text from being read at all.
    pub fn parse_for_ansible(text: &str) -> Result<Self, Mistake> {
        Self::read(text, Words::Ansible)
    }

    fn read(text: &str, words: Words) -> Result<Self, Mistake> {
        if text.len() > FILE_BYTES_MAX {
            return Err(broken(
                "file.too_large",
                None,
                format!("the file is larger than {FILE_BYTES_MAX} bytes"),
            ));
        }
        let mut reader = Reader {
            parser: Parser::new_from_str(text),
            offsets: Offsets::new(text),
            anchors: HashMap::new(),
            nodes_left: FILE_NODES_MAX,
            words,
        };
        reader.document()
    }

    /// The same tree from JSON that is already parsed.
    ///
    /// # Errors
    /// A mistake when there are more values than a file may have: a node takes
    /// some hundred bytes, where its text may be two.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, Mistake> {
        let mut nodes_left = FILE_NODES_MAX;
        Self::counted(json, &mut nodes_left)
    }

    fn counted(json: &serde_json::Value, nodes_left: &mut usize) -> Result<Self, Mistake> {
        use serde_json::Value as Json;
        *nodes_left = nodes_left.checked_sub(1).ok_or_else(|| {
            broken(
                "request.too_many_values",
                None,
                format!("the request holds more than {FILE_NODES_MAX} values"),
            )
        })?;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(it) => Value::Bool(*it),
            Json::Number(it) => it.as_i64().map_or_else(
                || Value::Float(it.as_f64().unwrap_or(f64::NAN)),
                Value::Integer,
            ),
            Json::String(it) => Value::Text(it.clone()),
            Json::Array(list) => {
                let nodes = list.iter().map(|it| Self::counted(it, nodes_left));
                Value::List(nodes.collect::<Result<_, _>>()?)
            }
            Json::Object(map) => {
                let entries = map.iter().map(|(key, it)| {
                    let key = Self {
                        at: None,
                        value: Value::Text(key.clone()),
                    };
                    Ok((key, Self::counted(it, nodes_left)?))
                });
                Value::Map(entries.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { at: None, value })
    }

    /// The same as JSON; none where a key is no text or stands twice, and where a number
    /// isn't finite.
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        Some(match &self.value {
            Value::Null => Json::Null,
            Value::Bool(it) => Json::Bool(*it),
            Value::Integer(it) => Json::from(*it),
            Value::Float(it) => Json::Number(serde_json::Number::from_f64(*it)?),
            Value::Text(it) => Json::String(it.clone()),
            Value::List(list) => {
                Json::Array(list.iter().map(Self::to_json).collect::<Option<_>>()?)
            }
            Value::Map(entries) => {
                let mut map = serde_json::Map::new();
                for (key, value) in entries {
                    let Value::Text(key) = &key.value else {
                        return None;
                    };
                    if map.insert(key.clone(), value.to_json()?).is_some() {
                        return None;
                    }
                }
                Json::Object(map)
            }
        })
    }

    /// What it is, for "expected …, found …".
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(list) => list.iter().map(Self::count).sum(),
            Value::Map(map) => map.iter().map(|(key, it)| key.count() + it.count()).sum(),
            _ => 0,
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    offsets: Offsets<'a>,
    anchors: HashMap<usize, Node>,
    nodes_left: usize,
    words: Words,
}

/// How plain words are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// By the core schema of YAML 1.2.
    Core,
    /// As Ansible does.
    Ansible,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Mistake> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                _ if root.is_some() => {
                    let at = Some(self.offsets.place(span));
                    return Err(broken(
                        "file.two_documents",
                        at,
                        "a second document begins here; one file holds one document".into(),
                    ));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        root.ok_or_else(|| broken("file.empty", None, "the file is empty".into()))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok(pair)) => Ok(pair),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax(&self, error: &ScanError) -> Mistake {
        let at = self.offsets.place(Span::empty(*error.marker()));
        broken(
            "file.syntax",
            Some(at),
            format!("not valid YAML or JSON: {}", error.info()),
        )
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Mistake> {
        let at = self.offsets.place(span);
        if depth > FILE_DEPTH_MAX {
            return Err(broken(
                "file.too_deep",
                Some(at),
                format!("nested deeper than {FILE_DEPTH_MAX} levels"),
            ));
        }
        self.spend(1, at)?;
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                let value = match self.words {
                    Words::Core => scalar(&text, style),
                    Words::Ansible => {
                        let tag = tag.as_ref().map(|it| it.suffix.as_str());
                        ansible::scalar(&text, is_plain, tag)
                    }
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            other => {
                return Err(broken(
                    "file.syntax",
                    Some(at),
                    format!("not valid YAML or JSON: unexpected {other:?}"),
                ));
            }
        };
        let node = Node {
            at: Some(at),
            value,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, Mistake> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(broken(
                "file.syntax",
                Some(at),
                "an alias inside its own anchor".into(),
            ));
        };
        self.spend(node.count(), at)?;
        Ok(node)
    }

    fn spend(&mut self, nodes: usize, at: Position) -> Result<(), Mistake> {
        self.nodes_left = self.nodes_left.checked_sub(nodes).ok_or_else(|| {
            broken(
                "file.too_many_values",
                Some(at),
                format!("the file holds more than {FILE_NODES_MAX} values, aliases counted"),
            )
        })?;
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut entries = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (event, span) => self.node(event, span, depth + 1)?,
            };
            let (event, span) = self.next()?;
            entries.push((key, self.node(event, span, depth + 1)?));
        }
    }
}

/// The YAML 1.2 core schema: only these plain words are anything but text, so
/// `on`, `yes` and `1.2.3` stay text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::Integer(number);
    }
    let numeric = text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'));
    match text.parse::<f64>() {
        Ok(number) if numeric => Value::Float(number),
        _ => Value::Text(text.to_owned()),
    }
}

fn broken(code: &'static str, at: Option<Position>, message: String) -> Mistake {
    Mistake {
        code,
        pointer: String::new(),
        at,
        message,
        help: None,
    }
}

/// Turns the parser's characters into bytes.
struct Offsets<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str) -> Self {
        let rest = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            line_starts: std::iter::once(0).chain(rest).collect(),
        }
    }

    fn offset(&self, line: usize, column: usize) -> usize {
        let Some(&start) = self.line_starts.get(line.saturating_sub(1)) else {
            return self.text.len();
        };
        let rest = &self.text[start..];
        start
            + rest
                .char_indices()
                .nth(column)
                .map_or(rest.len(), |(at, _)| at)
    }

    fn place(&self, span: Span) -> Position {
        let (start, end) = (span.start, span.end);
        let offset = self.offset(start.line(), start.col());
        // A long value is marked at its first line only.
        let length = if start.line() == end.line() {
            self.offset(end.line(), end.col()).saturating_sub(offset)
        } else {
            0
        };
        Position {
            line: start.line(),
            column: start.col() + 1,
            offset,
            length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_file_is_read_like_a_yaml_file() {
        let yaml = Node::parse("a: 1\nb: [x, true, 1.5, ~]\n").unwrap();
        let json = Node::parse("{\"a\": 1,\n \"b\": [\"x\", true, 1.5, null]}").unwrap();
        fn bare(node: &Node) -> String {
            format!("{:?}", strip(node.clone()))
        }
        fn strip(mut node: Node) -> Node {
            node.at = None;
            node.value = match node.value {
                Value::List(list) => Value::List(list.into_iter().map(strip).collect()),
                Value::Map(map) => Value::Map(
                    map.into_iter()
                        .map(|(key, it)| (strip(key), strip(it)))
                        .collect(),
                ),
                other => other,
            };
            node
        }
        assert_eq!(bare(&yaml), bare(&json));
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let node = Node::parse("näme: x\nruñ: yy\n").unwrap();
        let Value::Map(map) = node.value else {
            panic!("a map")
        };
        let at = map[1].1.at.unwrap();
        assert_eq!((at.line, at.column, at.length), (2, 6, 2));
        assert_eq!(
            &"näme: x\nruñ: yy\n"[at.offset..at.offset + at.length],
            "yy"
        );
    }

    #[test]
    fn a_yaml_bomb_stays_small() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let below = level - 1;
            let row = format!("*a{below}, ").repeat(9);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                row.trim_end_matches(", ")
            ));
        }
        assert_eq!(Node::parse(&text).unwrap_err().code, "file.too_many_values");
    }

    #[test]
    fn deep_nesting_is_refused_not_overflowed() {
        let text = "[".repeat(5_000);
        assert!(Node::parse(&text).is_err());
        let text = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(Node::parse(&text).unwrap_err().code, "file.too_deep");
    }

    #[test]
    fn broken_text_says_where() {
        let mistake = Node::parse("steps:\n  - name: 'x\n").unwrap_err();
        assert_eq!(mistake.code, "file.syntax");
        assert!(mistake.at.is_some());
        assert_eq!(Node::parse("").unwrap_err().code, "file.empty");
        assert_eq!(
            Node::parse("a: 1\n---\nb: 2\n").unwrap_err().code,
            "file.two_documents"
        );
    }

    #[test]
    fn only_the_core_words_are_not_text() {
        for word in ["yes", "on", "1.2.3", "0x1F", "inf", "nan", "1_000", "e5"] {
            assert_eq!(
                scalar(word, ScalarStyle::Plain),
                Value::Text(word.into()),
                "{word}"
            );
        }
    }
}
