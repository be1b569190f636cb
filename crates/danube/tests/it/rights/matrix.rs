//! Every route of the API's own description, asked by every kind of caller.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::{declare, with};
use crate::elsewhere::token;
use crate::golden;
use crate::master::{Answer, Master, id};
use crate::playbooks::git;
use crate::processes::arrival;
use crate::signin::peer::Peer;
use crate::signin::{key_of, started};

/// What a request came to, as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nobody is known.
    Unknown,
    /// It is there, but not theirs to do.
    Denied,
    /// It isn't there for them.
    Hidden,
    /// They were let through, whatever came of it.
    Let,
}

/// A kind of caller.
struct Caller {
    name: &'static str,
    key: Option<String>,
    /// With what belongs to no pipeline: 1 reads, 2 writes, 3 manages; 0 for a key that
    /// reaches some pipelines; none for what is no key.
    server: Option<u8>,
    /// With pipeline `web`: 1 reads, 2 writes, 3 is admin.
    web: u8,
    /// With any pipeline, at the most.
    cap: u8,
    token: Option<Token>,
    /// The running job whose id stands in the path.
    job: String,
}

/// Whose token it is, where it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Worker,
    /// Of a job of steps.
    Job,
    Coordinator,
    /// Of the step that a coordinator called.
    Called,
    /// Of a coordinator whose job isn't the one in the path.
    OfAnotherJob,
}

impl Token {
    /// What it is to the job that it belongs to, where the path names no other.
    fn at(self, path: &str) -> Option<Self> {
        match self {
            Self::OfAnotherJob if path.contains("/jobs/{id}") => None,
            Self::OfAnotherJob => Some(Self::Coordinator),
            it => Some(it),
        }
    }

    fn is_of_a_job(self) -> bool {
        self != Self::Worker
    }
}

fn caller(
    (name, job): (&'static str, &Running),
    key: &str,
    (server, web, cap): (u8, u8, u8),
) -> Caller {
    Caller {
        name,
        key: Some(key.to_owned()),
        server: Some(server),
        web,
        cap,
        token: None,
        job: job.id.clone(),
    }
}

/// What is no key, but perhaps a token; it asks about this job.
fn stranger(
    (name, job): (&'static str, &Running),
    key: Option<&str>,
    token: Option<Token>,
) -> Caller {
    Caller {
        name,
        key: key.map(str::to_owned),
        server: None,
        web: 0,
        cap: 0,
        token,
        job: job.id.clone(),
    }
}

/// A job that waits, and its token.
struct Running {
    id: String,
    token: String,
    line: TcpStream,
}

/// How a step tells its token and waits, in bash.
fn tells(listener: &TcpListener) -> String {
    let port = listener.local_addr().unwrap().port();
    format!("exec 9<>/dev/tcp/127.0.0.1/{port}; echo \"$DANUBE_JOB_TOKEN\" >&9; read -r word <&9")
}

/// The token that the next one tells.
fn told(listener: &TcpListener) -> (String, TcpStream) {
    let line = arrival(listener);
    let mut token = String::new();
    BufReader::new(&line).read_line(&mut token).unwrap();
    (token.trim().to_owned(), line)
}

fn running(master: &Master) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let steps = json!([{"name": "say", "run": tells(&listener)}]);
    let body = json!({"spec": {"name": "web", "shell": "bash", "steps": steps}});
    let id = id(&master.submit(&body));
    let (token, line) = told(&listener);
    Running { id, token, line }
}

/// A pipeline `build` of the blueprint whose coordinator tells its token, and has a step tell
/// its own and wait.
struct Coordinated {
    listener: TcpListener,
}

impl Coordinated {
    fn declare(own: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tells = tells(&listener);
        let program = format!(
            "#!/bin/bash\nset -eu\n({})\ndanube step run --name held -- bash -c '{tells}'\n",
            tells.replace("read -r word <&9", "true")
        );
        let repository = scripted(own, &program);
        let spec = json!({"script": "ci", "repository": repository});
        let pipeline = json!({"apiVersion": "danube.dev/v1", "kind": "Pipeline",
                              "metadata": {"name": "build"}, "spec": spec});
        let file = own.join("blueprint/pipelines/build.json");
        fs::write(file, pipeline.to_string()).unwrap();
        Self { listener }
    }

    /// The job, and the token of its step.
    fn run(&self, master: &Master) -> (Running, String) {
        let id = id(&master.submit(&json!({"pipeline": "build"})));
        let (token, _) = told(&self.listener);
        let (of_step, line) = told(&self.listener);
        (Running { id, token, line }, of_step)
    }
}

/// A repository with this program as `ci`.
fn scripted(own: &Path, program: &str) -> String {
    let repo = own.join("repo");
    fs::create_dir(&repo).unwrap();
    fs::write(repo.join("ci"), program).unwrap();
    fs::set_permissions(repo.join("ci"), fs::Permissions::from_mode(0o755)).unwrap();
    git(&repo, &["init", "--quiet", "."]);
    git(&repo, &["add", "--all"]);
    git(&repo, &["commit", "--quiet", "-m", "program"]);
    format!("file://{}", repo.display())
}

fn expected(right: &str, path: &str, caller: &Caller) -> Outcome {
    let token = caller.token.and_then(|it| it.at(path));
    let level = |name: &str| match name {
        "read" => 1,
        "write" => 2,
        "admin" => 3,
        other => panic!("no right is called {other}"),
    };
    let on_web = |wanted: u8| match caller.server {
        None => Outcome::Unknown,
        Some(_) if caller.cap < wanted => Outcome::Denied,
        Some(_) if caller.web == 0 => Outcome::Hidden,
        Some(_) if caller.web < wanted => Outcome::Denied,
        Some(_) => Outcome::Let,
    };
    let on_server = |wanted: u8| match caller.server {
        None => Outcome::Unknown,
        Some(it) if it < wanted => Outcome::Denied,
        Some(_) => Outcome::Let,
    };
    let of_pipeline = right.strip_prefix("pipeline:");
    if let Some(name) = of_pipeline.or(right.strip_prefix("form:")) {
        return on_web(level(name));
    }
    if let Some(name) = right.strip_prefix("server:") {
        return on_server(level(name));
    }
    if let Some(name) = right.strip_prefix("listed:") {
        let is_never = caller.cap < level(name) && caller.server.is_some();
        return if is_never {
            Outcome::Denied
        } else {
            on_server(0)
        };
    }
    match right {
        "open" => Outcome::Let,
        "local" => on_server(1),
        "known" => on_server(0),
        "own" if caller.server.is_some() && caller.cap < 2 => Outcome::Denied,
        "own" => on_server(0),
        "token:job or pipeline:write" | "token:job" if token.is_some_and(Token::is_of_a_job) => {
            Outcome::Let
        }
        "token:job or pipeline:write" => on_web(2),
        "token:coordinator" if token == Some(Token::Coordinator) => Outcome::Let,
        "token:coordinator" if token.is_some_and(Token::is_of_a_job) => Outcome::Denied,
        "token:worker" if token == Some(Token::Worker) => Outcome::Let,
        // A key is another thing than a token: it is refused, in either way.
        it if it.starts_with("token:") => Outcome::Unknown,
        other => panic!("the test doesn't know the right {other}"),
    }
}

fn outcome(answer: &Answer) -> Outcome {
    let text = answer.text();
    match answer.status {
        401 => Outcome::Unknown,
        403 => Outcome::Denied,
        404 if text.contains("there is no job `") || text.contains("there is no pipeline `") => {
            Outcome::Hidden
        }
        422 if text.contains("names no pipeline of this server") => Outcome::Hidden,
        500 => panic!("{text}"),
        _ => Outcome::Let,
    }
}

/// The request of a route; it harms nothing that another row needs.
fn ask(master: &Master, caller: &Caller, (method, path): (&str, &str), ended: &str) -> Answer {
    // A running job's log isn't deleted, and a job that has ended isn't cancelled.
    let is_running = path.ends_with("/mask")
        || (method == "DELETE" && path.ends_with("/logs"))
        || method == "PUT";
    let job = if is_running { &caller.job } else { ended };
    let mut url = path.replace("/jobs/{id}", &format!("/jobs/{job}"));
    url = url.replace("/deliveries/{id}", &format!("/deliveries/{ended}"));
    url = url.replace("/statuses/{id}", &format!("/statuses/{ended}"));
    url = url.replace("/pipelines/{name}", "/pipelines/web");
    url = url.replace("{id}", "nobody").replace("{name}", "nobody");
    let query = match path {
        "/api/v1/secrets/{name}" => "?pipeline=web",
        "/api/v1/jobs/{id}/logs/search" => "?q=hi",
        // Wrong, so that nothing is measured for seconds.
        "/debug/pprof/profile" | "/debug/pprof/heap" => "?seconds=x",
        _ => "",
    };
    let body = match (method, path) {
        ("POST", "/api/v1/jobs") => json!({"pipeline": "web"}),
        ("POST", "/api/v1/jobs/{id}/mask") => json!({"value": "a value to mask"}),
        ("POST", "/api/v1/jobs/{id}/artifacts") => json!({"keep": true}),
        _ => json!({}),
    };
    let bearer = caller.key.as_ref().map(|it| format!("Bearer {it}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|it| ("authorization", it)));
    // Not a program of this machine: what only such ones may see needs a key.
    headers.push(("x-forwarded-for", "203.0.113.9"));
    let body = match method {
        "GET" | "DELETE" => Vec::new(),
        _ => body.to_string().into_bytes(),
    };
    master.request(method, &format!("{url}{query}"), &headers, &body)
}

/// Each operation of the description with its right.
fn described(master: &Master) -> Vec<(String, String, String)> {
    let document = master.get("/api/v1/openapi.json").json();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let right = operation["x-danube-right"].as_str();
            let right = right.unwrap_or_else(|| panic!("{method} {path} says no right"));
            all.push((method.to_uppercase(), path.clone(), right.to_owned()));
        }
    }
    all
}

mod peers {
    use super::*;

    fn callers(
        master: &Master,
        peer: &mut Peer,
        job: &Running,
        (build, of_step): (&Running, &str),
    ) -> Vec<Caller> {
        let make = |fields: &Value| {
            let made = master.call("POST", "/api/v1/api-keys", Some(fields));
            made.json()["key"].as_str().unwrap().to_owned()
        };
        let viewer = make(&json!({"name": "viewer", "role": "viewer"}));
        let member = make(&json!({"name": "member", "role": "member"}));
        let inside = make(&json!({"name": "inside", "role": "member", "pipelines": ["w*"]}));
        let outside = make(&json!({"name": "outside", "role": "member", "pipelines": ["x"]}));
        let worker = token(master, "w1");
        let mut user = |name: &str| key_of(master, peer, &format!("{name}@example.org"));
        let tokens = [
            ("worker token", job, &*worker, Token::Worker),
            ("job token", job, &*job.token, Token::Job),
            (
                "coordinator token",
                build,
                &*build.token,
                Token::Coordinator,
            ),
            ("token of its step", build, of_step, Token::Called),
            (
                "coordinator token, elsewhere",
                job,
                &build.token,
                Token::OfAnotherJob,
            ),
        ];
        let tokens =
            tokens.map(|(name, of, key, token)| stranger((name, of), Some(key), Some(token)));
        let keys = [
            ("read-only key", &viewer, (1, 1, 1)),
            ("member key", &member, (2, 2, 2)),
            ("admin key", &master.key, (3, 3, 3)),
            ("scoped key", &inside, (0, 2, 2)),
            ("key of another scope", &outside, (0, 0, 2)),
            ("user without a right", &user("bob"), (0, 0, 3)),
            ("reader", &user("reader"), (0, 1, 3)),
            ("writer", &user("writer"), (0, 2, 3)),
            ("admin of the pipeline", &user("keeper"), (0, 3, 3)),
            ("administrator", &user("root"), (3, 3, 3)),
        ];
        let keys = keys.map(|(name, key, rights)| caller((name, job), key, rights));
        let nobody = [
            stranger(("no key", job), None, None),
            stranger(("wrong key", job), Some("dnb_wrong"), None),
        ];
        nobody.into_iter().chain(tokens).chain(keys).collect()
    }

    #[test]
    fn every_route_lets_through_whom_the_table_says_and_nobody_else() {
        let own = tempfile::tempdir().unwrap();
        declare(own.path(), true);
        let coordinated = Coordinated::declare(own.path());
        let mut peer = Peer::start();
        let master = started(own.path(), &peer.issuer);
        let ended = id(&master.submit(&json!({"pipeline": "web"})));
        master.ended(&ended);
        let job = running(&master);
        let (build, of_step) = coordinated.run(&master);
        let callers = callers(&master, &mut peer, &job, (&build, &of_step));
        let mut routes = described(&master);
        let api = routes.len();
        // What the description leaves out, but for pages: they have tests of their own.
        let others = danube_master::rights();
        for (method, path, right) in others {
            let is_new = !routes.iter().any(|it| (&*it.0, &*it.1) == (method, path));
            assert!(
                !is_new || !path.starts_with("/api/"),
                "{method} {path} isn't described"
            );
            let is_form = right.starts_with("form:");
            if is_new && (is_form || right.starts_with("token:")) && right != "token:code" {
                routes.push((method.to_owned(), path.to_owned(), right));
            }
        }
        assert!(api > 60 && routes.len() > api, "{api}");
        let mut wrong = Vec::new();
        for (method, path, right) in &routes {
            for caller in &callers {
                let answer = ask(&master, caller, (method, path), &ended);
                let (seen, wanted) = (outcome(&answer), expected(right, path, caller));
                let is_token = right.starts_with("token:") && wanted == Outcome::Unknown;
                let fits = seen == wanted || (is_token && seen == Outcome::Denied);
                if !fits {
                    wrong.push(format!(
                        "{method} {path} ({right}) by {}: {seen:?}, not {wanted:?}: {} {}",
                        caller.name,
                        answer.status,
                        answer.text()
                    ));
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "{} cells are wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        // A job's token is good for its job alone.
        let path = format!("/api/v1/jobs/{ended}/mask");
        let mask = json!({"value": "a value to mask"});
        let answer = with(&master, &job.token, "POST", &path, Some(&mask));
        assert_eq!(outcome(&answer), Outcome::Unknown, "{}", answer.text());
        for mut it in [job, build] {
            it.line
                .write_all(
                    b"go
",
                )
                .unwrap();
            assert_eq!(master.ended(&it.id)["status"], "success");
        }
    }
}

#[test]
fn the_table_in_the_docs_is_the_one_that_is_checked() {
    golden::check("../../docs/rights.md", &page());
}

fn page() -> String {
    let mut text = String::from(WORDS);
    for (method, path, right) in danube_master::rights() {
        text.push_str(&format!("| {method} | `{path}` | {right} |\n"));
    }
    text
}

const WORDS: &str = "# Routes and rights

What each route asks of its caller. The server checks this very table, a route that isn't in it answers nothing, and the API's description has
the right of each operation as `x-danube-right`. This page is written by a test; [access.md](access.md) says who has which right.

| right | who is let through |
| --- | --- |
| `open` | everybody |
| `page` | a browser; whoever isn't signed in is led to the sign-in |
| `page:read`, `page:admin` | a browser of who has `server:read`, or manages the server; others are refused |
| `form:…` | a form of a page: like `pipeline:…`, by a browser's session that shows the token of the form, or by a key |
| `local` | programs of the server's machine, where nobody else is served; else as `server:read` |
| `known` | whoever shows a good key; what is shown is what they may read |
| `own` | a good key that may do more than read, for what is its holder's own |
| `pipeline:read`, `:write`, `:admin` | who has that right to the pipeline of the job, or to the one that is named |
| `listed:admin` | a good key that may have that right to some pipeline; what is shown is of the pipelines to which it has it |
| `server:read`, `:write`, `:admin` | a key of all pipelines with the role `viewer`, `member`, `admin`, and users who are administrators |
| `token:job` | who shows a token of the running job: a step, the coordinator, a step that it called; where a path names a job, it is that one |
| `token:coordinator` | who shows the token of a pipeline's `script` that runs; no step has it |
| `token:…` | who shows the token that the worker, the registry or the sign-in was given; a forge signs what it sends |

| method | route | right |
| --- | --- | --- |
";
