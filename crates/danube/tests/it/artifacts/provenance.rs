//! Where artifacts come from: what is signed, whether `OpenSSL` believes it, and that nothing
//! that was changed passes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Waiting, sha256};
use crate::isolation::repository;
use crate::master::{DANUBE, Master, id};

fn payload(envelope: &Value) -> Value {
    let bytes = STANDARD
        .decode(envelope["payload"].as_str().unwrap())
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// `danube provenance verify`, with no server to ask.
fn verify(files: &[&Path], provenance: &Path, key: &Path) -> Output {
    Command::new(DANUBE)
        .args(["provenance", "verify"])
        .args(files)
        .arg("--provenance")
        .arg(provenance)
        .arg("--key")
        .arg(key)
        .env_remove("DANUBE_SERVER")
        .output()
        .unwrap()
}

fn text(said: &Output) -> String {
    let both = [&said.stdout[..], &said.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn a_statement_says_where_files_come_from_and_leaves_secrets_out() {
    let own = tempfile::tempdir().unwrap();
    let commit = repository(own.path(), "main");
    let here = own.path().display().to_string();
    let master = Master::with(&[
        "--public-url",
        "https://ci.example.org",
        "--allow-path",
        &here,
    ]);
    let url = format!("file://{here}");
    let order = json!({
        "spec": {"name": "build", "repository": url, "steps": [
            {"name": "make", "run": "echo app > app; echo lib > lib.so", "artifacts": ["app", "*.so"]}]},
        "parameters": {"LEVEL": "3", "TOKEN": "geheimnis-4711"},
        "mask": ["geheimnis-4711"],
    });
    let id = id(&master.submit(&order));
    let job = master.ended(&id);
    assert_eq!(
        job["status"],
        "success",
        "{job} {}",
        String::from_utf8_lossy(&master.log(&id))
    );
    let answer = master.get(&format!("/api/v1/jobs/{id}/provenance"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let envelope = answer.json();
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let statement = payload(&envelope);
    assert!(!statement.to_string().contains("geheimnis"), "{statement}");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let subjects = json!([
        {"name": "app", "digest": {"sha256": sha256(b"app\n")}},
        {"name": "lib.so", "digest": {"sha256": sha256(b"lib\n")}},
    ]);
    assert_eq!(statement["subject"], subjects);
    let built = &statement["predicate"]["buildDefinition"];
    let external = &built["externalParameters"];
    assert_eq!(
        (&external["pipeline"], &external["repository"]),
        (&json!("build"), &json!(url))
    );
    assert_eq!(external["parameters"]["LEVEL"], "3");
    assert!(external["parameters"]["TOKEN"].is_string(), "{external}");
    let dependency = json!([{"uri": format!("git+{url}"), "digest": {"gitCommit": commit}}]);
    assert_eq!(built["resolvedDependencies"], dependency, "{statement}");
    let run = &statement["predicate"]["runDetails"];
    assert_eq!(run["builder"]["id"], "https://ci.example.org");
    assert_eq!(run["metadata"]["invocationId"], id.as_str());
    assert_eq!(run["metadata"]["startedOn"], job["started_at"]);
    assert_eq!(run["metadata"]["finishedOn"], job["finished_at"]);
    assert_eq!(built["internalParameters"]["attempt"], 1);
    assert_eq!(built["internalParameters"]["worker"], job["worker_id"]);
    // Signed once is signed for good.
    assert_eq!(
        master.get(&format!("/api/v1/jobs/{id}/provenance")).json(),
        envelope
    );
    let mode = fs::metadata(master.dir.join("provenance.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A job that left `app`, what is signed of it, and a directory with both and the key.
struct Signed {
    master: Master,
    id: String,
    envelope: Value,
    own: TempDir,
}

impl Signed {
    fn new() -> Self {
        let master = Master::start();
        let steps = json!([{"name": "make", "run": "echo app > app", "artifacts": ["app"]}]);
        let id = id(&master.submit(&json!({"spec": {"name": "p", "steps": steps}})));
        assert_eq!(master.ended(&id)["status"], "success");
        let own = tempfile::tempdir().unwrap();
        let shown = |arguments: &[&str]| {
            let said = master.danube(arguments);
            assert!(said.status.success(), "{}", text(&said));
            said.stdout
        };
        let envelope = shown(&["provenance", "show", &id]);
        fs::write(own.path().join("provenance"), &envelope).unwrap();
        let key = shown(&["provenance", "key"]);
        fs::write(own.path().join("key.pem"), key).unwrap();
        fs::write(own.path().join("renamed"), "app\n").unwrap();
        fs::write(own.path().join("tampered"), "App\n").unwrap();
        Self {
            envelope: serde_json::from_slice(&envelope).unwrap(),
            master,
            id,
            own,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.own.path().join(name)
    }

    /// The key's id as it is signed with.
    fn keyid(&self) -> &str {
        self.envelope["signatures"][0]["keyid"].as_str().unwrap()
    }

    fn openssl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.own.path());
        let said = command.output().unwrap();
        assert!(said.status.success(), "{arguments:?}: {}", text(&said));
        said
    }

    /// How a file is judged by a statement and a key, and in what words.
    fn judged(&self, file: &str, provenance: &str, key: &str) -> (Option<i32>, String) {
        let said = verify(&[&self.at(file)], &self.at(provenance), &self.at(key));
        (said.status.code(), text(&said))
    }
}

#[test]
fn openssl_believes_what_is_signed() {
    let signed = Signed::new();
    let payload = STANDARD.decode(signed.envelope["payload"].as_str().unwrap());
    let payload = payload.unwrap();
    let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    fs::write(signed.at("pae"), [head.as_bytes(), &payload].concat()).unwrap();
    let sig = signed.envelope["signatures"][0]["sig"].as_str().unwrap();
    fs::write(signed.at("sig"), STANDARD.decode(sig).unwrap()).unwrap();
    let verified = "pkeyutl -verify -pubin -inkey key.pem -rawin -in pae -sigfile sig";
    let words: Vec<&str> = verified.split(' ').collect();
    signed.openssl(&words);
    let der = signed.openssl(&["pkey", "-pubin", "-in", "key.pem", "-outform", "DER"]);
    let key = &der.stdout[der.stdout.len() - 32..];
    assert_eq!(signed.keyid(), sha256(key));
}

#[test]
fn a_file_is_right_by_its_bytes_and_what_was_changed_is_refused() {
    let signed = Signed::new();
    let (code, said) = signed.judged("renamed", "provenance", "key.pem");
    assert!(
        code == Some(0) && said.contains("is the artifact app"),
        "{said}"
    );
    // The server may say what its keys are.
    let (file, provenance) = (signed.at("renamed"), signed.at("provenance"));
    let (file, provenance) = (file.display().to_string(), provenance.display().to_string());
    let asked = ["provenance", "verify", &file, "--provenance", &provenance];
    let said = signed.master.danube(&asked);
    assert!(said.status.success(), "{}", text(&said));
    let (code, said) = signed.judged("tampered", "provenance", "key.pem");
    assert!(
        code == Some(1) && said.contains("tampered is WRONG"),
        "{said}"
    );
    let both = [&*signed.at("renamed"), &*signed.at("tampered")];
    let said = verify(&both, &signed.at("provenance"), &signed.at("key.pem"));
    assert_eq!(said.status.code(), Some(1), "one of two is enough");

    let mut changed = signed.envelope.clone();
    let mut statement = payload(&changed);
    statement["subject"][0]["digest"]["sha256"] = json!(sha256(b"App\n"));
    changed["payload"] = json!(STANDARD.encode(statement.to_string()));
    fs::write(signed.at("changed"), changed.to_string()).unwrap();
    let (code, said) = signed.judged("tampered", "changed", "key.pem");
    assert!(
        code == Some(1) && said.contains("what was signed was changed"),
        "{said}"
    );
    let (code, said) = signed.judged("renamed", "provenance", "renamed");
    assert_eq!(code, Some(2), "no key: {said}");
}

#[test]
fn another_key_is_refused_and_an_old_one_stays_known() {
    let signed = Signed::new();
    signed.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "other.key"]);
    signed.openssl(&["pkey", "-in", "other.key", "-pubout", "-out", "other.pem"]);
    let (code, said) = signed.judged("renamed", "provenance", "other.pem");
    assert!(
        code == Some(1) && said.contains("none of the given keys signed it"),
        "{said}"
    );
    // The server takes one that OpenSSL made; what the old one signed is still believed.
    fs::copy(
        signed.at("other.key"),
        signed.master.dir.join("provenance.key"),
    )
    .unwrap();
    let answer = signed
        .master
        .get(&format!("/api/v1/jobs/{}/provenance", signed.id));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.json()["signatures"][0]["keyid"], signed.keyid());
    fs::write(signed.at("again"), &answer.body).unwrap();
    let keys = signed.master.get("/api/v1/provenance/key").body;
    fs::write(signed.at("both.pem"), keys).unwrap();
    for (provenance, key) in [
        ("again", "both.pem"),
        ("again", "other.pem"),
        ("provenance", "both.pem"),
    ] {
        let (code, said) = signed.judged("renamed", provenance, key);
        assert_eq!(code, Some(0), "{provenance} {key}: {said}");
    }
    assert_eq!(signed.judged("renamed", "again", "key.pem").0, Some(1));
}

#[test]
fn there_is_none_before_the_end_and_none_about_nothing() {
    let master = Master::start();
    let job = Waiting::start(&master);
    assert_eq!(job.put(&master, "a", b"a").status, 200);
    let of = |id: &str| master.get(&format!("/api/v1/jobs/{id}/provenance"));
    assert_eq!(of(&job.id).status, 409);
    let id = job.end(&master);
    assert_eq!(of(&id).status, 200);
    let nothing = master.run("true");
    master.ended(&nothing);
    let answer = of(&nothing);
    assert_eq!(answer.status, 404);
    assert!(
        answer.text().contains("left no artifacts"),
        "{}",
        answer.text()
    );
    let said = master.danube(&["provenance", "show", &nothing]);
    assert_eq!(said.status.code(), Some(5), "{}", text(&said));
    let without = master.request("GET", "/api/v1/provenance/key", &[], b"");
    assert_eq!(without.status, 401);
}
