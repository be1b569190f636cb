//! Reads the redaction rules of `redaction.rules`: every mistake of every rule,
//! each where it stands.

use std::ops::Range;

use danube_redact::{RuleField, Rules, UserRule};
use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Misfit, Value, Within, toml_text, value_kind};
use crate::nearest::nearest;

/// What a rule has.
const FIELDS: [&str; 4] = ["id", "keyword", "pattern", "case_sensitive"];

/// What a whole one looks like.
const WHOLE: &str = "a rule is { id = \"acme_key\", keyword = \"ACME-\", pattern = 'ACME-[A-Z0-9]{12}' }, and may have \
                     case_sensitive = true";

/// Reads a flag's or a variable's text: the list as it would stand in the file.
pub(super) fn read_text(text: &str) -> Result<Value, Vec<Misfit>> {
    let whole = format!("rules = {text}");
    let table = DeTable::parse(&whole).map_err(|error| {
        vec![Misfit {
            code: "setting.value",
            why: format!("isn't a list as in the file: {}", error.message()),
            help: Some(format!("write [{{ … }}, …]; {WHOLE}")),
            within: None,
        }]
    })?;
    let value = table.get_ref().get("rules").map(Spanned::get_ref);
    // A line end in the text may have begun another option.
    match value.filter(|_| table.get_ref().len() == 1) {
        Some(DeValue::Array(list)) => read(list),
        _ => Err(vec![Misfit {
            code: "setting.value",
            why: "must be one list of rules".to_owned(),
            help: Some(format!("write [{{ … }}, …]; {WHOLE}")),
            within: None,
        }]),
    }
}

/// Reads the list, checks the rules and compiles them.
pub(super) fn read(list: &[Spanned<DeValue<'_>>]) -> Result<Value, Vec<Misfit>> {
    let mut misfits = Vec::new();
    let mut rules = Vec::new();
    let mut places = Vec::new();
    for (index, node) in list.iter().enumerate() {
        let mut reader = Reader {
            index,
            misfits: &mut misfits,
        };
        if let Some((rule, place)) = reader.rule(node) {
            rules.push(rule);
            places.push(place);
        }
    }
    let compiled = Rules::builtin().with_user(&rules);
    for error in compiled.as_ref().err().into_iter().flatten() {
        let place = &places[error.index];
        let id = match place.has_id {
            true => format!(" (`{}`)", error.id.escape_debug()),
            false => String::new(),
        };
        misfits.push(Misfit {
            code: "setting.value",
            why: format!(
                "the {} of rule {}{id} {}",
                error.field,
                place.index + 1,
                error.why
            ),
            help: Some(error.help.clone()),
            within: Some(Within {
                span: place.field(error.field),
                pointer: format!("/{}/{}", place.index, error.field),
            }),
        });
    }
    match compiled {
        Ok(compiled) if misfits.is_empty() => Ok(Value::Rules(compiled)),
        _ => Err(misfits),
    }
}

/// Where a rule and its fields stand.
struct Place {
    index: usize,
    has_id: bool,
    fields: [Range<usize>; 3],
}

impl Place {
    fn field(&self, field: RuleField) -> Range<usize> {
        let at = match field {
            RuleField::Id => 0,
            RuleField::Keyword => 1,
            RuleField::Pattern => 2,
        };
        self.fields[at].clone()
    }
}

/// Reads one rule.
struct Reader<'a> {
    index: usize,
    misfits: &'a mut Vec<Misfit>,
}

impl Reader<'_> {
    fn rule(&mut self, node: &Spanned<DeValue<'_>>) -> Option<(UserRule, Place)> {
        let number = self.index + 1;
        let DeValue::Table(table) = node.get_ref() else {
            let why = format!(
                "rule {number} must be a table, found {}",
                value_kind(node.get_ref())
            );
            self.note("setting.type", ("", node.span()), why, WHOLE);
            return None;
        };
        for name in table.keys() {
            let (at, name) = (name.span(), name.get_ref().as_ref());
            if !FIELDS.contains(&name) {
                let why = format!("rule {number} has an unknown `{}`", name.escape_debug());
                let help = match nearest(name, FIELDS.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => WHOLE.to_owned(),
                };
                self.note("setting.unknown", (name, at), why, &help);
            }
        }
        let texts = [0, 1, 2].map(|field| self.text(node, table, FIELDS[field]));
        let case_sensitive = match table.get(FIELDS[3]) {
            None => false,
            Some(value) => self.bool(value),
        };
        let [id, keyword, pattern] = texts;
        let has_id = id.is_some();
        // What is missing or no text was told above. In its place stands what is
        // right, so that the rest of the rule is checked too.
        let or = |field: Option<(String, Range<usize>)>, stand_in: &str| {
            field.unwrap_or_else(|| (stand_in.to_owned(), node.span()))
        };
        let id = or(id, &format!("stand_in_{number}"));
        let keyword = or(keyword, "stand-in");
        let pattern = or(pattern, "stand-in");
        let rule = UserRule {
            id: id.0,
            keyword: keyword.0,
            pattern: pattern.0,
            case_sensitive,
        };
        let place = Place {
            index: self.index,
            has_id,
            fields: [id.1, keyword.1, pattern.1],
        };
        Some((rule, place))
    }

    fn text(
        &mut self,
        node: &Spanned<DeValue<'_>>,
        table: &DeTable<'_>,
        field: &'static str,
    ) -> Option<(String, Range<usize>)> {
        let number = self.index + 1;
        let Some(value) = table.get(field) else {
            let why = format!("rule {number} has no `{field}`");
            self.note("setting.missing", (field, node.span()), why, WHOLE);
            return None;
        };
        if let DeValue::String(text) = value.get_ref() {
            return Some((text.as_ref().to_owned(), value.span()));
        }
        let found = value_kind(value.get_ref());
        let why = format!("the {field} of rule {number} must be text, found {found}");
        self.note("setting.type", (field, value.span()), why, WHOLE);
        None
    }

    fn bool(&mut self, value: &Spanned<DeValue<'_>>) -> bool {
        if let DeValue::Boolean(it) = value.get_ref() {
            return *it;
        }
        let (number, found) = (self.index + 1, value_kind(value.get_ref()));
        let why = format!("`case_sensitive` of rule {number} must be true or false, found {found}");
        self.note("setting.type", (FIELDS[3], value.span()), why, WHOLE);
        false
    }

    /// `place` is the field's name, empty for the rule itself, and where it stands.
    fn note(&mut self, code: &'static str, place: (&str, Range<usize>), why: String, help: &str) {
        let (field, span) = place;
        let below = if field.is_empty() { "" } else { "/" };
        self.misfits.push(Misfit {
            code,
            why,
            help: Some(help.to_owned()),
            within: Some(Within {
                span,
                pointer: format!("/{}{below}{field}", self.index),
            }),
        });
    }
}

/// As the list would stand in the file, on one line.
pub(super) fn as_toml(rules: &[UserRule]) -> String {
    let one = |rule: &UserRule| {
        let cased = if rule.case_sensitive {
            ", case_sensitive = true"
        } else {
            ""
        };
        format!(
            "{{ id = {}, keyword = {}, pattern = {}{cased} }}",
            toml_text(&rule.id),
            toml_text(&rule.keyword),
            toml_text(&rule.pattern)
        )
    };
    let all: Vec<String> = rules.iter().map(one).collect();
    format!("[{}]", all.join(", "))
}

/// For programs.
pub(super) fn as_json(rules: &[UserRule]) -> Json {
    let one = |rule: &UserRule| {
        json!({
            "id": rule.id,
            "keyword": rule.keyword,
            "pattern": rule.pattern,
            "case_sensitive": rule.case_sensitive,
        })
    };
    rules.iter().map(one).collect()
}
