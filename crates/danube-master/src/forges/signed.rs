//! Whether a webhook comes from the forge: looked at before anything of its body is read.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use danube_model::ForgeKind;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How old a webhook may be that says when it was sent, as Standard Webhooks has it, and how far
/// ahead the forge's clock may be.
pub(crate) const STALE_AFTER_SECONDS: u64 = 300;

/// What a GitLab's signing token begins with; another text is its secret token.
const SIGNING_TOKEN_PREFIX: &str = "whsec_";

/// Bytes of a delivery's id: a UUID has 36.
const ID_BYTES_MAX: usize = 200;

/// Why a webhook isn't believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// It isn't signed, or by somebody else.
    Signature,
    /// It was signed too long ago, or will be.
    Stale,
}

/// Whether the forge that knows this secret sent it. Takes as long whatever is wrong in a
/// signature.
pub(crate) fn check(
    kind: ForgeKind,
    headers: &HeaderMap,
    (body, secret): (&[u8], &str),
    now_seconds: i64,
) -> Result<(), Unsigned> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    match kind {
        ForgeKind::GitHub => {
            let shown = text("x-hub-signature-256").and_then(|it| it.strip_prefix("sha256="));
            by_hex(shown, body, secret)
        }
        ForgeKind::Gitea => {
            // The first that is there counts: a bad one isn't made good by another.
            let own = text("x-forgejo-signature").or_else(|| text("x-gitea-signature"));
            let shown = own.or_else(|| text("x-hub-signature-256"));
            by_hex(
                shown.map(|it| it.strip_prefix("sha256=").unwrap_or(it)),
                body,
                secret,
            )
        }
        ForgeKind::GitLab => match secret.strip_prefix(SIGNING_TOKEN_PREFIX) {
            Some(key) => {
                let key = STANDARD.decode(key).map_err(|_| Unsigned::Signature)?;
                let [id, time, signatures] =
                    ["webhook-id", "webhook-timestamp", "webhook-signature"]
                        .map(|it| text(it).unwrap_or_default());
                standard(&key, (id, time, body), signatures)?;
                is_fresh(time, now_seconds)
            }
            None => by_token(text("x-gitlab-token"), secret),
        },
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn by_hex(shown: Option<&str>, body: &[u8], secret: &str) -> Result<(), Unsigned> {
    let shown = shown.and_then(bytes).ok_or(Unsigned::Signature)?;
    let mut mac = mac(secret.as_bytes());
    mac.update(body);
    mac.verify_slice(&shown).map_err(|_| Unsigned::Signature)
}

/// A token that comes along is compared by what it makes of a key: how much of it is right
/// can't be told from the time.
fn by_token(shown: Option<&str>, secret: &str) -> Result<(), Unsigned> {
    let shown = shown.ok_or(Unsigned::Signature)?;
    let of = |text: &str| {
        let mut mac = mac(secret.as_bytes());
        mac.update(text.as_bytes());
        mac
    };
    let expected = of(secret).finalize().into_bytes();
    of(shown)
        .verify_slice(&expected)
        .map_err(|_| Unsigned::Signature)
}

/// Standard Webhooks: one of the signatures is ours.
fn standard(
    key: &[u8],
    (id, time, body): (&str, &str, &[u8]),
    signatures: &str,
) -> Result<(), Unsigned> {
    let shown = signatures
        .split(' ')
        .filter_map(|it| it.strip_prefix("v1,"));
    for shown in shown {
        let mut mac = mac(key);
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(body);
        if let Ok(shown) = STANDARD.decode(shown)
            && mac.verify_slice(&shown).is_ok()
        {
            return Ok(());
        }
    }
    Err(Unsigned::Signature)
}

fn is_fresh(time: &str, now_seconds: i64) -> Result<(), Unsigned> {
    let sent: i64 = time.parse().map_err(|_| Unsigned::Stale)?;
    let is_near = sent.abs_diff(now_seconds) <= STALE_AFTER_SECONDS;
    is_near.then_some(()).ok_or(Unsigned::Stale)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |it: u8| {
        (it as char)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let pairs = hex.as_bytes().chunks(2);
    let read = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    };
    pairs.map(read).collect()
}

/// The id of a delivery, the same when the forge sends it again; none where it gives none.
pub(crate) fn delivery_id(kind: ForgeKind, headers: &HeaderMap) -> Option<String> {
    let names: &[&str] = match kind {
        ForgeKind::GitHub => &["x-github-delivery"],
        ForgeKind::Gitea => &["x-forgejo-delivery", "x-gitea-delivery"],
        // `X-Gitlab-Event-UUID` is shared by all that one event leads to.
        ForgeKind::GitLab => &["webhook-id", "idempotency-key"],
    };
    let id = names
        .iter()
        .find_map(|it| headers.get(*it))?
        .to_str()
        .ok()?;
    let sane = (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_graphic());
    sane.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let all = all.iter();
        all.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    /// The example of GitHub's own documentation.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn a_signature_is_the_one_that_forges_document() {
        let signed = format!("sha256={HEX}");
        let check = |kind, all: &[(&'static str, &str)], expected| {
            let found = check(kind, &headers(all), (BODY, SECRET), 0);
            assert_eq!(found, expected, "{kind:?} {all:?}");
        };
        let (github, gitea) = (ForgeKind::GitHub, ForgeKind::Gitea);
        check(github, &[("x-hub-signature-256", &signed)], Ok(()));
        check(gitea, &[("x-gitea-signature", HEX)], Ok(()));
        check(gitea, &[("x-forgejo-signature", HEX)], Ok(()));
        check(gitea, &[("x-hub-signature-256", &signed)], Ok(()));
        let wrong = Err(Unsigned::Signature);
        check(github, &[], wrong);
        check(github, &[("x-hub-signature-256", HEX)], wrong);
        check(github, &[("x-hub-signature-256", "sha256=")], wrong);
        check(
            github,
            &[("x-hub-signature-256", &signed[..signed.len() - 2])],
            wrong,
        );
        check(
            github,
            &[("x-hub-signature-256", &signed.replace('7', "8"))],
            wrong,
        );
        check(
            github,
            &[("x-hub-signature", &signed), ("x-gitea-signature", HEX)],
            wrong,
        );
        let first = [("x-forgejo-signature", "00"), ("x-gitea-signature", HEX)];
        check(gitea, &first, wrong);
    }

    #[test]
    fn gitlab_shows_its_token_or_signs_with_the_time() {
        let gitlab = ForgeKind::GitLab;
        let token = |shown: &str| {
            let headers = headers(&[("x-gitlab-token", shown)]);
            check(gitlab, &headers, (BODY, "a-secret-token"), 0)
        };
        assert_eq!(token("a-secret-token"), Ok(()));
        for wrong in ["", "a-secret-toke", "a-secret-token ", "A-secret-token"] {
            assert_eq!(token(wrong), Err(Unsigned::Signature), "{wrong}");
        }
        // The example of Standard Webhooks' own libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let at = 1_614_265_330;
        let sent = |time: &str, signature: &str, now| {
            let headers = headers(&[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", time),
                ("webhook-signature", signature),
                ("x-gitlab-token", secret),
            ]);
            check(gitlab, &headers, (br#"{"test": 2432232314}"#, secret), now)
        };
        assert_eq!(sent("1614265330", signature, at), Ok(()));
        assert_eq!(
            sent("1614265330", &format!("v1,AAAA {signature}"), at + 300),
            Ok(())
        );
        for now in [at + 301, at - 301, 0] {
            assert_eq!(sent("1614265330", signature, now), Err(Unsigned::Stale));
        }
        for (time, signature) in [
            ("1614265331", signature),
            ("1614265330", ""),
            ("", signature),
        ] {
            assert_eq!(sent(time, signature, at), Err(Unsigned::Signature));
        }
    }

    #[test]
    fn an_id_is_taken_where_it_is_the_deliverys_own() {
        let id = |kind, all: &[(&'static str, &str)]| delivery_id(kind, &headers(all));
        let found = id(
            ForgeKind::GitLab,
            &[("x-gitlab-event-uuid", "x"), ("idempotency-key", "y")],
        );
        assert_eq!(found.as_deref(), Some("y"));
        assert_eq!(id(ForgeKind::GitHub, &[("x-gitea-delivery", "x")]), None);
        assert_eq!(
            id(
                ForgeKind::GitHub,
                &[("x-github-delivery", &"x".repeat(201))]
            ),
            None
        );
    }
}
