//! Which of the spans that a job's tools sent belong to which attempt: each is exported
//! with its own, once.

use std::collections::{HashMap, HashSet};

use danube_telemetry::trace::proto::{ResourceSpans, Span};
use danube_telemetry::trace::spans;

/// Those of the received spans that belong to the attempt with these spans of the server.
/// `all` are the server's spans of every attempt. What hangs below no span of the server is
/// the attempt's in which it began.
pub(super) fn of_attempt(
    mut received: Vec<ResourceSpans>,
    attempt: &[Span],
    all: &[ResourceSpans],
) -> Vec<ResourceSpans> {
    let own: HashSet<&[u8]> = attempt.iter().map(|it| &it.span_id[..]).collect();
    let server: HashSet<&[u8]> = spans(all).map(|it| &it.span_id[..]).collect();
    let time = attempt.first().map_or((0, u64::MAX), |it| {
        (it.start_time_unix_nano, it.end_time_unix_nano)
    });
    let tops = tops(&received);
    let belongs = |span: &Span| {
        let top = &tops[&span.span_id][..];
        if own.contains(top) || server.contains(top) {
            return own.contains(top);
        }
        (time.0..=time.1).contains(&span.start_time_unix_nano)
    };
    for scope in received.iter_mut().flat_map(|it| &mut it.scope_spans) {
        scope.spans.retain(belongs);
    }
    for it in &mut received {
        it.scope_spans.retain(|it| !it.spans.is_empty());
    }
    received.retain(|it| !it.scope_spans.is_empty());
    received
}

/// By span: the first above it that was not received, or none.
fn tops(received: &[ResourceSpans]) -> HashMap<Vec<u8>, Vec<u8>> {
    let parents: HashMap<&[u8], &[u8]> = spans(received)
        .map(|it| (&it.span_id[..], &it.parent_span_id[..]))
        .collect();
    let mut tops: HashMap<&[u8], &[u8]> = HashMap::new();
    for start in parents.keys() {
        let (mut path, mut at) = (Vec::new(), *start);
        let top = loop {
            if let Some(known) = tops.get(at) {
                break *known;
            }
            let Some(parent) = parents.get(at) else {
                break at;
            };
            // Those in a circle lead nowhere.
            path.push(at);
            tops.insert(at, &[]);
            at = parent;
        };
        tops.extend(path.into_iter().map(|it| (it, top)));
    }
    let owned = |(span, top): (&[u8], &[u8])| (span.to_vec(), top.to_vec());
    tops.into_iter().map(owned).collect()
}

#[cfg(test)]
mod tests {
    use danube_telemetry::trace::proto::ScopeSpans;

    use super::*;

    /// Id, parent (0 for none), from, to.
    fn span((id, parent, from, to): (u8, u8, u64, u64)) -> Span {
        Span {
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 {
                Vec::new()
            } else {
                vec![parent; 8]
            },
            start_time_unix_nano: from,
            end_time_unix_nano: to,
            ..Span::default()
        }
    }

    fn message(all: &[(u8, u8, u64, u64)]) -> Vec<ResourceSpans> {
        vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: all.iter().map(|it| span(*it)).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }]
    }

    #[test]
    fn each_goes_with_the_attempt_that_it_hangs_below_or_began_in() {
        let (first, second) = ([(1, 0, 10, 20), (2, 1, 11, 19)], [(3, 0, 30, 40)]);
        let all = message(&[&first[..], &second].concat());
        let received = message(&[
            (10, 2, 12, 18),
            (11, 10, 12, 13),
            // Late, but the first's.
            (12, 2, 35, 36),
            (20, 3, 31, 32),
            // Below nothing that is known, and in a circle.
            (30, 99, 15, 16),
            (31, 0, 39, 60),
            (32, 33, 35, 36),
            (33, 32, 35, 36),
        ]);
        let of = |attempt: &[(u8, u8, u64, u64)]| -> Vec<u8> {
            let attempt: Vec<Span> = attempt.iter().map(|it| span(*it)).collect();
            let found = of_attempt(received.clone(), &attempt, &all);
            spans(&found).map(|it| it.span_id[0]).collect()
        };
        assert_eq!(of(&first), [10, 11, 12, 30]);
        assert_eq!(of(&second), [20, 31, 32, 33]);
    }
}
