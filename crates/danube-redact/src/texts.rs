//! Redacts whole short texts one after the other, as a server's log has them: what is
//! needed for that is kept, and a text with nothing to hide costs no allocation.

use std::borrow::Cow;
use std::sync::Arc;

use crate::engine::{Engine, Scan};
use crate::{Secrets, ranges};

/// Keeps what redacting a text needs. Not for sharing: each thread makes its own.
pub struct Texts {
    secrets: Secrets,
    engine: Arc<Engine>,
    version: u64,
    room: Scan,
}

impl Texts {
    /// For texts under `secrets`, and whatever is registered there later.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let (engine, version) = secrets.engine();
        Self {
            secrets: secrets.clone(),
            engine,
            version,
            room: Scan::default(),
        }
    }

    /// As [`Secrets::redact`]; borrowed where there is nothing to hide.
    pub fn redact<'t>(&mut self, whole: &'t str) -> Cow<'t, str> {
        self.take_new_values();
        if ranges::ranges(&self.engine, whole.as_bytes(), &mut self.room).is_empty() {
            return Cow::Borrowed(whole);
        }
        Cow::Owned(self.secrets.redact(whole))
    }

    /// Whether [`Texts::redact`] may change `text` or anything that stands in it as
    /// one piece. A quick look: `true` where nothing is hidden happens.
    pub fn may_hold(&mut self, text: &str) -> bool {
        self.take_new_values();
        self.engine.may_hold(text.as_bytes(), &mut self.room)
    }

    fn take_new_values(&mut self) {
        if self.secrets.version() != self.version {
            (self.engine, self.version) = self.secrets.engine();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rules, UserRule};

    fn rules() -> Rules {
        let rule = UserRule {
            id: "acme".to_owned(),
            keyword: "acm".to_owned(),
            pattern: r"acm$".to_owned(),
            case_sensitive: false,
        };
        let rules = Rules::builtin().with_email();
        rules.with_user(&[rule]).expect("no mistakes")
    }

    #[test]
    fn a_text_with_nothing_to_hide_is_borrowed_and_others_are_as_elsewhere() {
        let secrets = Secrets::new(rules());
        let mut texts = Texts::new(&secrets);
        secrets.register(b"registered-later").unwrap();
        for text in [
            "",
            "x",
            "build-and-test",
            "pwd is no secret",
            "é\u{1b}[1mbold",
        ] {
            assert!(
                matches!(texts.redact(text), Cow::Borrowed(it) if it == text),
                "{text}"
            );
        }
        for text in [
            "registered-later",
            "a registered-\u{1b}[31mlater b",
            "password=hunter2",
            "to me@example.org",
            "ends in acm",
        ] {
            let redacted = texts.redact(text);
            assert_eq!(redacted, secrets.redact(text));
            assert!(redacted.contains(crate::MASK), "{redacted}");
        }
    }

    #[test]
    fn a_line_is_suspected_when_a_value_in_it_would_be_changed() {
        let secrets = Secrets::new(rules());
        secrets.register(b"registered").unwrap();
        let mut texts = Texts::new(&secrets);
        let values = [
            "registered",
            "cmVnaXN0ZXJlZA==",
            "pwd=x",
            "--password x",
            "https://u:p@h",
            "a@b.cc",
            "acm",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
            "Bearer abcdefghijklmnop",
        ];
        for value in values {
            let hidden = texts.redact(value) != value;
            let line = format!("{{\"a\":\"x\",\"b\":\"{value}\"}}");
            assert!(hidden, "{value}");
            assert!(texts.may_hold(&line), "{line}");
            assert!(texts.may_hold(value), "{value}");
        }
        assert!(!texts.may_hold(r#"{"event":"job_started","api_key_name":"ci","n":1}"#));
    }
}
