//! What pages send: forms of a session, with a token that only its pages know.
//!
//! A foreign page can make a browser send a form with its cookie. `SameSite` and `Sec-Fetch-Site`
//! keep that off in browsers that know them; the token does in all. It is made of the session's own
//! token, so nothing is kept; and it looks different on each page, so that nothing is learned of it
//! from how well a page packs (BREACH).

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use danube_api::{Code, Problem};
use danube_telemetry::trace::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::frame::{Visit, is_foreign, is_json_wanted};
use super::login::login_page;
use crate::app::{App, Shared};
use crate::auth::random;
use crate::http::answer::Refusal;
use crate::http::caller::{Sender, session};

/// Bytes of a form. What people type in is far shorter.
pub(super) const FORM_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a token that differ each time, as hex.
const SALT_BYTES: usize = 8;

/// Who sent a form, where their route lets them.
pub(super) struct Sent(pub(super) Visit);

impl FromRequest<Shared> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let foreign = is_foreign(&parts.headers);
        let caller = match Sender::of(&parts, app) {
            Ok(Sender(caller)) => caller,
            Err(refusal) => return Err(refused(app, &parts, refusal)),
        };
        let own = session(&parts.headers).unwrap_or_default().to_owned();
        let visit = Visit::known(&parts, app)?.by(caller);
        let request = Request::from_parts(parts, body);
        let Ok(bytes) = Bytes::from_request(request, app).await else {
            let detail = format!("the form can't be read, or has more than {FORM_BYTES_MAX} bytes");
            return Err(visit.refuse(app, Problem::new(Code::Malformed, detail)));
        };
        let shown = form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf");
        let shown = shown.map(|(_, value)| value);
        // A key is no cookie: no page has a browser send it.
        let is_ours =
            !visit.caller.by_session || (!foreign && shown.is_some_and(|it| is_good(&own, &it)));
        if !is_ours {
            let detail = "the form isn't from a page of this session; load the page again and repeat it. Nothing was changed";
            return Err(visit.refuse(app, Problem::new(Code::Forbidden, detail)));
        }
        Ok(Self(visit))
    }
}

/// Why a form isn't taken: whose session is over signs in again.
fn refused(app: &App, parts: &Parts, Refusal(problem): Refusal) -> Response {
    const OVER: &str = "You aren't signed in any more. Nothing was changed.";
    let is_unknown = problem.code == Code::Unauthorized;
    if is_unknown && !is_json_wanted(&parts.headers) {
        return login_page(app, StatusCode::UNAUTHORIZED, OVER);
    }
    match Visit::known(parts, app) {
        Ok(visit) => visit.refuse(app, problem),
        Err(stranger) => stranger,
    }
}

/// A token for the forms of a page, of the session with this token.
pub(super) fn token(session: &str) -> String {
    let salt = hex(&random::<SALT_BYTES>());
    let mac = hex(&mac(session, &salt).finalize().into_bytes());
    salt + &mac
}

/// Whether a form shows a token of this session, compared in constant time.
fn is_good(session: &str, shown: &str) -> bool {
    let Some((salt, shown)) = shown.split_at_checked(2 * SALT_BYTES) else {
        return false;
    };
    let expected = hex(&mac(session, salt).finalize().into_bytes());
    crate::auth::hash(&expected) == crate::auth::hash(shown)
}

fn mac(session: &str, salt: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(session.as_bytes());
    let mut mac = mac.expect("a key of any length");
    mac.update(b"danube form ");
    mac.update(salt.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_session_and_never_the_same() {
        let (one, other) = (token("one"), token("one"));
        assert_ne!(one, other);
        assert!(is_good("one", &one) && is_good("one", &other));
        assert!(!is_good("two", &one));
        for wrong in [
            "",
            "0",
            &one[1..],
            &one[..one.len() - 1],
            "ä0000000000000000",
        ] {
            assert!(!is_good("one", wrong), "{wrong}");
        }
    }
}
