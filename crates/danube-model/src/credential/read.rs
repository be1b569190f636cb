//! Reads a credential from JSON. A mistake names the field, never what it holds.

use std::collections::BTreeMap;

use super::{
    Credential, CredentialKind, FieldSpec, Form, KINDS, KindSpec, SecretText, check_private_key,
    credential_name_rule, is_credential_name,
};
use crate::limits::{CREDENTIAL_SHOWN_BYTES_MAX, CREDENTIAL_VALUE_BYTES_MAX};
use crate::mistake::Mistake;
use crate::spec::{Fields, Node, Value};

/// Says why the redactor doesn't take a value, without the value.
pub type CheckValue<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Reads a whole credential. With `named` the name stands in the address, and
/// none in the body. `check` is asked of every secret value.
///
/// # Errors
/// Every mistake that there is.
pub fn read_credential(
    body: &serde_json::Value,
    named: Option<&str>,
    check: CheckValue<'_>,
) -> Result<Credential, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let read = read(body, named, check, &mut mistakes);
    match read {
        Some(credential) if mistakes.is_empty() => Ok(credential),
        _ => Err(mistakes),
    }
}

fn read(
    body: &serde_json::Value,
    named: Option<&str>,
    check: CheckValue<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Credential> {
    let node = Node::from_json(body)
        .map_err(|mistake| mistakes.push(mistake))
        .ok()?;
    let mut fields = Fields::open(node, "", mistakes)?;
    let name = match named {
        Some(name) => Some(name.to_owned()).filter(|it| is_credential_name(it)),
        None => take_name(&mut fields),
    };
    if named.is_some() && name.is_none() {
        let rule = credential_name_rule();
        fields.refuse("name", None, &format!("must be {rule}"));
    }
    let Some(kind) = take_kind(&mut fields) else {
        // Without it nothing is known of the other fields.
        return None;
    };
    let (mut metadata, mut values) = (BTreeMap::new(), BTreeMap::new());
    for spec in kind.spec().fields {
        if spec.form.is_secret() {
            if let Some(value) = take_value(&mut fields, spec, check) {
                values.insert(spec.name.to_owned(), value);
            }
        } else if let Some(text) = take_shown(&mut fields, spec) {
            metadata.insert(spec.name.to_owned(), text);
        }
    }
    let given = |it: &str| values.contains_key(it) || metadata.contains_key(it);
    if fields.mistakes().is_empty() {
        check_together(&mut fields, kind.spec(), &given);
    }
    fields.end();
    Some(Credential {
        name: name?,
        kind,
        metadata,
        values,
    })
}

fn take_name(fields: &mut Fields<'_>) -> Option<String> {
    let node = fields.require("name")?;
    match node.value {
        Value::Text(text) if is_credential_name(&text) => Some(text),
        _ => {
            let rule = credential_name_rule();
            fields.refuse("name", None, &format!("must be {rule}"));
            None
        }
    }
}

fn take_kind(fields: &mut Fields<'_>) -> Option<CredentialKind> {
    let node = fields.require("kind")?;
    let kind = match &node.value {
        Value::Text(text) => CredentialKind::parse(text),
        _ => None,
    };
    if kind.is_none() {
        let names: Vec<String> = KINDS.iter().map(|it| format!("`{}`", it.name)).collect();
        fields.refuse(
            "kind",
            None,
            &format!("must be one of {}", names.join(", ")),
        );
    }
    kind
}

fn take_value(
    fields: &mut Fields<'_>,
    spec: &FieldSpec,
    check: CheckValue<'_>,
) -> Option<SecretText> {
    let node = fields.take(spec.name)?;
    let kind = node.kind();
    let Value::Text(text) = node.value else {
        fields.refuse(spec.name, None, &format!("must be text, found {kind}"));
        return None;
    };
    let text = SecretText::new(text);
    let checked = check_value(text.reveal(), spec.form, check);
    checked
        .map_err(|why| fields.refuse(spec.name, None, &why))
        .ok()
        .map(|()| text)
}

fn check_value(text: &str, form: Form, check: CheckValue<'_>) -> Result<(), String> {
    if text.len() > CREDENTIAL_VALUE_BYTES_MAX {
        return Err(format!("is longer than {CREDENTIAL_VALUE_BYTES_MAX} bytes"));
    }
    if text.contains('\0') {
        return Err("holds a NUL byte, which no program can be given".into());
    }
    if form == Form::PrivateKey {
        check_private_key(text)?;
    }
    check(text).map_err(|why| format!("can't be kept out of logs: {why}"))
}

fn take_shown(fields: &mut Fields<'_>, spec: &FieldSpec) -> Option<String> {
    let node = fields.take(spec.name)?;
    let good = |it: &String| match spec.form {
        Form::Word => is_credential_name(it),
        Form::Address => is_address(it),
        _ => is_user(it),
    };
    match node.value {
        Value::Text(text) if good(&text) => Some(text),
        _ => {
            let rule = match spec.form {
                Form::Word => credential_name_rule(),
                Form::Address => format!(
                    "an address such as https://git.example.org, without a login, of {CREDENTIAL_SHOWN_BYTES_MAX} characters at most"
                ),
                _ => format!(
                    "1 to {CREDENTIAL_SHOWN_BYTES_MAX} characters without spaces, `:` and control characters, not beginning with `-`"
                ),
            };
            fields.refuse(spec.name, None, &format!("must be {rule}"));
            None
        }
    }
}

/// A user as ssh, https and sudo are given one: nothing that would end it there,
/// or be taken for an option.
fn is_user(text: &str) -> bool {
    (1..=CREDENTIAL_SHOWN_BYTES_MAX).contains(&text.len())
        && !text.starts_with('-')
        && text
            .chars()
            .all(|it| !it.is_whitespace() && !it.is_control() && it != ':')
}

/// The address of a web site: whose, and where below it. Where it leads is judged when it is
/// called.
fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://");
    let rest = rest.or_else(|| text.strip_prefix("http://"));
    let odd = |it: u8| !it.is_ascii_graphic() || b"\\\"<>^`{|}?#@".contains(&it);
    let begins = |it: &str| it.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '[');
    text.len() <= CREDENTIAL_SHOWN_BYTES_MAX
        && rest.is_some_and(|it| begins(it) && !it.bytes().any(odd))
}

/// What must be there together, and what mustn't.
fn check_together(fields: &mut Fields<'_>, spec: &KindSpec, given: &dyn Fn(&str) -> bool) {
    let found: Vec<&str> = spec.one_of.iter().copied().filter(|it| given(it)).collect();
    match (found.as_slice(), spec.one_of) {
        ([], [only]) => fields.refuse(only, None, "is missing"),
        ([], [first, rest @ ..]) => {
            let others: Vec<String> = rest.iter().map(|it| format!("`{it}`")).collect();
            fields.refuse(
                first,
                None,
                &format!("or {} must be given", others.join(", ")),
            );
        }
        ([first, second, ..], _) => {
            fields.refuse(second, None, &format!("and `{first}` can't both be given"));
        }
        _ => {}
    }
    for field in spec.fields.iter().filter(|it| given(it.name)) {
        if let Some(needs) = field.needs.filter(|it| !given(it)) {
            fields.refuse(needs, None, &format!("must be given with `{}`", field.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    const KEY: &str =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n";

    /// The pointers of the mistakes; none of their texts holds a value.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a case is written where it is checked"
    )]
    fn check(body: Json, pointers: &[&str]) {
        let long_enough = |it: &str| (it.len() >= 8).then_some(()).ok_or("too short".to_owned());
        let found = read_credential(&body, None, &long_enough).map_or_else(|it| it, |_| Vec::new());
        assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
        let found: Vec<&str> = found.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{body}");
    }

    #[test]
    fn every_kind_can_be_read() {
        for body in [
            json!({"name": "a", "kind": "ssh_key", "private_key": KEY, "passphrase": "hunter2-hunter2", "username": "deploy"}),
            json!({"name": "a", "kind": "password", "password": "hunter2-hunter2"}),
            json!({"name": "a", "kind": "become", "password": "hunter2-hunter2", "method": "sudo", "username": "root"}),
            json!({"name": "a", "kind": "vault_password", "password": "hunter2-hunter2", "vault_id": "prod"}),
            json!({"name": "a", "kind": "git", "username": "oauth2", "password": "hunter2-hunter2"}),
            json!({"name": "a", "kind": "git", "private_key": KEY}),
            json!({"name": "a", "kind": "nexus_token", "username": "ci", "password": "hunter2-hunter2"}),
            json!({"name": "a", "kind": "nexus_token", "token": "hunter2-hunter2"}),
        ] {
            check(body, &[]);
        }
    }

    #[test]
    fn every_mistake_is_found_at_once_and_no_value_is_repeated() {
        check(
            json!({"name": "a b", "kind": "ssh_key", "private_key": "hunter2-hunter2", "passphrase": "hunter2", "username": "-oProxyCommand=hunter2", "vault_id": "x"}),
            &[
                "/name",
                "/private_key",
                "/passphrase",
                "/username",
                "/vault_id",
            ],
        );
        check(
            json!({"kind": "password", "password": 12_345_678}),
            &["/name", "/password"],
        );
        check(json!({"name": "a", "kind": "hunter2"}), &["/kind"]);
        check(json!({"name": "a"}), &["/kind"]);
        check(json!("hunter2"), &[""]);
        let long = "h".repeat(CREDENTIAL_VALUE_BYTES_MAX + 1);
        check(
            json!({"name": "a", "kind": "password", "password": long}),
            &["/password"],
        );
        check(
            json!({"name": "a", "kind": "password", "password": "hunter2\0hunter2"}),
            &["/password"],
        );
    }

    #[test]
    fn fields_that_belong_together_or_apart_are_told() {
        let value = "hunter2-hunter2";
        check(json!({"name": "a", "kind": "password"}), &["/password"]);
        check(json!({"name": "a", "kind": "git"}), &["/password"]);
        check(
            json!({"name": "a", "kind": "git", "password": value}),
            &["/username"],
        );
        check(
            json!({"name": "a", "kind": "git", "password": value, "private_key": KEY, "username": "u"}),
            &["/private_key"],
        );
        check(
            json!({"name": "a", "kind": "git", "password": value, "username": "u", "passphrase": value}),
            &["/private_key"],
        );
        check(
            json!({"name": "a", "kind": "nexus_token", "password": value, "token": value, "username": "u"}),
            &["/token"],
        );
    }
}
