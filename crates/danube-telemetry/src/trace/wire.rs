//! Spans on their way from one process of ours to another.

use prost::Message;

use super::proto::{ResourceSpans, ScopeSpans, Span, TracesData};

/// The spans as OTLP's `TracesData`.
#[must_use]
pub fn encode(spans: Vec<Span>) -> Vec<u8> {
    let data = TracesData {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    data.encode_to_vec()
}

/// The spans of a `TracesData`; none when it isn't one.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<Span>> {
    let data = TracesData::decode(bytes).ok()?;
    let scopes = data
        .resource_spans
        .into_iter()
        .flat_map(|it| it.scope_spans);
    Some(scopes.flat_map(|it| it.spans).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_survive_the_wire_and_nonsense_is_refused() {
        let span = Span {
            trace_id: vec![1; 16],
            name: "a".to_owned(),
            ..Span::default()
        };
        assert_eq!(decode(&encode(vec![span.clone()])), Some(vec![span]));
        assert_eq!(decode(b"\xff\xff"), None);
    }
}
