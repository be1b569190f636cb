//! What is asked of the provider: its description, its keys, and what a code is worth. Each
//! call may block for [`CALL_DEADLINE`] and reads a bounded answer.

use std::fs;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_outgoing::{Answer, Ask, Client, Done, Failure, Limits, Policy};
use form_urlencoded::{Serializer, byte_serialize};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::verify::KeySet;
use crate::settings::OidcSettings;

/// How long a call may take: somebody waits in front of a browser.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of an answer: descriptions and sets of keys have some thousand.
const ANSWER_BYTES_MAX: u64 = 512 * 1024;

/// Who calls.
const USER_AGENT: &str = concat!("danube/", env!("CARGO_PKG_VERSION"));

/// Where a provider describes itself, below its issuer.
const DESCRIPTION: &str = "/.well-known/openid-configuration";

/// What a provider says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Description {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    pub(super) userinfo_endpoint: Option<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Description {
    /// Whether it says that it knows PKCE by SHA-256; one that says nothing may.
    pub(super) fn knows_pkce(&self) -> bool {
        let known = self.code_challenge_methods_supported.as_ref();
        known.is_none_or(|it| it.iter().any(|it| it == "S256"))
    }

    fn takes_basic(&self) -> bool {
        let known = self.token_endpoint_auth_methods_supported.as_ref();
        known.is_none_or(|it| it.iter().any(|it| it == "client_secret_basic"))
    }
}

/// What a code is exchanged for.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) access_token: Option<String>,
}

/// What is asked for when an ID token holds no address.
#[derive(Deserialize)]
pub(super) struct UserInfo {
    pub(super) sub: String,
    pub(super) email: Option<String>,
    pub(super) email_verified: Option<bool>,
}

/// What a provider says went wrong.
#[derive(Deserialize)]
pub(super) struct Trouble {
    pub(super) error: String,
    error_description: Option<String>,
}

/// The provider, as it is called.
#[derive(Clone)]
pub(super) struct Provider {
    client: Client,
    client_id: String,
    client_secret: Option<String>,
    issuer: String,
}

impl Provider {
    /// Reads the secret's file; `mask` keeps it out of the log.
    pub(super) fn new(settings: &OidcSettings, mask: &dyn Fn(&[u8])) -> Result<Self, String> {
        let file = settings.client_secret_file.as_ref();
        let client_secret = file.map(|path| {
            let read = fs::read_to_string(path);
            read.map_err(|error| format!("read {}: {error}", path.display()))
        });
        let client_secret = client_secret.transpose()?.map(|it| it.trim().to_owned());
        if let Some(secret) = &client_secret {
            mask(secret.as_bytes());
        }
        let policy = Policy {
            allow_private: settings.allow_private.clone(),
            // The settings allow it to this machine alone.
            allow_http: settings.issuer.starts_with("http:"),
        };
        Ok(Self {
            client: Client::new(policy, USER_AGENT),
            client_id: settings.client_id.clone(),
            client_secret,
            issuer: settings.issuer.clone(),
        })
    }

    /// What the provider says of itself, if it is the one that the settings name.
    pub(super) fn describe(&self) -> Result<Description, String> {
        let issuer = &self.issuer;
        let url = format!("{}{DESCRIPTION}", issuer.trim_end_matches('/'));
        let found: Description = self.get(&url, None)?;
        if found.issuer != *issuer {
            return Err(format!(
                "the provider calls itself `{}` and not `{issuer}`; oidc.issuer must be the same to \
                 the letter",
                found
                    .issuer
                    .chars()
                    .take(200)
                    .collect::<String>()
                    .escape_debug()
            ));
        }
        // Browsers are sent there.
        let to = &found.authorization_endpoint;
        let checked = self.client.policy().check(to);
        checked.map_err(|why| format!("the address {} {why}", shown(to)))?;
        Ok(found)
    }

    /// Its keys.
    pub(super) fn keys(&self, described: &Description) -> Result<KeySet, String> {
        self.get(&described.jwks_uri, None)
    }

    /// What it says of somebody beside the ID token.
    pub(super) fn user_info(&self, url: &str, token: &str) -> Result<UserInfo, String> {
        self.get(url, Some(format!("Bearer {token}")))
    }

    /// What a code is worth.
    pub(super) fn exchange(
        &self,
        described: &Description,
        code: (&str, &str, &str),
    ) -> Result<Tokens, String> {
        let done = self.ask_for(described, code)?;
        answer(&described.token_endpoint, done)
    }

    /// What it answers to a code, whatever it is worth.
    pub(super) fn probe_code(
        &self,
        described: &Description,
        code: (&str, &str, &str),
    ) -> Result<Answer, String> {
        let url = shown(&described.token_endpoint);
        let done = self.ask_for(described, code)?;
        done.outcome.map_err(|why| format!("{url}: {why}"))
    }

    /// What went wrong, if the answer says so as providers do.
    pub(super) fn trouble(mut answer: Answer) -> Option<Trouble> {
        let mut body = Vec::new();
        answer.body.read_to_end(&mut body).ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// Goes where a browser would be sent, and not on from there.
    pub(super) fn look(&self, url: &str) -> Result<Result<Answer, Failure>, String> {
        let target = self.client.policy().check(url);
        let target = target.map_err(|why| format!("the address {} {why}", shown(url)))?;
        let ask = Ask {
            headers: vec![("accept", "text/html".to_owned())],
            limits: limits(),
            ..Ask::default()
        };
        Ok(self.client.get(&target, &ask).outcome)
    }

    fn ask_for(
        &self,
        described: &Description,
        (code, verifier, redirect): (&str, &str, &str),
    ) -> Result<Done, String> {
        let Self {
            client_id,
            client_secret,
            ..
        } = self;
        let mut form = Serializer::new(String::new());
        form.extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ]);
        let mut credentials = Vec::new();
        match client_secret {
            Some(secret) if described.takes_basic() => {
                // Encoded as a form first, as RFC 6749 has it (2.3.1).
                let pair = format!("{}:{}", encoded(client_id), encoded(secret));
                credentials.push(("authorization", format!("Basic {}", STANDARD.encode(pair))));
            }
            Some(secret) => {
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", secret);
            }
            None => {
                form.append_pair("client_id", client_id);
            }
        }
        let ask = Ask {
            headers: vec![
                (
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                ),
                ("accept", "application/json".to_owned()),
            ],
            credentials,
            limits: limits(),
        };
        let url = &described.token_endpoint;
        let target = self.client.policy().check(url);
        let target = target.map_err(|why| format!("the address {} {why}", shown(url)))?;
        Ok(self.client.post(&target, &ask, form.finish().as_bytes()))
    }

    fn get<T: DeserializeOwned>(&self, url: &str, login: Option<String>) -> Result<T, String> {
        let target = self.client.policy().check(url);
        let target = target.map_err(|why| {
            format!(
                "the address {} {why} (oidc.allow_private names networks and hosts that may be)",
                shown(url)
            )
        })?;
        let ask = Ask {
            headers: vec![("accept", "application/json".to_owned())],
            credentials: login.map(|it| ("authorization", it)).into_iter().collect(),
            limits: limits(),
        };
        answer(url, self.client.get(&target, &ask))
    }
}

/// As in a form.
fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

fn limits() -> Limits {
    Limits {
        total: CALL_DEADLINE,
        body_bytes: ANSWER_BYTES_MAX,
        ..Limits::default()
    }
}

fn answer<T: DeserializeOwned>(url: &str, done: Done) -> Result<T, String> {
    let url = shown(url);
    let mut answer = done.outcome.map_err(|why| format!("{url}: {why}"))?;
    let mut body = Vec::new();
    let read = answer.body.read_to_end(&mut body);
    read.map_err(|why| format!("{url}: {why}"))?;
    if answer.status == 200 {
        // What the parser says may repeat a token.
        return serde_json::from_slice(&body)
            .map_err(|_| format!("{url} answers something else than a provider does"));
    }
    let trouble: Option<Trouble> = serde_json::from_slice(&body).ok();
    let said = trouble.map_or_else(String::new, |it| {
        let text = match it.error_description {
            Some(more) => format!("{}: {more}", it.error),
            None => it.error,
        };
        let text: String = text.chars().take(200).collect();
        format!(", `{}`", text.escape_debug())
    });
    Err(format!("{url} answers with status {}{said}", answer.status))
}

/// An address without what may be secret in it.
fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let bare: String = bare.chars().take(200).collect();
    bare.escape_debug().to_string()
}
