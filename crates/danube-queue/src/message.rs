//! What an entry of a stream says.

use std::collections::HashMap;

use danube_model::JobId;
use redis::{FromRedisValue, Value};

/// A job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub job: JobId,
    /// Its W3C trace context.
    pub traceparent: String,
}

/// The field with the job's id.
const JOB: &str = "job";

/// The field with its trace context; its name is that of the header (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";

impl Message {
    /// As fields and values.
    pub(crate) fn fields(&self) -> [(&'static str, String); 2] {
        [
            (JOB, self.job.to_string()),
            (TRACEPARENT, self.traceparent.clone()),
        ]
    }

    /// From fields; none for what isn't one of ours.
    pub(crate) fn of(fields: &HashMap<String, Value>) -> Option<Self> {
        let text = |name| {
            let value = fields.get(name)?;
            String::from_redis_value_ref(value).ok()
        };
        Some(Self {
            job: text(JOB)?.parse().ok()?,
            traceparent: text(TRACEPARENT).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_from_its_fields_and_nothing_else_does() {
        let message = Message {
            job: JobId::new(),
            traceparent: "00-11-22-01".to_owned(),
        };
        let mut fields: HashMap<String, Value> = message
            .fields()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::BulkString(value.into_bytes())))
            .collect();
        assert_eq!(Message::of(&fields), Some(message));
        fields.insert(JOB.to_owned(), Value::BulkString(b"../../etc".to_vec()));
        assert_eq!(Message::of(&fields), None);
        assert_eq!(Message::of(&HashMap::new()), None);
    }
}
