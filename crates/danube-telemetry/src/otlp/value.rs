//! Attributes, and who they describe: the resource and scope of every message.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// An attribute: its key, as the conventions write it, and its value.
pub type Attribute = (Cow<'static, str>, Value);

/// Who sends: the same in every message of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Attributes of the resource: `service.name`, `service.instance.id`, …
    pub resource: Vec<Attribute>,
    /// Name of the scope of metrics and spans; a log record's scope is its logger.
    pub scope: &'static str,
    /// Version of all scopes.
    pub version: &'static str,
}

impl Source {
    pub(super) fn proto_resource(&self) -> Resource {
        let attributes = self.resource.iter().map(|(key, value)| pair(key, value));
        Resource {
            attributes: attributes.collect(),
            ..Resource::default()
        }
    }

    pub(super) fn proto_scope(&self) -> InstrumentationScope {
        self.proto_scope_of(self.scope)
    }

    pub(super) fn proto_scope_of(&self, name: &str) -> InstrumentationScope {
        InstrumentationScope {
            name: name.to_owned(),
            version: self.version.to_owned(),
            ..InstrumentationScope::default()
        }
    }
}

pub(crate) fn pair(key: &str, value: &Value) -> KeyValue {
    let kind = match value {
        Value::Text(it) => Kind::StringValue(it.clone()),
        Value::Int(it) => Kind::IntValue(*it),
        Value::Float(it) => Kind::DoubleValue(*it),
        Value::Bool(it) => Kind::BoolValue(*it),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(kind) }),
        ..KeyValue::default()
    }
}

pub(super) fn text(value: impl Into<String>) -> AnyValue {
    AnyValue {
        value: Some(Kind::StringValue(value.into())),
    }
}
