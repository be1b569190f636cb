//! An inventory in Ansible's oldest form: hosts below `[groups]`, as Ansible's plugin `ini`
//! reads it, but for ranges of hosts and for lists and maps in Python's notation.

use serde_json::{Map, Number, Value, json};

/// A line that can't be read: its number, from 1, and why. Never what stands there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) why: &'static str,
}

/// What the lines of a section are.
#[derive(Clone, Copy)]
enum Section {
    Hosts,
    Vars,
    Children,
}

/// The groups in a file, in the form that they have in YAML.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, Wrong> {
    let mut groups = Map::new();
    let (mut group, mut section) = ("ungrouped".to_owned(), Section::Hosts);
    for (index, line) in text.lines().enumerate() {
        let wrong = |why| Wrong {
            line: index + 1,
            why,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            (group, section) = head(line).map_err(wrong)?;
            own(&mut groups, &group);
            continue;
        }
        let own = own(&mut groups, &group);
        match section {
            Section::Hosts => {
                let (host, vars) = host(line).map_err(wrong)?;
                let known = own["hosts"]
                    .as_object_mut()
                    .and_then(|it| it.get_mut(&host));
                match known.and_then(Value::as_object_mut) {
                    Some(known) => known.extend(vars),
                    None => own["hosts"][host] = vars.into(),
                }
            }
            Section::Vars => {
                let pair = line.split_once('=');
                let (name, text) = pair.ok_or_else(|| wrong("must be NAME=VALUE"))?;
                own["vars"][name.trim()] = value(text.trim()).map_err(wrong)?;
            }
            Section::Children => {
                let name = line.split('#').next().unwrap_or_default().trim();
                own["children"][name] = json!({});
            }
        }
    }
    Ok(groups)
}

fn own<'a>(groups: &'a mut Map<String, Value>, name: &str) -> &'a mut Value {
    let none = || json!({"hosts": {}, "vars": {}, "children": {}});
    groups.entry(name).or_insert_with(none)
}

/// `[GROUP]`, `[GROUP:vars]` or `[GROUP:children]`, and perhaps a comment.
fn head(line: &str) -> Result<(String, Section), &'static str> {
    let why = "must be [GROUP], [GROUP:vars] or [GROUP:children]";
    let (inner, rest) = line[1..].split_once(']').ok_or(why)?;
    let rest = rest.trim_start();
    let (name, word) = match inner.split_once(':') {
        Some((name, word)) => (name, Some(word)),
        None => (inner, None),
    };
    let section = match word {
        None | Some("hosts") => Section::Hosts,
        Some("vars") => Section::Vars,
        Some("children") => Section::Children,
        Some(_) => return Err(why),
    };
    let fits = !name.is_empty() && !name.contains(char::is_whitespace);
    if !fits || !(rest.is_empty() || rest.starts_with('#')) {
        return Err(why);
    }
    Ok((name.to_owned(), section))
}

/// A host, with variables behind it.
fn host(line: &str) -> Result<(String, Map<String, Value>), &'static str> {
    let mut words = words(line)?.into_iter();
    let name = words.next().ok_or("names no host")?;
    if name.contains('[') {
        return Err("holds a range of hosts, which isn't taken");
    }
    let mut vars = Map::new();
    for word in words {
        let pair = word.split_once('=');
        let (name, text) = pair.ok_or("must be a host with NAME=VALUE behind it")?;
        vars.insert(name.to_owned(), value(text)?);
    }
    Ok((name, vars))
}

/// The words of a line as a shell splits them; `#` begins a comment.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(it) = rest.next() {
        match it {
            '#' => break,
            it if it.is_whitespace() => words.extend(word.take()),
            '\\' => {
                let next = rest.next().ok_or("ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    let within = rest.next().ok_or("has a quote that isn't closed")?;
                    match within {
                        within if within == it => break,
                        '\\' if it == '"' => {
                            let next = rest.next().ok_or("has a quote that isn't closed")?;
                            if !matches!(next, '"' | '\\') {
                                word.push('\\');
                            }
                            word.push(next);
                        }
                        within => word.push(within),
                    }
                }
            }
            it => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What Python would take the text for, where it is a literal; else text.
fn value(text: &str) -> Result<Value, &'static str> {
    match text {
        "True" => return Ok(true.into()),
        "False" => return Ok(false.into()),
        "None" => return Ok(Value::Null),
        _ => {}
    }
    if text.starts_with(['[', '{', '(']) {
        return Err("has a list or a map in Python's notation, which isn't taken");
    }
    let quoted = |quote: char| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains([quote, '\\'])).then_some(inner)
    };
    if let Some(inner) = quoted('\'').or_else(|| quoted('"')) {
        return Ok(inner.into());
    }
    Ok(number(text).map_or_else(|| text.into(), Value::Number))
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    // Python takes no number that begins with a 0, but for 0 itself and 0.5.
    let has_zero =
        digits.starts_with('0') && digits[1..].starts_with(|it: char| it.is_ascii_digit());
    let numeric = |it: u8| it.is_ascii_digit() || b".eE+-".contains(&it);
    let begins = digits.starts_with(|it: char| it.is_ascii_digit() || it == '.');
    if has_zero || !begins || !digits.bytes().all(numeric) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_groups_and_variables_are_those_that_ansible_reads() {
        let text = "lone ansible_host=192.0.2.1\n; no\n# no\n\n[web] # the web\nw1 ansible_port=22 name='a b' mode=0644 # x\n\
            w2:2222 on=True off=no rate=1.5 note=\"it\\\"s\"\nw1 more=-7\n[web:vars]\nroot = /srv/a b\nsay = \"hi # there\"\n\
            [site:children]\nweb\n[all:vars]\nnone=None\n";
        let expected = json!({
            "ungrouped": {"hosts": {"lone": {"ansible_host": "192.0.2.1"}}, "vars": {}, "children": {}},
            "web": {"hosts": {
                "w1": {"ansible_port": 22, "name": "a b", "mode": "0644", "more": -7},
                "w2:2222": {"on": true, "off": "no", "rate": 1.5, "note": "it\"s"},
            }, "vars": {"root": "/srv/a b", "say": "hi # there"}, "children": {}},
            "site": {"hosts": {}, "vars": {}, "children": {"web": {}}},
            "all": {"hosts": {}, "vars": {"none": null}, "children": {}},
        });
        assert_eq!(Value::Object(parse(text).unwrap()), expected);
    }

    #[test]
    fn what_it_does_not_take_is_told_by_its_line() {
        for (text, line) in [
            ("[web\n", 1),
            ("[web:hostz]\n", 1),
            ("[a b]\n", 1),
            ("web[1:9]\n", 1),
            ("a\nb hush\n", 2),
            ("a x='hush\n", 1),
            ("[g:vars]\nx=['a']\n", 2),
            ("[g:vars]\nhush\n", 2),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
