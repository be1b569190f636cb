//! Sign-in of users at an OpenID provider: a real one (npm `oidc-provider`), and one that lies.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

pub(crate) mod browser;
mod keys;
mod liar;
pub(crate) mod peer;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::health;
use crate::master::{DANUBE, DEADLINE, Master};
use crate::processes::until;
use browser::{Browser, Page};
use liar::Liar;
use peer::Peer;

/// Declares these users, each with an address; `root` is an administrator.
pub(crate) fn declare(dir: &Path, users: &[(&str, &str)]) {
    let users_dir = dir.join("users");
    let _ = fs::remove_dir_all(&users_dir);
    fs::create_dir_all(&users_dir).unwrap();
    for (name, email) in users {
        let user = json!({"apiVersion": "danube.dev/v1", "kind": "User", "metadata": {"name": name},
                          "spec": {"email": email, "admin": *name == "root"}});
        fs::write(users_dir.join(format!("{name}.json")), user.to_string()).unwrap();
    }
}

/// What the provider of these tests knows this server by.
const SECRET: &str = "a secret: with/odd+signs&more";

/// The options of a master that signs in at this issuer, with the blueprint in `own`.
fn options(own: &Path, issuer: &str) -> Vec<String> {
    let secret = own.join("oidc.secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    [
        ("--blueprint-dir", own.join("blueprint").to_str().unwrap()),
        ("--oidc-issuer", issuer),
        ("--oidc-client-secret-file", secret.to_str().unwrap()),
        ("--oidc-allow-private", "127.0.0.1"),
    ]
    .iter()
    .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
    .collect()
}

pub(crate) fn started(own: &Path, issuer: &str) -> Master {
    started_with(own, issuer, &[])
}

/// The same with more options.
pub(crate) fn started_with(own: &Path, issuer: &str, more: &[&str]) -> Master {
    let options = options(own, issuer);
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(more);
    Master::start_in(&own.join("data"), &options)
}

/// What a sign-in comes to when this provider lies so.
#[track_caller]
fn lied_to(master: &Master, liar: &Liar, lie: &Value) -> Page {
    let mut browser = Browser::default();
    let left = browser.get_once(&format!("{}/login/oidc", master.address));
    let to = left.location.clone().unwrap_or_else(|| panic!("{left:?}"));
    assert!(to.contains("code_challenge_method=S256"), "{to}");
    let state = liar.asked(&to, lie);
    browser.get_once(&format!(
        "{}/login/oidc/callback?code=x&state={state}",
        master.address
    ))
}

fn account(sub: &str, email: &str, is_verified: bool) -> Value {
    json!({"account": {"sub": sub, "email": email, "email_verified": is_verified}})
}

/// A key of `danube login` for the user with this address, whom the provider knows.
#[track_caller]
pub(crate) fn key_of(master: &Master, peer: &mut Peer, email: &str) -> String {
    peer.order(&account(email, email, true));
    let mut browser = Browser::default();
    let entered = browser.get(&format!("{}/login/oidc", master.address));
    assert_eq!(entered.status, 200, "{entered:?}");
    let verifier = "v".repeat(43);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let form = format!("port=65000&challenge={challenge}&state={}", "s".repeat(22));
    let yes = browser.post(&format!("{}/login/cli", master.address), &form);
    let code = yes.text.split("code=").nth(1);
    let code = code.unwrap_or_else(|| panic!("{yes:?}")).split('&').next();
    let proof = json!({"code": code, "verifier": verifier}).to_string();
    let headers = [("content-type", "application/json")];
    let made = master.request("POST", "/login/cli/key", &headers, proof.as_bytes());
    assert_eq!(made.status, 200, "{}", made.text());
    made.json()["key"].as_str().unwrap().to_owned()
}

mod peers {
    use super::*;

    #[test]
    fn a_user_of_the_blueprint_signs_in_at_a_real_provider_and_nobody_else() {
        let own = tempfile::tempdir().unwrap();
        let users = [("alice", "alice@example.org"), ("root", "Root@example.org")];
        declare(&own.path().join("blueprint"), &users);
        let mut peer = Peer::start();
        let mut master = started(own.path(), &peer.issuer);
        let start = |master: &Master| format!("{}/login/oidc", master.address);

        // The login page leads there.
        let mut alice = Browser::default();
        let page = alice.get(&format!("{}/login", master.address));
        assert!(page.text.contains("href=\"/login/oidc\""), "{}", page.text);
        let entered = alice.get(&start(&master));
        assert_eq!(entered.status, 200, "{entered:?}");
        assert!(
            entered.url.contains("/login/oidc/callback?code="),
            "{entered:?}"
        );
        let jobs = format!("{}/api/v1/jobs", master.address);
        assert_eq!(alice.get(&jobs).status, 200);
        // She isn't an administrator, and no session changes anything.
        assert_eq!(
            alice
                .get(&format!("{}/api/v1/audit", master.address))
                .status,
            403
        );
        // The same answer again is worth nothing, here or in another browser.
        let again = alice.get(&entered.url);
        assert_eq!(again.status, 401);
        assert!(again.text.contains("too long ago"), "{}", again.text);
        assert_eq!(Browser::default().get(&entered.url).status, 401);

        // Addresses are the same in any case; what an account is called elsewhere doesn't count.
        peer.order(&account("2", "root@Example.org", true));
        let mut root = Browser::default();
        assert_eq!(root.get(&start(&master)).status, 200);
        assert_eq!(root.get(&jobs).status, 200);

        // The provider's keys were changed with each order. Whoever it knows otherwise stays out.
        for (order, status, why) in [
            (
                account("3", "mallory@example.org", true),
                403,
                "no user of this server has that address",
            ),
            (account("4", "alice@example.org", false), 401, "verified"),
            (json!({"account": {"sub": "5"}}), 401, "no e-mail address"),
        ] {
            peer.order(&order);
            let mut other = Browser::default();
            let refused = other.get(&start(&master));
            assert_eq!(refused.status, status, "{refused:?}");
            assert!(refused.text.contains(why), "{why}: {}", refused.text);
            assert_eq!(other.get(&jobs).status, 401);
        }
        // A provider that tells addresses at its `userinfo` alone.
        peer.order(&json!({"in_token": false}));
        peer.order(&account("1", "alice@example.org", true));
        assert_eq!(Browser::default().get(&start(&master)).status, 200);

        // Sessions outlive a kill, and end with their user.
        master.kill();
        let before = master.address.clone();
        let master = started(own.path(), &peer.issuer);
        let jobs = format!("{}/api/v1/jobs", master.address);
        alice.moved(&before, &master.address);
        root.moved(&before, &master.address);
        assert_eq!(alice.get(&jobs).status, 200);
        declare(&own.path().join("blueprint"), &users[1..]);
        master.signal("HUP");
        until(
            "alice is gone with the blueprint's next reading",
            DEADLINE,
            || (alice.get(&jobs).status == 401).then_some(()),
        );
        assert_eq!(root.get(&jobs).status, 200);
        told(&master);
    }

    /// What the server tells of it, with no secret.
    #[track_caller]
    fn told(master: &Master) {
        let dex = health::check(master, "dex");
        assert_eq!(dex["status"], "ok", "{dex}");
        let log = master.log_lines().join("\n");
        for secret in [SECRET, "code=", "id_token"] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
    }

    /// Where the command line sends its user.
    fn address(said: impl BufRead) -> String {
        said.lines()
            .find_map(|line| {
                line.unwrap()
                    .split(' ')
                    .find(|it| it.contains("/login/cli?"))
                    .map(str::to_owned)
            })
            .expect("an address")
    }

    /// Alice, who isn't signed in yet, says yes to the command line.
    #[track_caller]
    fn say_yes(master: &Master, url: &str) {
        // She signs in first, and is led back to what she wanted.
        let mut alice = Browser::default();
        let entered = alice.get(url);
        let next = url
            .strip_prefix(&master.address)
            .unwrap()
            .replace('&', "&amp;");
        assert!(entered.text.contains(&next), "{next} in {}", entered.text);
        let asked = alice.get(url);
        assert!(
            asked.text.contains("<strong>alice</strong>"),
            "{}",
            asked.text
        );
        let form = url.split_once('?').unwrap().1;
        let to = format!("{}/login/cli", master.address);
        // Nobody says yes for her.
        assert_eq!(Browser::default().post(&to, form).status, 403);
        let yes = alice.post(&to, form);
        let back = yes
            .text
            .split("url=")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let back = back.replace("&amp;", "&");
        let wrong = back.replace("state=", "state=x");
        assert_eq!(Browser::default().get_once(&wrong).status, 404);
        assert_eq!(Browser::default().get_once(&back).status, 200);
    }

    #[test]
    fn the_command_line_acts_for_who_says_yes_in_a_browser() {
        let own = tempfile::tempdir().unwrap();
        let users = [("alice", "alice@example.org")];
        declare(&own.path().join("blueprint"), &users);
        let peer = Peer::start();
        let master = started(own.path(), &peer.issuer);
        let config = own.path().join("config");
        let client = |arguments: &[&str]| {
            let mut command = Command::new(DANUBE);
            command
                .args(arguments)
                .env("XDG_CONFIG_HOME", &config)
                .env_remove("DANUBE_API_KEY")
                .env_remove("DANUBE_SERVER");
            command
        };
        let mut login = client(&["login", "--server", &master.address])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let url = address(BufReader::new(login.stderr.take().unwrap()));

        say_yes(&master, &url);
        let output = login.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && out.starts_with("logged in as alice until 2"),
            "{out}"
        );

        let file = config.join("danube/login.json");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let jobs = client(&["jobs"]).output().unwrap();
        assert!(jobs.status.success(), "{jobs:?}");
        let bearer = format!("Bearer {}", kept["key"].as_str().unwrap());
        let with_key = |method: &str, path: &str, body: &str| {
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
            ];
            master.request(method, path, &headers, body.as_bytes())
        };
        let spec = crate::master::one_step("true").to_string();
        let job = with_key("POST", "/api/v1/jobs", &spec);
        assert_eq!(
            (job.status, &job.json()["submitted_by"]),
            (202, &json!("alice"))
        );
        // A member, as the blueprint has her.
        assert_eq!(with_key("GET", "/api/v1/api-keys", "").status, 403);

        let out = client(&["logout"]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        assert!(!file.exists());
        assert_eq!(with_key("GET", "/api/v1/jobs", "").status, 401);
        let again = client(&["logout"]).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&again.stdout),
            "nobody was logged in\n"
        );
    }

    /// What `danube doctor oidc` says is wrong, by part, and what to do; with these settings beside
    /// the good ones.
    fn wrong_parts(own: &Path, issuer: &str, others: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut command = Command::new(DANUBE);
        command
            .args(["doctor", "oidc", "-o", "json", "--data-dir"])
            .arg(own.join("data"))
            .env("DANUBE_OIDC_ISSUER", issuer)
            .env("DANUBE_OIDC_ALLOW_PRIVATE", "127.0.0.1")
            .env("DANUBE_OIDC_CLIENT_SECRET_FILE", own.join("oidc.secret"))
            .env("DANUBE_BLUEPRINT_DIR", own.join("blueprint"));
        for (name, value) in others {
            match name.strip_prefix("--") {
                Some(_) => command.args([name, value]),
                None => command.env(name, value),
            };
        }
        let output = command.output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{output:?}"));
        let checks = report["checks"].as_array().unwrap().iter();
        let failed = checks.filter(|it| it["status"] == "failed").map(|it| {
            let text = format!("{} {}", it["detail"], it["fix"]);
            (it["check"].as_str().unwrap().to_owned(), text)
        });
        let failed: Vec<_> = failed.collect();
        assert_eq!(
            output.status.code(),
            Some(i32::from(!failed.is_empty())),
            "{out}"
        );
        assert!(!out.contains(SECRET), "{out}");
        failed
    }

    #[test]
    fn doctor_says_which_part_of_a_set_up_is_wrong() {
        let own = tempfile::tempdir().unwrap();
        declare(
            &own.path().join("blueprint"),
            &[("alice", "alice@example.org")],
        );
        let secret = own.path().join("oidc.secret");
        fs::write(&secret, SECRET).unwrap();
        let other = own.path().join("other.secret");
        fs::write(&other, "another").unwrap();
        let mut peer = Peer::start();
        let issuer = peer.issuer.clone();
        let check = |issuer: &str, others: &[(&str, &str)], expected: &[(&str, &str)]| {
            let found = wrong_parts(own.path(), issuer, others);
            let parts: Vec<&str> = found.iter().map(|(part, _)| part.as_str()).collect();
            let wanted: Vec<&str> = expected.iter().map(|(part, _)| *part).collect();
            assert_eq!(parts, wanted, "{others:?}: {found:?}");
            for ((_, text), (_, word)) in found.iter().zip(expected) {
                assert!(text.contains(word), "{word}: {text}");
            }
        };
        check(&issuer, &[], &[]);
        check(&issuer, &[("--email", "Alice@example.org")], &[]);
        check(
            &issuer,
            &[("--email", "bob@example.org")],
            &[("users", "has the address bob@example.org")],
        );
        check(&format!("{issuer}/"), &[], &[("issuer", "to the letter")]);
        check(
            "http://127.0.0.1:1",
            &[],
            &[("issuer", "start the provider")],
        );
        check(
            &issuer,
            &[("DANUBE_OIDC_CLIENT_SECRET_FILE", other.to_str().unwrap())],
            &[("client", "its id or its secret is wrong")],
        );
        check(
            &issuer,
            &[("DANUBE_OIDC_CLIENT_ID", "somebody")],
            &[
                ("client", "its id or its secret is wrong"),
                ("redirect", "refuses a sign-in"),
            ],
        );
        check(
            &issuer,
            &[("DANUBE_SERVER_PUBLIC_URL", "https://ci.example.org")],
            &[("redirect", "https://ci.example.org/login/oidc/callback")],
        );
        peer.order(&json!({"clock": -3600}));
        check(&issuer, &[], &[("clock", "s apart")]);
        peer.order(&json!({"clock": 0, "curve": "P-384"}));
        check(&issuer, &[], &[("keys", "none of the keys")]);
    }

    #[test]
    fn a_provider_that_is_away_lets_keys_and_sessions_go_on_and_doctor_says_so() {
        let own = tempfile::tempdir().unwrap();
        declare(
            &own.path().join("blueprint"),
            &[("alice", "alice@example.org")],
        );
        let peer = Peer::start();
        let issuer = peer.issuer.clone();
        let doctor = |issuer: &str| {
            let output = Command::new(DANUBE)
                .args(["doctor", "-o", "json", "--data-dir"])
                .arg(own.path().join("data"))
                .env("DANUBE_OIDC_ISSUER", issuer)
                .env("DANUBE_OIDC_ALLOW_PRIVATE", "127.0.0.1")
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let fine = doctor(&issuer);
        assert!(fine.contains("describes itself and its keys"), "{fine}");
        // To the letter.
        let other = doctor(&format!("{issuer}/"));
        assert!(other.contains("must be the same to the letter"), "{other}");
        let master = started(own.path(), &issuer);
        let mut alice = Browser::default();
        assert_eq!(
            alice.get(&format!("{}/login/oidc", master.address)).status,
            200
        );
        drop(peer);
        assert_eq!(
            alice.get(&format!("{}/api/v1/jobs", master.address)).status,
            200
        );
        let away = doctor(&issuer);
        assert!(away.contains("/.well-known/openid-configuration"), "{away}");
        let mut late = Browser::default();
        let refused = late.get_once(&format!("{}/login/oidc", master.address));
        // What the provider said of itself is still known; the way there ends at its door.
        assert_eq!(refused.status, 303);
    }
}

/// What a provider may say that it mustn't, and what is told of it.
fn lies() -> [(&'static str, Value, &'static str); 14] {
    [
        (
            "issuer",
            json!({"claims": {"iss": "https://other"}}),
            "of another issuer",
        ),
        (
            "audience",
            json!({"claims": {"aud": "other"}}),
            "for somebody else",
        ),
        (
            "audiences",
            json!({"claims": {"aud": ["danube", "other"]}}),
            "for somebody else",
        ),
        (
            "party",
            json!({"claims": {"azp": "other"}}),
            "for somebody else",
        ),
        (
            "nonce",
            json!({"claims": {"nonce": "other"}}),
            "another sign-in",
        ),
        (
            "expired",
            json!({"claims": {"exp": 1_000_000_000}}),
            "expired",
        ),
        (
            "early",
            json!({"claims": {"nbf": 9_000_000_000_u64}}),
            "good yet",
        ),
        (
            "none",
            json!({"header": {"alg": "none"}, "unsigned": true}),
            "`none`",
        ),
        (
            "shared",
            json!({"header": {"alg": "HS256"}, "unsigned": true}),
            "`HS256`",
        ),
        ("forged", json!({"forged": true}), "signature"),
        (
            "unknown key",
            json!({"header": {"kid": "other"}}),
            "doesn&#39;t publish",
        ),
        (
            "unverified",
            json!({"claims": {"email_verified": false}}),
            "verified",
        ),
        (
            "nobody",
            json!({"claims": {"email": null}}),
            "no e-mail address",
        ),
        (
            "stranger",
            json!({"claims": {"email": "eve@example.org"}}),
            "no user of this server",
        ),
    ]
}

#[test]
fn an_answer_that_is_wrong_in_one_thing_signs_nobody_in() {
    let own = tempfile::tempdir().unwrap();
    declare(
        &own.path().join("blueprint"),
        &[("alice", "alice@example.org")],
    );
    let liar = Liar::start();
    let master = started(own.path(), &liar.issuer);
    let check = |what: &str, lie: &Value, status: u16, why: &str| {
        let came = lied_to(&master, &liar, lie);
        assert_eq!(came.status, status, "{what}: {came:?}");
        assert!(came.text.contains(why), "{what}: {}", came.text);
    };
    check("the truth", &json!({}), 200, "");
    for (what, lie, why) in lies() {
        let status = match what {
            "stranger" => 403,
            _ => 401,
        };
        check(what, &lie, status, why);
    }
    for (what, lie) in [
        ("no code", json!({"token_status": 400})),
        ("nonsense", json!({"token_status": 200, "nonsense": true})),
    ] {
        check(what, &lie, 502, "be asked");
    }
}

#[test]
fn without_the_cookie_or_with_the_state_of_another_nobody_comes_in() {
    let own = tempfile::tempdir().unwrap();
    declare(
        &own.path().join("blueprint"),
        &[("alice", "alice@example.org")],
    );
    let liar = Liar::start();
    let master = started(own.path(), &liar.issuer);
    let mut victim = Browser::default();
    let left = victim.get_once(&format!("{}/login/oidc", master.address));
    let state = liar.asked(&left.location.unwrap(), &json!({}));
    let back = format!(
        "{}/login/oidc/callback?code=x&state={state}",
        master.address
    );
    assert_eq!(Browser::default().get_once(&back).status, 401);
    let mut attacker = Browser::default();
    attacker.get_once(&format!("{}/login/oidc", master.address));
    assert_eq!(attacker.get_once(&back).status, 401);
    let made_up = format!("{}/login/oidc/callback?code=x&state=", master.address);
    assert_eq!(victim.get_once(&made_up).status, 401);
    let refused = format!(
        "{}/login/oidc/callback?error=access_denied&state={state}",
        master.address
    );
    let told = victim.get_once(&refused);
    assert!(told.status == 502 || told.status == 401, "{told:?}");
}

#[test]
fn a_wrong_set_up_is_refused_before_it_serves() {
    let own = tempfile::tempdir().unwrap();
    declare(&own.path().join("blueprint"), &[("alice", "a@example.org")]);
    let start = |arguments: &[&str]| {
        let Err(said) = Master::try_start_in(&own.path().join("data"), arguments) else {
            panic!("it started with {arguments:?}");
        };
        said
    };
    let issuer = ["--oidc-issuer", "http://sso.example.org"];
    assert!(start(&issuer).contains("oidc.issuer"));
    let issuer = ["--oidc-issuer", "https://sso.example.org"];
    let scopes = [&issuer[..], &["--oidc-scopes", "openid"]].concat();
    assert!(start(&scopes).contains("`email` is missing"));
    let secret = [&issuer[..], &["--oidc-client-secret-file", "/nowhere"]].concat();
    assert!(start(&secret).contains("read /nowhere"));
    fs::write(own.path().join("blueprint/users/bob.json"), "{}").unwrap();
    let dir = own.path().join("blueprint");
    let said = start(&["--blueprint-dir", dir.to_str().unwrap()]);
    assert!(said.contains("danube blueprint check"), "{said}");
}
