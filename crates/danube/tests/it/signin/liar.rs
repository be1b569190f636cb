//! A provider that says what a test wants: each wrong answer is wrong in one thing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// It ends with the test's process.
pub(crate) struct Liar {
    pub(crate) issuer: String,
    state: Arc<State>,
}

struct State {
    keys: Mutex<Keys>,
    /// How often its keys were asked for.
    fetches: AtomicUsize,
    other: Ed25519KeyPair,
    /// The nonce of who was asked last, and the lie to tell then.
    next: Mutex<(String, Value)>,
}

/// What it signs with.
struct Keys {
    now: Ed25519KeyPair,
    /// The one before.
    old: Option<Ed25519KeyPair>,
    /// Whether they have a name, which is always the same.
    are_named: bool,
}

fn key() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
}

impl Liar {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            keys: Mutex::new(Keys {
                now: key(),
                old: None,
                are_named: true,
            }),
            fetches: AtomicUsize::new(0),
            other: key(),
            next: Mutex::default(),
        });
        let (own, name) = (Arc::clone(&state), issuer.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = serve(&own, &name, stream);
            }
        });
        Self { issuer, state }
    }

    /// It gives its keys no name, in tokens and elsewhere.
    pub(crate) fn name_no_keys(&self) {
        self.state.keys.lock().unwrap().are_named = false;
    }

    /// It signs with a new key, and publishes that one alone.
    pub(crate) fn change_key(&self) {
        let mut keys = self.state.keys.lock().unwrap();
        keys.old = Some(std::mem::replace(&mut keys.now, key()));
    }

    /// How often its keys were asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::SeqCst)
    }

    /// Somebody is sent to this address; how they are lied to. The state that they bring back.
    #[track_caller]
    pub(crate) fn asked(&self, to: &str, lie: &Value) -> String {
        assert!(to.starts_with(&format!("{}/auth?", self.issuer)), "{to}");
        let value = |name: &str| {
            let (_, query) = to.split_once('?').unwrap();
            let mut pairs = query.split('&').filter_map(|it| it.split_once('='));
            let found = pairs.find(|(it, _)| *it == name);
            found
                .unwrap_or_else(|| panic!("{name} in {to}"))
                .1
                .to_owned()
        };
        *self.state.next.lock().unwrap() = (value("nonce"), lie.clone());
        value("state")
    }
}

fn serve(state: &State, issuer: &str, mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(it) = header.strip_prefix("content-length:") {
            length = it.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, answer) = match line.split(' ').nth(1).unwrap_or_default() {
        "/.well-known/openid-configuration" => {
            let at = |path: &str| format!("{issuer}{path}");
            (
                200,
                json!({"issuer": issuer, "authorization_endpoint": at("/auth"),
                "token_endpoint": at("/token"), "jwks_uri": at("/keys")}),
            )
        }
        "/keys" => {
            state.fetches.fetch_add(1, Ordering::SeqCst);
            let keys = state.keys.lock().unwrap();
            let x = URL_SAFE_NO_PAD.encode(keys.now.public_key().as_ref());
            let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            if keys.are_named {
                key["kid"] = json!("one");
            }
            (200, json!({"keys": [key]}))
        }
        "/token" => token(state, issuer, &String::from_utf8_lossy(&body)),
        _ => (404, json!({})),
    };
    let answer = answer.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{answer}",
        answer.len()
    )
}

fn token(state: &State, issuer: &str, form: &str) -> (u16, Value) {
    let has = |it: &str| form.split('&').any(|pair| pair.starts_with(it));
    if ![
        "code=x",
        "code_verifier=",
        "grant_type=authorization_code",
        "redirect_uri=",
    ]
    .iter()
    .all(|it| has(it))
    {
        return (400, json!({"error": "invalid_request"}));
    }
    let (nonce, lie) = state.next.lock().unwrap().clone();
    if lie.get("nonsense").is_some() {
        return (200, json!(["nonsense"]));
    }
    if let Some(status) = lie["token_status"].as_u64() {
        let status = u16::try_from(status).unwrap();
        return (status, json!({"error": "invalid_grant"}));
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut claims = json!({"iss": issuer, "sub": "1", "aud": "danube", "iat": now, "exp": now + 300,
        "nonce": nonce, "email": "alice@example.org", "email_verified": true});
    let keys = state.keys.lock().unwrap();
    let mut header = match keys.are_named {
        true => json!({"alg": "EdDSA", "kid": "one"}),
        false => json!({"alg": "EdDSA"}),
    };
    change(&mut claims, &lie["claims"]);
    change(&mut header, &lie["header"]);
    let encode = |it: &Value| URL_SAFE_NO_PAD.encode(it.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let key = match (lie.get("forged"), lie.get("old")) {
        (Some(_), _) => &state.other,
        (None, Some(_)) => keys.old.as_ref().unwrap(),
        (None, None) => &keys.now,
    };
    let signature = match lie.get("unsigned") {
        Some(_) => String::new(),
        None => URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())),
    };
    let token = format!("{signed}.{signature}");
    (
        200,
        json!({"id_token": token, "access_token": "a", "token_type": "Bearer"}),
    )
}

fn change(value: &mut Value, changes: &Value) {
    for (name, it) in changes.as_object().into_iter().flatten() {
        value[name] = it.clone();
    }
}
