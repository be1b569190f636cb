//! What Ansible takes a word in a YAML file for: it reads YAML 1.1, where `yes` is true and
//! `0644` is 420. A variable that came to it as another value would silently do something else.

use super::document::{Node, Value};

/// What a scalar is; `tag` is what stands before it, without its `!`.
pub(super) fn scalar(text: &str, is_plain: bool, tag: Option<&str>) -> Value {
    match tag {
        // How Ansible writes the two in JSON, and reads them there.
        Some("vault" | "vault-encrypted") => return tagged("__ansible_vault", text),
        Some("unsafe") => return tagged("__ansible_unsafe", text),
        Some(_) => return Value::Text(text.to_owned()),
        None if !is_plain => return Value::Text(text.to_owned()),
        None => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let number = integer(text).map(Value::Integer);
    let number = number.or_else(|| float(text).map(Value::Float));
    number.unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn tagged(name: &str, text: &str) -> Value {
    let node = |text: &str| Node {
        at: None,
        value: Value::Text(text.to_owned()),
    };
    Value::Map(vec![(node(name), node(text))])
}

/// Decimal, with a `0` octal, `0x` and `0b`, and minutes and hours (`1:30` is 90); `_` may
/// stand between digits.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) if text.starts_with('-') => (-1, rest),
        Some(rest) => (1, rest),
        None => (1, text),
    };
    if !digits.starts_with(|it: char| it.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let of = |digits: &str, radix| {
        let fits = |it: char| it.is_digit(radix);
        let is_one = !digits.is_empty() && digits.chars().all(fits);
        is_one.then(|| i64::from_str_radix(digits, radix).ok())?
    };
    let number = match digits.as_str() {
        "0" => 0,
        it if it.starts_with("0x") => of(&it[2..], 16)?,
        it if it.starts_with("0b") => of(&it[2..], 2)?,
        it if it.starts_with('0') => of(&it[1..], 8)?,
        it if it.contains(':') => sixties(it)?,
        it => of(it, 10)?,
    };
    Some(sign * number)
}

fn sixties(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let first: i64 = parts.next()?.parse().ok()?;
    parts.try_fold(first, |sum, part| {
        let fits = part.len() <= 2 && part.bytes().all(|it| it.is_ascii_digit());
        let part: i64 = part.parse().ok().filter(|it| fits && *it < 60)?;
        sum.checked_mul(60)?.checked_add(part)
    })
}

/// With a point; an exponent needs its sign.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, part) = mantissa.split_once('.')?;
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit() || it == b'_');
    let is_signed = |it: &str| {
        let rest = it.strip_prefix(['-', '+']);
        rest.is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
    };
    let begins = whole.starts_with(|it: char| it.is_ascii_digit())
        || (whole.is_empty() && part.starts_with(|it: char| it.is_ascii_digit()));
    let fits = begins && digits(whole) && digits(part) && exponent.is_none_or(is_signed);
    fits.then(|| text.replace('_', "").parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_what_ansible_takes_them_for() {
        let check = |text: &str, expected: Value| {
            assert_eq!(scalar(text, true, None), expected, "{text}");
        };
        for (text, expected) in [("yes", true), ("Off", false), ("True", true), ("no", false)] {
            check(text, Value::Bool(expected));
        }
        for (text, expected) in [
            ("0644", 420),
            ("0x1F", 31),
            ("1_000", 1_000),
            ("-7", -7),
            ("0b11", 3),
            ("1:30", 90),
            ("0", 0),
        ] {
            check(text, Value::Integer(expected));
        }
        check("1.5", Value::Float(1.5));
        check("1.5e+3", Value::Float(1_500.0));
        for text in [
            "y",
            "1e3",
            "1.2.3",
            "0.1.0",
            "8080:80",
            "09",
            "nope",
            "_1",
            ".",
            "2026-01-31",
            "::1",
        ] {
            check(text, Value::Text(text.to_owned()));
        }
        assert_eq!(scalar("yes", false, None), Value::Text("yes".to_owned()));
    }

    #[test]
    fn what_is_sealed_stays_sealed() {
        let text =
            "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  61\nb: !unsafe '{{ x }}'\nc: 'no'\n";
        let json = Node::parse_for_ansible(text).unwrap().to_json().unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "a": {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n61\n"},
                "b": {"__ansible_unsafe": "{{ x }}"},
                "c": "no",
            })
        );
    }
}
