//! What a submit may set of a pipeline, and what it must.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fields, Node, Value};
use crate::limits::{PARAMETER_CHOICES_MAX, PARAMETER_TEXT_BYTES_MAX, VARIABLES_MAX};

/// A declared parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Parameter {
    /// What it is for, for whoever is asked.
    pub description: Option<String>,
    /// What it is when nobody says; none when somebody has to.
    pub default: Option<String>,
    /// What a value has to be.
    pub kind: ParameterType,
    /// The values that there are; any when empty.
    pub choices: Vec<String>,
    /// Whether its value is kept out of logs and of everything else that is told.
    pub secret: bool,
}

/// What a value has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Anything.
    #[default]
    Text,
    /// A decimal number.
    Number,
    /// `true` or `false`.
    Boolean,
}

const TYPES: [(&str, ParameterType); 3] = [
    ("text", ParameterType::Text),
    ("number", ParameterType::Number),
    ("boolean", ParameterType::Boolean),
];

impl ParameterType {
    /// Its name in files and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// As it stands in a file: a default alone, or all of it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Default(String),
    Whole {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
        #[serde(default, rename = "type")]
        kind: ParameterType,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<String>,
        #[serde(default)]
        secret: bool,
    },
}

impl From<Written> for Parameter {
    fn from(written: Written) -> Self {
        match written {
            Written::Default(default) => Self::with(default),
            Written::Whole {
                description,
                default,
                kind,
                choices,
                secret,
            } => Self {
                description,
                default,
                kind,
                choices,
                secret,
            },
        }
    }
}

impl From<Parameter> for Written {
    fn from(it: Parameter) -> Self {
        match &it.default {
            Some(default) if it == Parameter::with(default.clone()) => {
                Self::Default(default.clone())
            }
            _ => Self::Whole {
                description: it.description,
                default: it.default,
                kind: it.kind,
                choices: it.choices,
                secret: it.secret,
            },
        }
    }
}

/// A parameter that is given what it can't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongParameter {
    /// Which.
    pub name: String,
    /// `parameter.unknown`, `parameter.missing` or `parameter.value`.
    pub code: &'static str,
    /// What is wrong, without the value.
    pub message: String,
}

impl Parameter {
    /// Text with this default.
    fn with(default: String) -> Self {
        Self {
            default: Some(default),
            ..Self::default()
        }
    }

    /// Why it can't have this value, if it can't. Never repeats the value.
    fn wrong(&self, value: &str) -> Option<String> {
        if !self.choices.is_empty() && !self.choices.iter().any(|it| it == value) {
            let listed: Vec<String> = self.choices.iter().map(|it| format!("`{it}`")).collect();
            return Some(format!("must be one of {}", listed.join(", ")));
        }
        let is_number = || {
            let allowed = |it: u8| it.is_ascii_digit() || b"+-.eE".contains(&it);
            value.bytes().all(allowed) && value.parse::<f64>().is_ok_and(f64::is_finite)
        };
        match self.kind {
            ParameterType::Number if !is_number() => Some("must be a number".to_owned()),
            ParameterType::Boolean if !["true", "false"].contains(&value) => {
                Some("must be `true` or `false`".to_owned())
            }
            _ => None,
        }
    }
}

/// The parameters of a run: what was given over what is declared.
pub(super) fn of_run(
    declared: &BTreeMap<String, Parameter>,
    given: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<WrongParameter>> {
    let mut wrong = Vec::new();
    let mut note = |name: &str, code, message| {
        let name = name.to_owned();
        wrong.push(WrongParameter {
            name,
            code,
            message,
        });
    };
    for (name, value) in &given {
        match declared.get(name).map(|it| it.wrong(value)) {
            None => {
                let message = format!("the pipeline has no parameter `{name}`");
                note(name, "parameter.unknown", message);
            }
            Some(Some(why)) => {
                let message = format!("the parameter `{name}` {why}");
                note(name, "parameter.value", message);
            }
            Some(None) => {}
        }
    }
    let mut all = BTreeMap::new();
    for (name, parameter) in declared.iter().filter(|it| !given.contains_key(it.0)) {
        match &parameter.default {
            Some(default) => drop(all.insert(name.clone(), default.clone())),
            None => {
                let about = parameter.description.as_deref();
                let about = about.map_or(String::new(), |it| format!(" ({it})"));
                let message = format!("the parameter `{name}`{about} must be given");
                note(name, "parameter.missing", message);
            }
        }
    }
    all.extend(given);
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(wrong)
    }
}

/// Takes `parameters` of a pipeline.
pub(super) fn take(fields: &mut Fields<'_>) -> Option<BTreeMap<String, Parameter>> {
    const NAME: &str = "parameters";
    let node = fields.take(NAME)?;
    let pointer = fields.below(NAME);
    let entries = Fields::open(node, &pointer, fields.mistakes())?.into_entries();
    if entries.len() > VARIABLES_MAX {
        let why = format!("has more than {VARIABLES_MAX} variables");
        fields.refuse(NAME, None, &why);
        return None;
    }
    let mut all = BTreeMap::new();
    for (name, at, node) in entries {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let is_whole = matches!(node.value, Value::Map(_));
        let nothing = Node {
            at,
            value: Value::Text(String::new()),
        };
        let value = if is_whole { &nothing } else { &node };
        let default = fields.variable(&pointer, &name, at, value);
        let parameter = match default {
            Some(_) if is_whole => whole(node, &pointer, fields),
            other => other.map(Parameter::with),
        };
        all.extend(parameter.map(|it| (name, it)));
    }
    Some(all)
}

fn whole(node: Node, pointer: &str, outer: &mut Fields<'_>) -> Option<Parameter> {
    const TOO_LONG: &str = "is too long";
    let too_long = |it: &str| (it.len() > PARAMETER_TEXT_BYTES_MAX).then_some(TOO_LONG);
    let mut fields = Fields::open(node, pointer, outer.mistakes())?;
    let at = fields.place("default");
    let parameter = Parameter {
        description: fields.take_checked("description", too_long),
        default: fields.take_checked("default", too_long),
        kind: fields.take_word("type", &TYPES).unwrap_or_default(),
        choices: choices(&mut fields),
        secret: fields.take_bool("secret").unwrap_or(false),
    };
    let default = parameter.default.as_deref();
    if parameter.secret && default.is_some_and(|it| !it.is_empty()) {
        let why =
            "of a secret parameter would stand here for everybody to read; leave it out, or empty";
        fields.refuse("default", at, why);
    } else if let Some(why) = default.and_then(|it| parameter.wrong(it))
        && !parameter.secret
    {
        fields.refuse("default", at, &why);
    }
    fields.end();
    Some(parameter)
}

fn choices(fields: &mut Fields<'_>) -> Vec<String> {
    const NAME: &str = "choices";
    let at = fields.place(NAME);
    let Some(list) = fields.take_list(NAME) else {
        return Vec::new();
    };
    let texts: Option<Vec<String>> = list.iter().map(super::fields::plain_text).collect();
    let fits = |it: &String| it.len() <= PARAMETER_TEXT_BYTES_MAX && !it.contains('\0');
    match texts {
        Some(texts)
            if (1..=PARAMETER_CHOICES_MAX).contains(&texts.len()) && texts.iter().all(fits) =>
        {
            texts
        }
        _ => {
            let why = format!(
                "must be a list of 1 to {PARAMETER_CHOICES_MAX} texts of {PARAMETER_TEXT_BYTES_MAX} bytes at most"
            );
            fields.refuse(NAME, at, &why);
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Pipeline, read_request};

    fn read(parameters: &str) -> Result<Pipeline, Vec<String>> {
        let text =
            format!("{{name: p, steps: [{{name: a, run: x}}], parameters: {{{parameters}}}}}");
        let mut mistakes = Vec::new();
        let read = read_request(Node::parse(&text).unwrap(), "", &mut mistakes);
        read.ok_or_else(|| mistakes.into_iter().map(|it| it.pointer).collect())
    }

    #[track_caller]
    fn check(parameters: &str, given: &[(&str, &str)], expected: Result<&[(&str, &str)], &[&str]>) {
        let pipeline = read(parameters).unwrap();
        let owned = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
        let found = pipeline.with_parameters(given.iter().map(owned).collect());
        let found = found.map_err(|it| it.into_iter().map(|it| it.message).collect::<Vec<_>>());
        let expected = expected.map(|it| it.iter().map(owned).collect());
        let expected =
            expected.map_err(|it| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(found, expected);
        // As a command line sends it on, and as it is stored.
        let json = serde_json::to_value(&pipeline).unwrap();
        let mut mistakes = Vec::new();
        let again = read_request(Node::from_json(&json).unwrap(), "", &mut mistakes);
        assert_eq!((again, mistakes), (Some(pipeline.clone()), vec![]));
        assert_eq!(serde_json::from_value::<Pipeline>(json).unwrap(), pipeline);
    }

    #[test]
    fn defaults_stand_where_nothing_is_given() {
        check(
            "LEVEL: 1, WHERE: {choices: [eu, us], default: eu}",
            &[("WHERE", "us")],
            Ok(&[("LEVEL", "1"), ("WHERE", "us")]),
        );
    }

    #[test]
    fn every_mistake_is_told_and_no_value_repeated() {
        check(
            "WHERE: {choices: [eu, us]}, N: {type: number, default: 1}, DRY: {type: boolean, default: false}, TOKEN: {description: of the shop, secret: true}",
            &[("WHERE", "x"), ("N", "nan"), ("DRY", "yes"), ("OTHER", "y")],
            Err(&[
                "the parameter `DRY` must be `true` or `false`",
                "the parameter `N` must be a number",
                "the pipeline has no parameter `OTHER`",
                "the parameter `WHERE` must be one of `eu`, `us`",
                "the parameter `TOKEN` (of the shop) must be given",
            ]),
        );
        check(
            "N: {type: number}",
            &[("N", "-1.5e3")],
            Ok(&[("N", "-1.5e3")]),
        );
    }

    #[test]
    fn a_declaration_that_can_not_be_is_refused() {
        let wrong = read(
            "A: {default: z, choices: [x, y]}, B: {secret: true, default: hunter2}, C: {type: date}, D: {choices: []}, E: [1], F: {require: true}, 1G: {default: x}",
        );
        let pointers = [
            "/parameters/A/default",
            "/parameters/B/default",
            "/parameters/C/type",
            "/parameters/D/choices",
            "/parameters/E",
            "/parameters/F/require",
            "/parameters/1G",
        ];
        assert_eq!(wrong, Err(pointers.map(str::to_owned).to_vec()));
    }
}
