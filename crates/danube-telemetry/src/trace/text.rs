//! Every text of a span that comes from outside, in one place: whoever takes secrets
//! out of spans can't forget one.

use super::proto::{AnyValue, Event, KeyValue, Link, ResourceSpans, Span, Value};

/// How deep lists and maps are nested at most; what is below is dropped. OTLP sets no
/// limit, and no tool is known to nest more than two.
const DEPTH_MAX: usize = 8;

/// Shown to whoever asks for a text that has no key of its own.
const NAME: &str = "name";

/// Gives every text to `act`, with the key of its attribute, or with what it is: names,
/// keys, versions, addresses of schemas, trace states and messages too. What comes out of it
/// is the same again when it was written as OTLP JSON and read.
pub fn each_text(all: &mut ResourceSpans, act: &mut dyn FnMut(&str, &mut String)) {
    act("schema_url", &mut all.schema_url);
    if let Some(resource) = &mut all.resource {
        attributes(&mut resource.attributes, act);
        for reference in &mut resource.entity_refs {
            act("schema_url", &mut reference.schema_url);
            act("type", &mut reference.r#type);
            let keys = reference.id_keys.iter_mut();
            keys.chain(&mut reference.description_keys)
                .for_each(|it| act("key", it));
        }
    }
    for scope in &mut all.scope_spans {
        act("schema_url", &mut scope.schema_url);
        if let Some(it) = &mut scope.scope {
            act(NAME, &mut it.name);
            act("version", &mut it.version);
            attributes(&mut it.attributes, act);
        }
        scope.spans.iter_mut().for_each(|it| span(it, act));
    }
}

fn span(it: &mut Span, act: &mut dyn FnMut(&str, &mut String)) {
    act(NAME, &mut it.name);
    act("trace_state", &mut it.trace_state);
    attributes(&mut it.attributes, act);
    for Event {
        name,
        attributes: own,
        ..
    } in &mut it.events
    {
        act(NAME, name);
        attributes(own, act);
    }
    for Link {
        trace_state,
        attributes: own,
        ..
    } in &mut it.links
    {
        act("trace_state", trace_state);
        attributes(own, act);
    }
    if let Some(status) = &mut it.status {
        act("message", &mut status.message);
    }
}

fn attributes(all: &mut [KeyValue], act: &mut dyn FnMut(&str, &mut String)) {
    for it in all {
        pair(it, DEPTH_MAX, act);
    }
}

fn pair(it: &mut KeyValue, depth: usize, act: &mut dyn FnMut(&str, &mut String)) {
    let KeyValue { key, value, .. } = it;
    if let Some(value) = value {
        any(key, value, depth, act);
    }
    act("key", key);
}

fn any(key: &str, it: &mut AnyValue, depth: usize, act: &mut dyn FnMut(&str, &mut String)) {
    let Some(depth) = depth.checked_sub(1) else {
        it.value = None;
        return;
    };
    match &mut it.value {
        Some(Value::StringValue(text)) => act(key, text),
        Some(Value::ArrayValue(all)) => {
            all.values
                .iter_mut()
                .for_each(|it| any(key, it, depth, act));
        }
        Some(Value::KvlistValue(all)) => {
            all.values.iter_mut().for_each(|it| pair(it, depth, act));
        }
        Some(Value::BytesValue(bytes)) => {
            // A secret may be hidden in bytes as well as in text.
            let Ok(mut text) = String::from_utf8(std::mem::take(bytes)) else {
                it.value = None;
                return;
            };
            act(key, &mut text);
            *bytes = text.into_bytes();
        }
        Some(Value::IntValue(number)) => {
            let text = number.to_string();
            instead(key, &text, it, act);
        }
        // JSON has no such number, and `null` would be none.
        Some(Value::DoubleValue(number)) if !number.is_finite() => {
            let text = match (number.is_nan(), *number > 0.0) {
                (true, _) => "NaN",
                (false, true) => "Infinity",
                (false, false) => "-Infinity",
            };
            it.value = Some(Value::StringValue(text.to_owned()));
        }
        Some(Value::DoubleValue(number)) => {
            let text = number.to_string();
            instead(key, &text, it, act);
        }
        Some(Value::BoolValue(_)) | None => {}
        // An index into a table of strings, which spans don't come with.
        Some(_) => it.value = None,
    }
}

/// A number whose digits are changed is one no more.
fn instead(key: &str, text: &str, it: &mut AnyValue, act: &mut dyn FnMut(&str, &mut String)) {
    let mut changed = text.to_owned();
    act(key, &mut changed);
    if changed != text {
        it.value = Some(Value::StringValue(changed));
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::{ArrayValue, KeyValueList, Resource, ScopeSpans, Status};
    use super::super::{count, pair as attribute};
    use super::*;

    const SECRET: &str = "s3cret-value-1";

    fn value(value: Value) -> KeyValue {
        KeyValue {
            key: format!("key {SECRET}"),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    fn text() -> String {
        format!("a {SECRET} b")
    }

    /// A secret wherever there can be a text.
    fn planted() -> ResourceSpans {
        let deep = |it| {
            let list = ArrayValue {
                values: vec![AnyValue { value: Some(it) }],
            };
            let map = KeyValueList {
                values: vec![value(Value::ArrayValue(list))],
            };
            value(Value::KvlistValue(map))
        };
        let attributes = || {
            vec![
                value(Value::StringValue(text())),
                value(Value::BytesValue(text().into_bytes())),
                value(Value::BytesValue(vec![0xff, 0xfe])),
                deep(Value::StringValue(text())),
                attribute("number", 12_345_678_i64),
            ]
        };
        let span = Span {
            name: text(),
            trace_state: text(),
            attributes: attributes(),
            events: vec![Event {
                name: text(),
                attributes: attributes(),
                ..Event::default()
            }],
            links: vec![Link {
                trace_state: text(),
                attributes: attributes(),
                ..Link::default()
            }],
            status: Some(Status {
                message: text(),
                code: 2,
            }),
            ..Span::default()
        };
        ResourceSpans {
            resource: Some(Resource {
                attributes: attributes(),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(super::super::proto::InstrumentationScope {
                    name: text(),
                    version: text(),
                    attributes: attributes(),
                    ..Default::default()
                }),
                spans: vec![span],
                schema_url: text(),
            }],
            schema_url: text(),
        }
    }

    #[test]
    fn no_text_is_forgotten_and_no_number_either() {
        let mut all = [planted()];
        each_text(&mut all[0], &mut |_, text| {
            *text = text.replace(SECRET, "***").replace("12345678", "***");
        });
        assert_eq!(count(&all), 1);
        let shown = format!("{all:?}");
        let json = serde_json::to_string(&all).unwrap();
        for text in [shown, json] {
            assert!(
                !text.contains("s3cret") && !text.contains("12345678"),
                "{text}"
            );
            // Bytes are shown as numbers, or in base64.
            let bytes = format!("{:?}", SECRET.as_bytes());
            assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{text}");
        }
    }

    #[test]
    fn what_went_through_is_the_same_again_from_json() {
        let mut all = planted();
        let attributes = &mut all.scope_spans[0].spans[0].attributes;
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5, 1e300] {
            attributes.push(attribute("number", number));
        }
        attributes.extend([i64::MIN, i64::MAX].map(|it| attribute("number", it)));
        attributes.push(KeyValue::default());
        let mut deep = Value::BoolValue(true);
        for _ in 0..200 {
            deep = Value::KvlistValue(KeyValueList {
                values: vec![value(deep)],
            });
        }
        attributes.push(value(deep));
        each_text(&mut all, &mut |_, _| {});
        let json = serde_json::to_string(&all).unwrap();
        let again: ResourceSpans = serde_json::from_str(&json).unwrap();
        assert_eq!(again, all);
        let not_finite = ["NaN", "Infinity", "-Infinity"];
        assert!(
            not_finite
                .iter()
                .all(|it| json.contains(&format!("{{\"stringValue\":\"{it}\"}}"))),
            "{json}"
        );
    }

    #[test]
    fn what_is_nested_too_deep_to_be_looked_at_is_dropped() {
        let mut it = Value::StringValue(text());
        for _ in 0..DEPTH_MAX + 1 {
            it = Value::ArrayValue(ArrayValue {
                values: vec![AnyValue { value: Some(it) }],
            });
        }
        let mut all = ResourceSpans {
            resource: Some(Resource {
                attributes: vec![value(it)],
                ..Resource::default()
            }),
            ..ResourceSpans::default()
        };
        each_text(&mut all, &mut |_, text| text.clear());
        assert!(!format!("{all:?}").contains(SECRET));
    }
}
