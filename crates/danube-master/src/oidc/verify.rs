//! Whether an ID token is one: signed by a key of the issuer, for us, for this sign-in, and
//! good now. Nothing here asks anybody, so a test is a token, keys and a time.
//!
//! On `ring`, which TLS brings along: a library for JWTs would bring a second set of
//! cryptography, and most of what it can do must not be done here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

/// Bytes of an ID token: those of providers with many claims have some thousand.
pub(super) const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// How an ID token may be signed. What isn't here, `none` and what is made with a shared
/// secret above all, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// What a provider publishes of its keys.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct KeySet {
    keys: Vec<Jwk>,
}

/// One key, as far as it is used here.
#[derive(Debug, Clone, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// How many of them can sign an ID token that is taken here.
    pub(super) fn usable(&self) -> usize {
        let all = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
        let is_usable = |it: &&Jwk| {
            let mut fitting = all.iter().filter(|algorithm| {
                let header = Header {
                    alg: String::new(),
                    kid: None,
                    crit: None,
                };
                it.fits(**algorithm, &header)
            });
            fitting.any(|algorithm| it.is_whole(*algorithm))
        };
        self.keys.iter().filter(is_usable).count()
    }

    /// Whether a key of this name is among them.
    pub(super) fn has(&self, kid: Option<&str>) -> bool {
        kid.is_none() || self.keys.iter().any(|it| it.kid.as_deref() == kid)
    }
}

/// Why an ID token is refused. The texts are for administrators; nothing of the token is in
/// them but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the ID token isn't one: {0}")]
    Malformed(&'static str),
    #[error("the ID token is signed by `{0}`; taken are RS256, ES256 and EdDSA")]
    Algorithm(String),
    #[error("the ID token is signed by a key that the provider doesn't publish")]
    UnknownKey,
    #[error("the signature of the ID token is wrong")]
    Signature,
    #[error("the ID token is of another issuer: `{0}`")]
    Issuer(String),
    #[error("the ID token is for somebody else, not for the client of oidc.client_id")]
    Audience,
    #[error("the ID token expired; does the clock of this machine and that of the provider agree?")]
    Expired,
    #[error(
        "the ID token isn't good yet; does the clock of this machine and that of the provider agree?"
    )]
    Early,
    #[error("the ID token is an answer to another sign-in")]
    Nonce,
}

/// What an ID token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) leeway: i64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// One audience or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What an ID token says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    pub(super) email: Option<String>,
    pub(super) email_verified: Option<bool>,
}

/// The name of the key that a token says it is signed by; nothing of it is checked yet.
pub(super) fn key_of(token: &str) -> Result<Option<String>, Refused> {
    header(token).map(|it| it.kid)
}

fn header(token: &str) -> Result<Header, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::Malformed("it is too long"));
    }
    let head = token.split('.').next().unwrap_or_default();
    let header: Header = part(head)?;
    if header.crit.is_some() {
        return Err(Refused::Malformed("it says `crit`"));
    }
    Ok(header)
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    let bytes = bytes.map_err(|_| Refused::Malformed("a part isn't base64url"))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| Refused::Malformed("a claim is missing or of another kind"))
}

/// Checks a token whole.
pub(super) fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
) -> Result<Claims, Refused> {
    let header = header(token)?;
    let algorithm =
        Algorithm::parse(&header.alg).ok_or_else(|| Refused::Algorithm(short(&header.alg)))?;
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or(Refused::Malformed("it has no parts"))?;
    let (_, payload) = signed
        .split_once('.')
        .ok_or(Refused::Malformed("it has too few parts"))?;
    let signature = URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.map_err(|_| Refused::Malformed("a part isn't base64url"))?;
    let mut fitting = keys.keys.iter().filter(|it| it.fits(algorithm, &header));
    let is_signed = |it: &Jwk| it.verifies(algorithm, signed.as_bytes(), &signature);
    match (fitting.clone().next(), fitting.any(is_signed)) {
        (None, _) => return Err(Refused::UnknownKey),
        (Some(_), false) => return Err(Refused::Signature),
        (Some(_), true) => {}
    }
    let claims: Claims = part(payload)?;
    judge(&claims, expected)?;
    Ok(claims)
}

fn judge(claims: &Claims, expected: &Expected<'_>) -> Result<(), Refused> {
    if claims.iss != expected.issuer {
        return Err(Refused::Issuer(short(&claims.iss)));
    }
    let is_ours = match &claims.aud {
        Audience::One(it) => it == expected.client_id,
        // With several the one that asked has to be named.
        Audience::Many(all) => {
            all.iter().any(|it| it == expected.client_id)
                && (all.len() == 1 || claims.azp.is_some())
        }
    };
    let is_others = claims
        .azp
        .as_ref()
        .is_some_and(|it| it != expected.client_id);
    if !is_ours || is_others {
        return Err(Refused::Audience);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact")]
    let (now, leeway) = (expected.now as f64, expected.leeway as f64);
    // A number that is none compares as false, and must not pass.
    let is_good_until = |end: f64| now < end + leeway;
    let is_good_from = |begin: f64| begin - leeway <= now;
    if !is_good_until(claims.exp) {
        return Err(Refused::Expired);
    }
    let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    if !is_good_from(begins) {
        return Err(Refused::Early);
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(Refused::Nonce);
    }
    Ok(())
}

impl Jwk {
    /// Whether it has what the algorithm needs, and is long enough.
    fn is_whole(&self, algorithm: Algorithm) -> bool {
        let bytes = |part: &Option<String>| {
            let text = part.as_ref()?;
            URL_SAFE_NO_PAD.decode(text).ok().map(|it| it.len())
        };
        match algorithm {
            Algorithm::Rs256 => bytes(&self.n).is_some_and(|it| it >= 256) && self.e.is_some(),
            Algorithm::Es256 => bytes(&self.x) == Some(32) && bytes(&self.y) == Some(32),
            Algorithm::EdDsa => bytes(&self.x) == Some(32),
        }
    }

    fn fits(&self, algorithm: Algorithm, header: &Header) -> bool {
        let kind = match algorithm {
            Algorithm::Rs256 => ("RSA", None),
            Algorithm::Es256 => ("EC", Some("P-256")),
            Algorithm::EdDsa => ("OKP", Some("Ed25519")),
        };
        let is_kind = self.kty == kind.0 && kind.1.is_none_or(|it| self.crv.as_deref() == Some(it));
        let is_for_signing = self.purpose.as_deref().is_none_or(|it| it == "sig");
        let is_for_this = self
            .alg
            .as_deref()
            .is_none_or(|it| Algorithm::parse(it) == Some(algorithm));
        let is_named = header.kid.is_none() || self.kid == header.kid;
        is_kind && is_for_signing && is_for_this && is_named
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let bytes = |it: &Option<String>| {
            it.as_ref()
                .and_then(|it| URL_SAFE_NO_PAD.decode(it).ok())
                .unwrap_or_default()
        };
        match algorithm {
            Algorithm::Rs256 => RsaPublicKeyComponents {
                n: bytes(&self.n),
                e: bytes(&self.e),
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            .is_ok(),
            Algorithm::Es256 => {
                let mut point = vec![4];
                point.extend(bytes(&self.x));
                point.extend(bytes(&self.y));
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(signed, signature).is_ok()
            }
            Algorithm::EdDsa => {
                let key = UnparsedPublicKey::new(&ED25519, bytes(&self.x));
                key.verify(signed, signature).is_ok()
            }
        }
    }
}

/// As much of a foreign text as is shown.
fn short(text: &str) -> String {
    let text: String = text.chars().take(100).collect();
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn encode(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new() -> Self {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
        }

        fn jwk(&self, kid: &str) -> Value {
            let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": x})
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()));
            format!("{signed}.{signature}")
        }
    }

    fn claims(changes: &Value) -> Value {
        let mut all = json!({"iss": "https://sso", "sub": "1", "aud": "danube", "exp": NOW + 300,
                             "iat": NOW, "nonce": "n", "email": "a@b", "email_verified": true});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    }

    fn judged(token: &str, keys: &[Value]) -> Result<String, Refused> {
        let keys: KeySet = serde_json::from_value(json!({"keys": keys})).unwrap();
        let expected = Expected {
            issuer: "https://sso",
            client_id: "danube",
            nonce: "n",
            now: NOW,
            leeway: 60,
        };
        verify(token, &keys, &expected).map(|it| it.sub)
    }

    #[test]
    fn only_a_token_of_the_issuer_for_us_now_and_for_this_sign_in_passes() {
        let signer = Signer::new();
        let check = |changes: Value, expected: Result<(), Refused>| {
            let token = signer.sign(&json!({"alg": "EdDSA", "kid": "k"}), &claims(&changes));
            assert_eq!(
                judged(&token, &[signer.jwk("k")]).map(drop),
                expected,
                "{changes}"
            );
        };
        check(json!({}), Ok(()));
        check(json!({"aud": ["danube"]}), Ok(()));
        check(json!({"aud": ["danube", "x"], "azp": "danube"}), Ok(()));
        check(json!({"aud": ["danube", "x"]}), Err(Refused::Audience));
        check(json!({"aud": "other"}), Err(Refused::Audience));
        check(json!({"aud": []}), Err(Refused::Audience));
        check(json!({"azp": "other"}), Err(Refused::Audience));
        let other = "https://sso/".to_owned();
        check(json!({"iss": "https://sso/"}), Err(Refused::Issuer(other)));
        check(json!({"exp": NOW - 59}), Ok(()));
        check(json!({"exp": NOW - 60}), Err(Refused::Expired));
        check(json!({"iat": NOW + 60}), Ok(()));
        check(json!({"iat": NOW + 61}), Err(Refused::Early));
        check(json!({"nbf": NOW + 61}), Err(Refused::Early));
        check(json!({"nonce": "other"}), Err(Refused::Nonce));
        check(json!({"nonce": null}), Err(Refused::Nonce));
        let odd = "a claim is missing or of another kind";
        check(json!({"exp": "never"}), Err(Refused::Malformed(odd)));
        check(json!({"exp": null}), Err(Refused::Malformed(odd)));
        check(json!({"nbf": "x"}), Err(Refused::Malformed(odd)));
        check(
            json!({"email_verified": "true"}),
            Err(Refused::Malformed(odd)),
        );
    }

    #[test]
    fn how_it_is_signed_is_for_the_list_and_the_key_to_say() {
        let (signer, other) = (Signer::new(), Signer::new());
        let keys = [signer.jwk("k")];
        let token = |header: Value| signer.sign(&header, &claims(&json!({})));
        for alg in ["none", "None", "HS256", "RS512", ""] {
            let refused = judged(&token(json!({"alg": alg, "kid": "k"})), &keys);
            assert_eq!(refused, Err(Refused::Algorithm(alg.to_owned())));
        }
        let named = json!({"alg": "EdDSA", "kid": "k"});
        assert!(judged(&token(json!({"alg": "EdDSA"})), &keys).is_ok());
        assert_eq!(
            judged(&token(json!({"alg": "EdDSA", "kid": "x"})), &keys),
            Err(Refused::UnknownKey)
        );
        // A key of another kind doesn't verify, whatever the header says.
        assert_eq!(
            judged(&token(json!({"alg": "ES256", "kid": "k"})), &keys),
            Err(Refused::UnknownKey)
        );
        let forged = other.sign(&named, &claims(&json!({})));
        assert_eq!(judged(&forged, &keys), Err(Refused::Signature));
        let whole = token(named.clone());
        let (head, rest) = whole.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let payload = encode(&claims(&json!({"email": "admin@b"})));
        let changed = format!("{head}.{payload}.{signature}");
        assert_eq!(judged(&changed, &keys), Err(Refused::Signature));
        let mut crit = named.clone();
        crit["crit"] = json!(["x"]);
        assert!(matches!(
            judged(&token(crit), &keys),
            Err(Refused::Malformed(_))
        ));
        for broken in ["", ".", "..", "a.b.c", &whole[..whole.len() / 2]] {
            assert!(judged(broken, &keys).is_err(), "{broken}");
        }
        let mut encrypting = signer.jwk("k");
        encrypting["use"] = json!("enc");
        assert_eq!(
            judged(&token(named), &[encrypting]),
            Err(Refused::UnknownKey)
        );
    }

    #[test]
    fn elliptic_curves_are_read() {
        let (random, alg) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let half = |it: &[u8]| URL_SAFE_NO_PAD.encode(it);
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "e", "alg": "ES256",
                         "x": half(&point[1..33]), "y": half(&point[33..])});
        let header = json!({"alg": "ES256", "kid": "e"});
        let signed = format!("{}.{}", encode(&header), encode(&claims(&json!({}))));
        let signature = pair.sign(&random, signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
        assert!(judged(&token, &[jwk]).is_ok());
    }
}
