//! Reads the text of a scrape as strictly as its grammar is, for tests of what is
//! written.

use std::collections::{BTreeMap, BTreeSet};

use danube_telemetry::Format;

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) exemplar: Option<Exemplar>,
}

/// What comes after ` # `.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) seconds: f64,
}

/// All lines with a value.
///
/// # Panics
/// When the text is not of the format, shows a series twice, or a family in two places.
pub(crate) fn read(text: &str, format: Format) -> Vec<Line> {
    let text = match format {
        Format::Text004 => text,
        Format::OpenMetrics1 => text.strip_suffix("# EOF\n").expect("an end"),
    };
    assert!(text.is_empty() || text.ends_with('\n'));
    let (mut lines, mut seen) = (Vec::new(), BTreeSet::new());
    let mut families = BTreeSet::new();
    let mut family = String::new();
    for text in text.split_terminator('\n') {
        if let Some(comment) = text.strip_prefix("# ") {
            let (kind, rest) = comment.split_once(' ').expect("a kind of comment");
            let (name, _) = rest.split_once(' ').expect("a name and more");
            match kind {
                "HELP" => {
                    assert!(families.insert(name.to_owned()), "{name} comes twice");
                    family = name.to_owned();
                }
                "TYPE" | "UNIT" => assert_eq!(name, family),
                _ => panic!("what is this? {text}"),
            }
            continue;
        }
        let line = line(text);
        assert!(line.name.starts_with(&family), "{text} is not of {family}");
        let series = (line.name.clone(), line.labels.clone());
        assert!(seen.insert(series), "{text} comes twice");
        if line.exemplar.is_some() {
            assert_eq!(format, Format::OpenMetrics1, "{text}");
            assert!(line.name.ends_with("_bucket"), "{text}");
        }
        lines.push(line);
    }
    lines
}

fn line(text: &str) -> Line {
    let end = text.find(['{', ' ']).expect("a name");
    let (name, mut rest) = text.split_at(end);
    assert!(is_name(name), "{text}");
    let labels = labels(&mut rest);
    let rest = rest.strip_prefix(' ').expect("a space before the value");
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => (value, Some(read_exemplar(exemplar))),
        None => (rest, None),
    };
    Line {
        name: name.to_owned(),
        labels,
        value: number(value),
        exemplar,
    }
}

fn read_exemplar(mut rest: &str) -> Exemplar {
    let labels = labels(&mut rest);
    let mut numbers = rest.trim_start_matches(' ').split(' ').map(number);
    let exemplar = Exemplar {
        labels,
        value: numbers.next().expect("a value"),
        seconds: numbers.next().expect("a time"),
    };
    assert_eq!(numbers.next(), None);
    exemplar
}

fn number(text: &str) -> f64 {
    assert!(!text.contains(' '), "`{text}` is not one number");
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(known) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// `{a="x",b="y"}`, where a value escapes a backslash, a quote and a line's end and
/// nothing else.
fn labels(rest: &mut &str) -> Labels {
    let mut labels = Labels::new();
    let Some(mut inner) = rest.strip_prefix('{') else {
        return labels;
    };
    loop {
        let (name, after) = inner.split_once("=\"").expect("a label");
        assert!(is_name(name), "{name}");
        let mut value = String::new();
        let mut chars = after.chars();
        loop {
            match chars.next().expect("the value's end") {
                '"' => break,
                '\\' => value.push(match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('"' | '\\')) => c,
                    other => panic!("{other:?} isn't escaped"),
                }),
                c => value.push(c),
            }
        }
        let before = labels.insert(name.to_owned(), value);
        assert_eq!(before, None, "{name} comes twice");
        inner = chars.as_str();
        if let Some(after) = inner.strip_prefix('}') {
            *rest = after;
            return labels;
        }
        inner = inner.strip_prefix(',').expect("a comma between labels");
    }
}
