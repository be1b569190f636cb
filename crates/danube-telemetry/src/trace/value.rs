//! Attributes of OTLP, made and read.

use super::proto::{AnyValue, KeyValue, Value};
use crate::context::hex_into;
use crate::otlp;

/// An attribute.
pub fn pair(key: &str, value: impl Into<otlp::Value>) -> KeyValue {
    otlp::pair(key, &value.into())
}

/// The value of an attribute, if it is there.
pub fn attribute<'a>(all: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = all.iter().find(|it| it.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

/// The text of an attribute that is a text.
pub fn text_of<'a>(all: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attribute(all, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The number of an attribute that is a number.
pub fn number_of(all: &[KeyValue], key: &str) -> Option<f64> {
    match attribute(all, key)? {
        #[expect(clippy::cast_precision_loss, reason = "to be shown")]
        Value::IntValue(number) => Some(*number as f64),
        Value::DoubleValue(number) => Some(*number),
        _ => None,
    }
}

/// An id, or any bytes, as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    hex_into(bytes, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A value on one line, as a person reads it: numbers and texts as they are, lists and
/// maps as JSON.
pub fn shown(value: &AnyValue) -> String {
    match &value.value {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(it)) => it.to_string(),
        Some(Value::IntValue(it)) => it.to_string(),
        Some(Value::DoubleValue(it)) => it.to_string(),
        Some(Value::BytesValue(it)) => hex(it),
        Some(other) => serde_json::to_string(other).unwrap_or_default(),
    }
}
