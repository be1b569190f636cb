//! Signed envelopes (DSSE v1.0.2) with Ed25519 keys, and their public keys as PEM. What is signed
//! is the pre-authentication encoding, so that neither the type nor the length can be moved.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_api::{Envelope, EnvelopeSignature};
use danube_telemetry::trace::hex;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every public key of Ed25519 begins with as `SubjectPublicKeyInfo` (RFC 8410).
const PUBLIC_DER: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What every private key begins with in PKCS#8, as OpenSSL writes it too.
const PRIVATE_DER: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

const PUBLIC_LABEL: &str = "PUBLIC KEY";
const PRIVATE_LABEL: &str = "PRIVATE KEY";

/// Bytes of a key, private or public.
const KEY_BYTES: usize = 32;

/// Characters of a line of PEM.
const LINE_CHARS: usize = 64;

/// What is signed for a payload of this type.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.id())
    }
}

impl PublicKey {
    /// All keys in a text of PEM; what isn't between their lines is skipped.
    ///
    /// # Errors
    /// Why it holds none, or one that isn't of Ed25519.
    pub fn all_of_pem(text: &str) -> Result<Vec<Self>, String> {
        let mut keys = Vec::new();
        for der in blocks(text, PUBLIC_LABEL)? {
            let key = der.strip_prefix(&PUBLIC_DER[..]);
            let key = key.and_then(|it| it.try_into().ok());
            keys.push(Self(key.ok_or("a public key in it isn't one of Ed25519")?));
        }
        match keys.is_empty() {
            true => Err("it holds no public key (`-----BEGIN PUBLIC KEY-----`)".to_owned()),
            false => Ok(keys),
        }
    }

    /// As PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem(PUBLIC_LABEL, &[&PUBLIC_DER[..], &self.0].concat())
    }

    /// Its id: the SHA-256 of its 32 bytes, in hex.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&Sha256::digest(self.0))
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(message, signature).is_ok()
    }
}

/// A private key.
pub(super) struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new one, with the text of its file.
    pub(super) fn make() -> (Self, Zeroizing<String>) {
        let seed = Zeroizing::new(crate::auth::random::<KEY_BYTES>());
        let der = Zeroizing::new([&PRIVATE_DER[..], &seed[..]].concat());
        let text = Zeroizing::new(pem(PRIVATE_LABEL, &der));
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]);
        (Self(pair.expect("a seed has 32 bytes")), text)
    }

    /// The one in a file.
    pub(super) fn of_pem(text: &str) -> Result<Self, String> {
        let wrong = "it holds no private key of Ed25519 in PEM (PKCS#8)";
        let der = blocks(text, PRIVATE_LABEL)?.pop().map(Zeroizing::new);
        let der = der.ok_or(wrong)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
        Ok(Self(pair.map_err(|_| wrong)?))
    }

    pub(super) fn public(&self) -> PublicKey {
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(super) fn seal(&self, payload_type: &str, payload: &[u8]) -> Envelope {
        let signature = self.0.sign(&pae(payload_type, payload));
        Envelope {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![EnvelopeSignature {
                keyid: self.public().id(),
                sig: STANDARD.encode(signature.as_ref()),
            }],
        }
    }
}

/// What an envelope holds, if one of these keys signed it; which one. What an envelope says of
/// a key is a hint that nothing relies on.
///
/// # Errors
/// Why it isn't to be believed, for people.
pub fn open(envelope: &Envelope, keys: &[PublicKey]) -> Result<(Vec<u8>, PublicKey), String> {
    let payload = STANDARD.decode(&envelope.payload);
    let payload = payload.map_err(|_| "its payload isn't base64")?;
    let message = pae(&envelope.payload_type, &payload);
    for signature in &envelope.signatures {
        let Ok(bytes) = STANDARD.decode(&signature.sig) else {
            continue;
        };
        if let Some(key) = keys.iter().find(|it| it.verifies(&message, &bytes)) {
            return Ok((payload, *key));
        }
    }
    let ids: Vec<&str> = envelope.signatures.iter().map(|it| &*it.keyid).collect();
    let known = keys.iter().any(|it| ids.contains(&&*it.id()));
    Err(match known {
        true => "the signature doesn't fit: what was signed was changed".to_owned(),
        false => "none of the given keys signed it".to_owned(),
    })
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// What stands between the lines of this label.
fn blocks(text: &str, label: &str) -> Result<Vec<Vec<u8>>, String> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, more) = after
            .split_once(&end)
            .ok_or_else(|| format!("a `{begin}` in it has no end"))?;
        let body: Zeroizing<String> =
            Zeroizing::new(body.chars().filter(|it| !it.is_whitespace()).collect());
        let der = STANDARD.decode(body.as_bytes());
        found.push(der.map_err(|_| format!("what follows `{begin}` in it isn't base64"))?);
        rest = more;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            expected
        );
    }

    #[test]
    fn what_was_signed_opens_and_nothing_else_does() {
        let (key, text) = SigningKey::make();
        let again = SigningKey::of_pem(&text).unwrap();
        assert_eq!(again.public(), key.public());
        let pem = key.public().pem();
        assert_eq!(PublicKey::all_of_pem(&pem), Ok(vec![key.public()]));
        let envelope = again.seal("text/x", b"payload");
        let (other, _) = SigningKey::make();
        let keys = [other.public(), key.public()];
        assert_eq!(
            open(&envelope, &keys),
            Ok((b"payload".to_vec(), key.public()))
        );
        let refused = |envelope: &Envelope, keys: &[PublicKey]| open(envelope, keys).unwrap_err();
        assert!(refused(&envelope, &keys[..1]).contains("none of the given keys"));
        let mut changed = envelope.clone();
        changed.payload = STANDARD.encode(b"Payload");
        assert!(refused(&changed, &keys).contains("was changed"));
        changed = envelope.clone();
        changed.payload_type = "text/y".to_owned();
        assert!(refused(&changed, &keys).contains("was changed"));
        changed = envelope.clone();
        changed.signatures.clear();
        assert!(open(&changed, &keys).is_err());
        // The id is a hint alone.
        changed = envelope;
        changed.signatures[0].keyid = other.public().id();
        assert!(open(&changed, &keys).is_ok());
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in [
            "",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n",
            &pem(PUBLIC_LABEL, b"short"),
        ] {
            assert!(PublicKey::all_of_pem(text).is_err(), "{text}");
        }
        assert!(SigningKey::of_pem(&pem(PRIVATE_LABEL, b"short")).is_err());
    }
}
