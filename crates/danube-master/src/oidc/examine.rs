//! `danube doctor oidc`: which part of a set-up is wrong, and what to do. It asks what a
//! sign-in would ask, with a code that nobody was given, and signs nobody in.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use danube_outgoing::{Answer, Failure};
use form_urlencoded::Serializer;

use super::provider::{Description, Provider};
use crate::auth::{hash, token};
use crate::settings::OidcSettings;

/// A code that no provider gave anybody.
const NO_CODE: &str = "danube-doctor-asks-whether-the-client-is-known";

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What it is.
    pub part: &'static str,
    /// What was found; else what is wrong, and what to do.
    pub found: Result<String, (String, String)>,
}

fn examined(part: &'static str, found: Result<String, (String, &str)>) -> Examined {
    let found = found.map_err(|(why, fix)| (why, fix.to_owned()));
    Examined { part, found }
}

/// Looks at each part of a set-up in the order in which a sign-in needs them; what can't be
/// looked at because of what is wrong before isn't there. `redirect` is where browsers come back to.
/// May block for as long as a few calls.
#[must_use]
pub fn examine(settings: &OidcSettings, redirect: &str) -> Vec<Examined> {
    let mut all = Vec::new();
    let provider = Provider::new(settings, &|_| {});
    let provider = match provider {
        Ok(provider) => provider,
        Err(why) => {
            let fix = "let oidc.client_secret_file name a file that the server's user can read";
            return vec![examined("secret", Err((why, fix)))];
        }
    };
    let described = match provider.describe() {
        Ok(described) => described,
        Err(why) => {
            all.push(examined("issuer", Err((why.clone(), issuer_fix(&why)))));
            return all;
        }
    };
    all.push(examined(
        "issuer",
        Ok(format!("{} describes itself", settings.issuer)),
    ));
    all.push(examined("pkce", pkce(&described)));
    all.push(examined("keys", keys(&provider, &described)));
    let asked = provider.probe_code(&described, (NO_CODE, &token(), redirect));
    all.push(examined("clock", clock(asked.as_ref().ok(), settings)));
    all.push(examined("client", client(asked)));
    all.push(examined(
        "redirect",
        redirects(&provider, &described, (settings, redirect)),
    ));
    all
}

fn issuer_fix(why: &str) -> &'static str {
    if why.contains("calls itself") {
        return "set oidc.issuer to what it calls itself, or mend the provider's own setting of its address";
    }
    if why.contains("allow_private") {
        return "name the provider's network or host in oidc.allow_private, if it is meant to be there";
    }
    "start the provider, or mend oidc.issuer: the address below which /.well-known/openid-configuration lies"
}

fn pkce(described: &Description) -> Result<String, (String, &'static str)> {
    match described.knows_pkce() {
        true => Ok("S256 isn't ruled out".to_owned()),
        false => Err((
            "the provider says that it doesn't know PKCE with S256".to_owned(),
            "switch it on at the provider; without it nobody is signed in",
        )),
    }
}

fn keys(provider: &Provider, described: &Description) -> Result<String, (String, &'static str)> {
    let keys = provider
        .keys(described)
        .map_err(|why| (why, "mend what its description calls jwks_uri"))?;
    match keys.usable() {
        0 => Err((
            "none of the keys that the provider publishes can sign an ID token here".to_owned(),
            "have it sign by RS256 (2048 bits at least), ES256 or EdDSA",
        )),
        count => Ok(format!("{count} can sign an ID token")),
    }
}

fn clock(
    answer: Option<&Answer>,
    settings: &OidcSettings,
) -> Result<String, (String, &'static str)> {
    let date = answer.and_then(|it| it.header("date"));
    let Some(theirs) = date.and_then(|it| httpdate::parse_http_date(it).ok()) else {
        return Ok("the provider doesn't say what time it has".to_owned());
    };
    let now = SystemTime::now();
    let apart = now
        .duration_since(theirs)
        .unwrap_or_else(|it| it.duration());
    let leeway = settings.leeway.as_secs();
    // The header knows no parts of a second.
    if apart.as_secs() <= leeway.max(1) {
        return Ok(format!(
            "{} s apart, of {leeway} s that may be",
            apart.as_secs()
        ));
    }
    Err((
        format!(
            "this machine and the provider are {} s apart",
            apart.as_secs()
        ),
        "set the clocks (NTP), or raise oidc.leeway_seconds; ID tokens count as expired or not good yet else",
    ))
}

/// A client that isn't known is told so before the code is looked at.
fn client(asked: Result<Answer, String>) -> Result<String, (String, &'static str)> {
    let answer = asked.map_err(|why| (why, "mend what its description calls token_endpoint"))?;
    let status = answer.status;
    let said = Provider::trouble(answer);
    let code = said.as_ref().map(|it| it.error.as_str());
    match code {
        Some("invalid_grant") => Ok("the provider knows the client and its secret".to_owned()),
        Some("invalid_client") => Err((
            "the provider doesn't take the client: its id or its secret is wrong".to_owned(),
            "compare oidc.client_id and the file of oidc.client_secret_file with what is registered there",
        )),
        Some("unauthorized_client" | "unsupported_grant_type") => Err((
            "the provider knows the client, but it may not sign in by authorization code"
                .to_owned(),
            "allow the client the grant `authorization_code` at the provider",
        )),
        _ if status == 401 => Err((
            "the provider doesn't take the client: status 401".to_owned(),
            "compare oidc.client_id and the file of oidc.client_secret_file with what is registered there",
        )),
        // Some look at the redirect URI first; the next part says that.
        Some(_) | None => Ok(format!(
            "the provider answers with status {status}, which doesn't say that the client is wrong"
        )),
    }
}

/// Where the provider would send somebody whose redirect URI it knows, it redirects; else it
/// shows an error itself, for it may not send anybody there.
fn redirects(
    provider: &Provider,
    described: &Description,
    (settings, redirect): (&OidcSettings, &str),
) -> Result<String, (String, &'static str)> {
    let mut query = Serializer::new(String::new());
    query.extend_pairs([
        ("response_type", "code"),
        ("client_id", &settings.client_id),
        ("redirect_uri", redirect),
        ("scope", &settings.scopes),
        ("state", &token()),
        ("nonce", &token()),
        ("code_challenge", &URL_SAFE_NO_PAD.encode(hash(&token()))),
        ("code_challenge_method", "S256"),
    ]);
    let url = &described.authorization_endpoint;
    let joint = if url.contains('?') { '&' } else { '?' };
    let fix = "mend what its description calls authorization_endpoint";
    let asked = provider.look(&format!("{url}{joint}{}", query.finish()));
    match asked.map_err(|why| (why, fix))? {
        Err(Failure::Redirects(_)) => Ok(format!(
            "the provider sends people on, and back to {redirect}"
        )),
        Ok(answer) if answer.status < 400 => Ok(format!(
            "the provider shows a page, and no error, for {redirect}"
        )),
        Ok(answer) => Err((
            format!(
                "the provider refuses a sign-in that comes back to {redirect} (status {})",
                answer.status
            ),
            "register that very address as redirect URI of the client at the provider; it comes from server.public_url",
        )),
        Err(error) => Err((format!("the authorization endpoint: {error}"), fix)),
    }
}
