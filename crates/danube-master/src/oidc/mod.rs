//! Sign-in at an OpenID provider: authorization code with PKCE.
//!
//! `provider.rs` asks it, `verify.rs` judges what it says; here is what is remembered between
//! a browser's leaving for it and coming back. Who somebody is comes from there, what they may do
//! from the blueprint.

mod examine;
mod provider;
mod verify;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use danube_model::Timestamp;
use form_urlencoded::Serializer;
use tokio::sync::Semaphore;

use crate::auth::{hash, token};
use crate::settings::OidcSettings;
pub use examine::{Examined, examine};
use provider::{Description, Provider, Tokens};
use verify::{Claims, Expected, KeySet, Refused, key_of, verify};

/// How long somebody may take at the provider.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// Sign-ins under way at once; the oldest goes first. Strangers may begin one.
const WAITING_MAX: usize = 10_000;

/// How long a provider's description is believed, and its keys: one that it doesn't publish any
/// more, because somebody else has it, must not open this server for long.
const BELIEVED_FOR: Duration = Duration::from_secs(10 * 60);

/// Fetches of keys in a minute: whoever shows tokens with made-up names of keys makes no more.
const FETCHES_MAX: usize = 6;

/// The time in which they are counted.
const FETCHES_IN: Duration = Duration::from_secs(60);

/// Browsers for which the provider is asked at once, each on a thread that may block: one that
/// hangs must not take the threads that everything else is read on.
const ASKING_MAX: usize = 16;

/// The provider, where there is one.
pub(crate) struct Oidc {
    known: Option<Known>,
    /// Turns at asking it for a browser.
    pub(crate) turns: Arc<Semaphore>,
}

struct Known {
    settings: OidcSettings,
    provider: Provider,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    described: Option<(Description, Instant)>,
    keys: Option<(KeySet, Instant)>,
    fetches: VecDeque<Instant>,
    /// By the hash of the state that the browser brings back.
    waiting: HashMap<[u8; 32], Waiting>,
}

/// Somebody who left for the provider.
struct Waiting {
    nonce: String,
    verifier: String,
    until: Instant,
}

/// Where to send a browser, and what it has to bring back.
pub(crate) struct Begun {
    pub(crate) url: String,
    pub(crate) state: String,
}

/// Why nobody is signed in. The texts are shown to whoever tries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    #[error("this server signs nobody in by OpenID Connect: oidc.issuer names no provider")]
    Off,
    #[error("too many sign in at once; try again in a moment")]
    Busy,
    #[error(
        "this sign-in began too long ago, in another browser, or was used already; choose `Sign in` to begin again"
    )]
    Stale,
    #[error("the provider can't be asked: {0}")]
    Provider(String),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the provider tells no e-mail address; oidc.scopes must hold `email`")]
    NoEmail,
    #[error("the provider hasn't verified that the e-mail address is yours")]
    Unverified,
}

impl Oidc {
    /// `mask` keeps its secret out of the log.
    pub(crate) fn new(
        settings: Option<&OidcSettings>,
        mask: &dyn Fn(&[u8]),
    ) -> Result<Self, String> {
        let known = settings.map(|it| {
            Ok::<_, String>(Known {
                settings: it.clone(),
                provider: Provider::new(it, mask)?,
                state: Mutex::default(),
            })
        });
        Ok(Self {
            known: known.transpose()?,
            turns: Arc::new(Semaphore::new(ASKING_MAX)),
        })
    }

    /// Whether there is a provider.
    pub(crate) fn is_on(&self) -> bool {
        self.known.is_some()
    }

    /// Begins a sign-in that comes back to `redirect`. May block while it asks.
    pub(crate) fn begin(&self, redirect: &str) -> Result<Begun, Failed> {
        let known = self.known.as_ref().ok_or(Failed::Off)?;
        let described = known.described()?;
        let (state, nonce, verifier) = (token(), token(), token());
        let challenge = URL_SAFE_NO_PAD.encode(hash(&verifier));
        let mut query = Serializer::new(String::new());
        query.extend_pairs([
            ("response_type", "code"),
            ("client_id", &known.settings.client_id),
            ("redirect_uri", redirect),
            ("scope", &known.settings.scopes),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        known.wait(&state, nonce, verifier, Instant::now());
        let url = &described.authorization_endpoint;
        let joint = if url.contains('?') { '&' } else { '?' };
        Ok(Begun {
            url: format!("{url}{joint}{}", query.finish()),
            state,
        })
    }

    /// The verified address of who came back with this state and code. May block while it asks.
    pub(crate) fn finish(&self, state: &str, code: &str, redirect: &str) -> Result<String, Failed> {
        let known = self.known.as_ref().ok_or(Failed::Off)?;
        let waiting = known.lock().waiting.remove(&hash(state));
        let waiting = waiting.filter(|it| Instant::now() < it.until);
        let waiting = waiting.ok_or(Failed::Stale)?;
        let described = known.described()?;
        let tokens = known
            .provider
            .exchange(&described, (code, &waiting.verifier, redirect))
            .map_err(Failed::Provider)?;
        let claims = known.verified(&described, &tokens, &waiting.nonce)?;
        known.address(&described, &tokens, claims)
    }

    /// Whether the provider is there and is the one that the settings name. May block.
    pub(crate) fn answers(&self) -> Result<(), String> {
        let Some(known) = &self.known else {
            return Ok(());
        };
        let described = known.provider.describe()?;
        if !described.knows_pkce() {
            return Err(
                "the provider doesn't know PKCE with S256, without which nobody is signed in"
                    .into(),
            );
        }
        known.provider.keys(&described).map(drop)
    }
}

impl Known {
    fn wait(&self, state: &str, nonce: String, verifier: String, now: Instant) {
        let mut kept = self.lock();
        if kept.waiting.len() >= WAITING_MAX {
            kept.waiting.retain(|_, it| now < it.until);
        }
        if kept.waiting.len() >= WAITING_MAX {
            let oldest = kept.waiting.iter().min_by_key(|(_, it)| it.until);
            if let Some(oldest) = oldest.map(|(it, _)| *it) {
                kept.waiting.remove(&oldest);
            }
        }
        let waiting = Waiting {
            nonce,
            verifier,
            until: now + WAIT_MAX,
        };
        kept.waiting.insert(hash(state), waiting);
    }

    fn described(&self) -> Result<Description, Failed> {
        let now = Instant::now();
        if let Some((described, at)) = &self.lock().described
            && now < *at + BELIEVED_FOR
        {
            return Ok(described.clone());
        }
        // Without the lock: a provider that hangs holds up nobody else's sign-in that is known.
        let described = self.provider.describe().map_err(Failed::Provider)?;
        self.lock().described = Some((described.clone(), now));
        Ok(described)
    }

    /// The claims of the ID token. A key that isn't known, or doesn't fit, is looked for once
    /// more, for providers change theirs.
    fn verified(
        &self,
        described: &Description,
        tokens: &Tokens,
        nonce: &str,
    ) -> Result<Claims, Failed> {
        let kid = key_of(&tokens.id_token)?;
        let now = Instant::now();
        let held = self.lock().held(now);
        let (keys, are_fresh) = match held {
            Some(keys) if keys.has(kid.as_deref()) => (keys, false),
            held => (self.fetched(described, held, now)?, true),
        };
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce,
            now: Timestamp::now().as_millis() / 1_000,
            leeway: i64::try_from(self.settings.leeway.as_secs()).unwrap_or(i64::MAX),
        };
        match verify(&tokens.id_token, &keys, &expected) {
            // A provider that gives its keys no names may have changed them, too.
            Err(Refused::UnknownKey | Refused::Signature) if !are_fresh => {
                let keys = self.fetched(described, Some(keys), now)?;
                Ok(verify(&tokens.id_token, &keys, &expected)?)
            }
            judged => Ok(judged?),
        }
    }

    fn fetched(
        &self,
        described: &Description,
        held: Option<KeySet>,
        now: Instant,
    ) -> Result<KeySet, Failed> {
        if !self.lock().may_fetch(now) {
            let why = "its keys were fetched often in the last minute; try again in one";
            return held.ok_or_else(|| Failed::Provider(why.to_owned()));
        }
        let keys = self.provider.keys(described).map_err(Failed::Provider)?;
        self.lock().keys = Some((keys.clone(), now));
        Ok(keys)
    }

    /// The verified address, from the ID token or, where that holds none, from the provider
    /// itself, for the same person.
    fn address(
        &self,
        described: &Description,
        tokens: &Tokens,
        claims: Claims,
    ) -> Result<String, Failed> {
        let (mut email, mut is_verified) = (claims.email, claims.email_verified);
        if email.is_none()
            && let (Some(url), Some(token)) = (&described.userinfo_endpoint, &tokens.access_token)
        {
            let told = self.provider.user_info(url, token);
            let told = told.map_err(Failed::Provider)?;
            if told.sub != claims.sub {
                let why = "it tells of somebody else than the ID token does";
                return Err(Failed::Provider(why.to_owned()));
            }
            (email, is_verified) = (told.email, told.email_verified);
        }
        match (email, is_verified) {
            (None, _) => Err(Failed::NoEmail),
            (Some(email), Some(true)) => Ok(email),
            (Some(_), _) => Err(Failed::Unverified),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The keys, as long as they are believed.
    fn held(&self, now: Instant) -> Option<KeySet> {
        let (keys, at) = self.keys.as_ref()?;
        (now < *at + BELIEVED_FOR).then(|| keys.clone())
    }

    fn may_fetch(&mut self, now: Instant) -> bool {
        while self
            .fetches
            .front()
            .is_some_and(|it| *it + FETCHES_IN <= now)
        {
            self.fetches.pop_front();
        }
        let may = self.fetches.len() < FETCHES_MAX;
        if may {
            self.fetches.push_back(now);
        }
        may
    }
}

/// Asks a provider whether it is one that this server can sign in at; may take 20 seconds.
///
/// # Errors
/// What is wrong, for people.
pub fn ask_provider(settings: &OidcSettings) -> Result<(), String> {
    Oidc::new(Some(settings), &|_| {})?.answers()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_six_times_a_minute_at_most() {
        let (mut state, now) = (State::default(), Instant::now());
        let fetched = (0..100).filter(|_| state.may_fetch(now)).count();
        assert_eq!(fetched, FETCHES_MAX);
        assert!(!state.may_fetch(now + FETCHES_IN / 2));
        assert!(state.may_fetch(now + FETCHES_IN));
    }

    #[test]
    fn keys_are_believed_for_ten_minutes() {
        let now = Instant::now();
        let keys: KeySet = serde_json::from_str(r#"{"keys": []}"#).unwrap();
        let state = State {
            keys: Some((keys, now)),
            ..State::default()
        };
        let almost = now + BELIEVED_FOR - Duration::from_secs(1);
        assert!(state.held(almost).is_some());
        assert!(state.held(now + BELIEVED_FOR).is_none());
    }

    #[test]
    fn sign_ins_under_way_are_bounded_and_end() {
        let settings = OidcSettings {
            issuer: "https://sso.example.org".to_owned(),
            client_id: "danube".to_owned(),
            client_secret_file: None,
            scopes: "openid email".to_owned(),
            leeway: Duration::ZERO,
            allow_private: Vec::new(),
        };
        let oidc = Oidc::new(Some(&settings), &|_| {}).unwrap();
        let (known, now) = (oidc.known.as_ref().unwrap(), Instant::now());
        for nth in 0..WAITING_MAX + 10 {
            let nonce = String::new();
            known.wait(&nth.to_string(), nonce.clone(), nonce, now);
        }
        assert_eq!(known.lock().waiting.len(), WAITING_MAX);
        assert_eq!(oidc.finish("made up", "x", "y"), Err(Failed::Stale));
        known.wait("later", String::new(), String::new(), now + WAIT_MAX);
        assert_eq!(
            known.lock().waiting.len(),
            1,
            "those that are over go first"
        );
        assert_eq!(
            Oidc::new(None, &|_| {}).unwrap().finish("x", "y", "z"),
            Err(Failed::Off)
        );
    }
}
