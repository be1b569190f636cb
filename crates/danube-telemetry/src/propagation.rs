//! Carries a place in a trace from one process to another: as headers of a request or a
//! call, or as fields of a message. The names are the same everywhere.

use crate::TraceContext;
use crate::context::{baggage, tracestate};

/// Where in which trace.
pub const TRACEPARENT: &str = "traceparent";

/// What tracing systems on the way have added.
pub const TRACESTATE: &str = "tracestate";

/// What the caller wants everybody below to know. It may hold secrets.
pub const BAGGAGE: &str = "baggage";

/// What travels.
#[derive(Clone, PartialEq, Eq)]
pub struct Propagated {
    /// The place of whoever sends it.
    pub context: TraceContext,
    /// A right `tracestate`.
    pub state: Option<String>,
    /// A right `baggage`.
    pub baggage: Option<String>,
}

impl std::fmt::Debug for Propagated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Propagated")
            .field("context", &self.context)
            .field("state", &self.state)
            // Whether it is there, for what it says is nobody's business.
            .field("baggage", &self.baggage.as_ref().map(|_| "..."))
            .finish()
    }
}

impl Propagated {
    /// What was sent, from all values under each name. None when there isn't exactly one
    /// `traceparent` and that a right one: then a new trace begins, and the rest counts for
    /// nothing. A `tracestate` or `baggage` that isn't right is as good as none.
    pub fn extract<'a, I>(get_all: impl Fn(&'static str) -> I) -> Option<Self>
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        let mut parents = get_all(TRACEPARENT).into_iter();
        let one = parents.next().filter(|_| parents.next().is_none())?;
        let joined = |name| {
            let values = get_all(name).into_iter().map(std::str::from_utf8);
            // One that isn't text makes all of them wrong.
            let values: Vec<&str> = values.collect::<Result<_, _>>().ok()?;
            Some(values.join(","))
        };
        Some(Self {
            context: TraceContext::parse(std::str::from_utf8(one).ok()?)?,
            state: joined(TRACESTATE).as_deref().and_then(tracestate),
            baggage: joined(BAGGAGE).as_deref().and_then(baggage),
        })
    }

    /// Writes it where whoever gets it looks. All values are printable ASCII.
    pub fn inject(&self, mut set: impl FnMut(&'static str, &str)) {
        set(TRACEPARENT, &self.context.to_string());
        if let Some(state) = &self.state {
            set(TRACESTATE, state);
        }
        if let Some(baggage) = &self.baggage {
            set(BAGGAGE, baggage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn extract(sent: &[(&str, &[u8])]) -> Option<Propagated> {
        Propagated::extract(|name| {
            let found = sent.iter().filter(move |it| it.0 == name);
            found.map(|it| it.1)
        })
    }

    #[test]
    fn what_is_written_is_read_again() {
        let sent = Propagated {
            context: TraceContext::parse(GOOD).unwrap(),
            state: Some("rojo=1,t@v=2".to_owned()),
            baggage: Some("tenant=acme,user=eve%20b;p=1".to_owned()),
        };
        let mut fields: Vec<(&str, Vec<u8>)> = Vec::new();
        sent.inject(|name, value| fields.push((name, value.into())));
        let fields: Vec<(&str, &[u8])> = fields.iter().map(|it| (it.0, &it.1[..])).collect();
        assert_eq!(extract(&fields), Some(sent.clone()));
        assert!(!format!("{sent:?}").contains("acme"));
        let bare = Propagated {
            state: None,
            baggage: None,
            ..sent
        };
        let mut names = Vec::new();
        bare.inject(|name, _| names.push(name));
        assert_eq!(names, [TRACEPARENT]);
    }

    #[test]
    fn values_under_one_name_are_one_list_but_there_is_one_parent() {
        let parent = (TRACEPARENT, GOOD.as_bytes());
        let states: [(&str, &[u8]); 2] = [(TRACESTATE, b"a=1"), (TRACESTATE, b"b=2, c=3")];
        let read = extract(&[parent, states[0], states[1]]).unwrap();
        assert_eq!(read.state.as_deref(), Some("a=1,b=2,c=3"));
        assert_eq!(read.baggage, None);
        assert_eq!(extract(&[parent, parent]), None);
        assert_eq!(extract(&states), None);
    }

    #[test]
    fn what_is_wrong_is_as_good_as_none() {
        let parent = (TRACEPARENT, GOOD.as_bytes());
        for wrong in [
            &b"\xff"[..],
            b"a=\x00",
            b"no-value",
            b"",
            "a=\u{e9}".as_bytes(),
        ] {
            let sent = [parent, (TRACESTATE, wrong), (BAGGAGE, wrong)];
            let read = extract(&sent).unwrap();
            assert_eq!((read.state, read.baggage), (None, None), "{wrong:?}");
            assert_eq!(extract(&[(TRACEPARENT, wrong)]), None, "{wrong:?}");
            let sent = [parent, (TRACESTATE, b"a=1"), (TRACESTATE, wrong)];
            let state = extract(&sent).unwrap().state;
            assert_eq!(state.is_some(), wrong.is_empty(), "{wrong:?}");
        }
    }
}
