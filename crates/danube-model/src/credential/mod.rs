//! What a credential is: a name, a kind, what is shown of it, and what never is.
//!
//! [`KINDS`] is the one table of kinds; [`read_credential`] reads one from JSON
//! and finds every mistake in one pass.

mod kinds;
mod read;
mod secret_text;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

pub use kinds::{CredentialKind, FieldSpec, Form, KINDS, KindSpec, kinds_as_markdown};
pub use read::{CheckValue, read_credential};
pub use secret_text::SecretText;

use crate::limits::{CREDENTIAL_NAME_BYTES_MAX, CREDENTIAL_VALUE_BYTES_MAX};

/// A checked credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: CredentialKind,
    /// What is shown of it, by field.
    pub metadata: BTreeMap<String, String>,
    /// What is sealed, by field.
    pub values: BTreeMap<String, SecretText>,
}

impl Credential {
    /// What is shown of a field; none when it wasn't given.
    #[must_use]
    pub fn shown(&self, field: &str) -> Option<&str> {
        self.metadata.get(field).map(String::as_str)
    }

    /// A secret field; none when it wasn't given.
    #[must_use]
    pub fn secret(&self, field: &str) -> Option<&SecretText> {
        self.values.get(field)
    }

    /// The secret fields as one text, to be sealed.
    #[must_use]
    pub fn plain(&self) -> Zeroizing<Vec<u8>> {
        let fields: BTreeMap<&str, &str> = self
            .values
            .iter()
            .map(|(name, text)| (name.as_str(), text.reveal()))
            .collect();
        // With room for every byte written as `\u0000`: a buffer that grows would
        // leave a copy behind that nobody wipes.
        let room = fields
            .iter()
            .map(|(name, it)| 6 * it.len() + name.len() + 8);
        let mut plain = Zeroizing::new(Vec::with_capacity(room.sum::<usize>() + 2));
        serde_json::to_writer(&mut *plain, &fields).expect("texts can be written as JSON");
        plain
    }

    /// The secret fields from what [`Credential::plain`] wrote.
    #[must_use]
    pub fn values_of(plain: &[u8]) -> Option<BTreeMap<String, SecretText>> {
        let fields: BTreeMap<String, String> = serde_json::from_slice(plain).ok()?;
        let fields = fields.into_iter();
        Some(
            fields
                .map(|(name, it)| (name, SecretText::new(it)))
                .collect(),
        )
    }
}

/// Whether a text can be the name of a credential: it may stand in a path and in
/// a file's name.
#[must_use]
pub fn is_credential_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= CREDENTIAL_NAME_BYTES_MAX
        && bytes.next().is_some_and(|it| it.is_ascii_alphanumeric())
        && bytes.all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
}

/// What a name may be, for messages.
#[must_use]
pub fn credential_name_rule() -> String {
    format!(
        "1 to {CREDENTIAL_NAME_BYTES_MAX} letters, digits and `-_.`, beginning with a letter or digit"
    )
}

/// Whether a text looks like a private key that ssh reads: the frame of PEM or
/// OpenSSH with something in it. Says what is wrong, never what stands there.
///
/// # Errors
/// What is wrong with it.
pub fn check_private_key(text: &str) -> Result<(), &'static str> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let kind = first
        .strip_prefix("-----BEGIN ")
        .and_then(|it| it.strip_suffix("-----"));
    let Some(kind) = kind.filter(|it| it.ends_with("PRIVATE KEY")) else {
        return Err(
            "isn't a private key: its first line must be `-----BEGIN … PRIVATE KEY-----`, as ssh-keygen writes it",
        );
    };
    let end = format!("-----END {kind}-----");
    let body: Vec<&str> = lines.collect();
    let Some((last, body)) = body.split_last() else {
        return Err("ends after its first line: give the whole file");
    };
    if last.trim_end() != end || body.iter().all(|it| it.is_empty()) {
        return Err("ends too early: its last line must be `-----END … PRIVATE KEY-----`");
    }
    if !text.ends_with('\n') {
        return Err("must end with a newline, without which ssh refuses it");
    }
    Ok(())
}

// Every value must be one that the redactor takes.
const _: () = assert!(CREDENTIAL_VALUE_BYTES_MAX <= crate::limits::MASK_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_a_path() {
        for good in ["a", "deploy-key", "Prod.web_1", &"x".repeat(64)] {
            assert!(is_credential_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "-x",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(!is_credential_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_private_key_has_its_whole_frame_and_a_newline() {
        let key = |text: &str| check_private_key(text).is_ok();
        let good = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n";
        assert!(key(good));
        assert!(key(&good.replace('\n', "\r\n")));
        assert!(key(&good.replace("OPENSSH ", "")));
        assert!(!key(good.trim_end()), "no newline");
        assert!(!key(&good.replace("PRIVATE", "PUBLIC")));
        assert!(!key(&good.replace("-----END OPENSSH", "-----END RSA")));
        assert!(!key(&good.replace("b3BlbnNzaA==\n", "")));
        assert!(!key("-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(!key("ssh-ed25519 AAAA"));
        assert!(!key(""));
    }

    #[test]
    fn values_come_back_from_what_is_sealed_and_no_debug_text_shows_them() {
        let values = [("password", "hunter2-\"hunter2\"\n\u{1}")];
        let values = values.map(|(name, it)| (name.to_owned(), SecretText::new(it.to_owned())));
        let credential = Credential {
            name: "x".into(),
            kind: CredentialKind::Password,
            metadata: BTreeMap::new(),
            values: values.into(),
        };
        let back = Credential::values_of(&credential.plain()).unwrap();
        assert_eq!(back, credential.values);
        assert!(!format!("{credential:?}").contains("hunter2"));
        assert_eq!(Credential::values_of(b"[]"), None);
    }

    #[test]
    fn the_table_of_kinds_holds_together() {
        for spec in KINDS {
            assert_eq!(CredentialKind::parse(spec.name), Some(spec.kind));
            assert_eq!(spec.kind.as_str(), spec.name);
            for name in spec.one_of {
                assert!(spec.field(name).unwrap().form.is_secret(), "{name}");
            }
            for field in spec.fields {
                assert!(field.needs.is_none_or(|it| spec.field(it).is_some()));
            }
        }
    }
}
