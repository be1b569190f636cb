//! Calls: what is sent, where it may go, and what ends it.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use danube_outgoing::{Ask, Client, Failure, Limits, Names, Refused};

use crate::server::{Script, Server, answer, client, policy};

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

fn code(outcome: Result<danube_outgoing::Answer, Failure>) -> &'static str {
    outcome.unwrap_err().code()
}

#[test]
fn a_post_is_sent_once_with_its_headers_and_its_answer_is_read() {
    let server = Server::new(vec![answer(202, "Retry-After: 7\r\n", "thanks")]);
    let client = client(LOOPBACK, &[]);
    let target = client
        .policy()
        .check(&server.url("/hook?token=s3cret"))
        .unwrap();
    let ask = Ask {
        headers: vec![("webhook-id", "msg_1".to_owned())],
        ..Ask::default()
    };
    let done = client.post(&target, &ask, b"{}");
    let mut got = done.outcome.unwrap();
    let mut body = String::new();
    got.body.read_to_string(&mut body).unwrap();
    assert_eq!(
        (got.status, got.header("retry-after"), body.as_str()),
        (202, Some("7"), "thanks")
    );
    let requests = server.requests();
    assert!(
        requests[0].starts_with("POST /hook?token=s3cret HTTP/1.1\r\n"),
        "{requests:?}"
    );
    for part in [
        "webhook-id: msg_1\r\n",
        "user-agent: test/1\r\n",
        "accept-encoding: identity\r\n",
    ] {
        assert!(
            requests[0].to_ascii_lowercase().contains(part),
            "{requests:?}"
        );
    }
    assert!(requests[0].ends_with("\r\n\r\n{}"));
    let call = &done.calls[0];
    assert_eq!(
        (call.method, call.status, call.error),
        ("POST", Some(202), None)
    );
    assert_eq!((call.host.as_str(), call.port), ("127.0.0.1", server.port));
    assert!(!format!("{call:?}").contains("s3cret"));
}

#[test]
fn a_name_that_leads_inside_is_not_called_whatever_else_it_leads_to() {
    for addresses in [
        &["127.0.0.1"][..],
        &["169.254.169.254"],
        &["1.1.1.1", "10.0.0.1"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2606:4700::1", "fd00::1"],
    ] {
        let client = client(&[], &[addresses]);
        let target = client.policy().check("http://rebind.example/").unwrap();
        let done = client.post(&target, &Ask::default(), b"");
        assert!(
            matches!(done.outcome, Err(Failure::Refused(Refused::Private { .. }))),
            "{addresses:?}: {:?}",
            done.outcome
        );
        assert_eq!(done.calls[0].error, Some("address_private"));
    }
}

#[test]
fn a_name_is_asked_once_a_call_and_judged_at_each() {
    // The second call's answer is the rebound one.
    let server = Server::new(vec![answer(200, "", ""), answer(200, "", "")]);
    let client = client(&["127.0.0.1"], &[&["127.0.0.1"], &["127.0.0.2"]]);
    let url = format!("http://rebind.example:{}/", server.port);
    let target = client.policy().check(&url).unwrap();
    assert_eq!(
        client.get(&target, &Ask::default()).outcome.unwrap().status,
        200
    );
    let second = client.get(&target, &Ask::default());
    assert!(matches!(second.outcome, Err(Failure::Refused(_))));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_host_that_the_operator_trusts_may_lead_inside() {
    let server = Server::new(vec![answer(204, "", "")]);
    let client = client(&["hooks.internal"], &[&["127.0.0.1"]]);
    let url = format!("http://hooks.internal:{}/", server.port);
    let target = client.policy().check(&url).unwrap();
    assert_eq!(
        client.get(&target, &Ask::default()).outcome.unwrap().status,
        204
    );
}

#[test]
fn a_name_that_nobody_knows_is_not_called() {
    for answers in [&[][..], &[&[][..]]] {
        let client = client(&[], answers);
        let target = client.policy().check("http://gone.example/").unwrap();
        assert_eq!(
            code(client.get(&target, &Ask::default()).outcome),
            "name_not_found"
        );
    }
}

/// Never answers while the test lives.
#[derive(Debug)]
struct Silent(Mutex<mpsc::Receiver<()>>);

impl Names for Silent {
    fn look_up(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        let _ = self.0.lock().unwrap().recv();
        Ok(Vec::new())
    }
}

#[test]
fn a_silent_name_server_is_left_at_the_deadline_and_holds_few_threads() {
    let (_alive, silent) = mpsc::sync_channel(64);
    let client = Client::with_names(policy(&[]), "test/1", Arc::new(Silent(Mutex::new(silent))));
    let target = client.policy().check("http://slow.example/").unwrap();
    let ask = ask(Duration::from_millis(10), 1);
    let codes: Vec<_> = (0..40)
        .map(|_| code(client.get(&target, &ask).outcome))
        .collect();
    assert_eq!(codes[0], "timeout");
    assert_eq!(codes[39], "busy");
}

fn ask(total: Duration, body_bytes: u64) -> Ask {
    Ask {
        limits: Limits {
            total,
            body_bytes,
            ..Limits::default()
        },
        ..Ask::default()
    }
}

#[test]
fn a_server_that_says_nothing_is_left_at_the_deadline() {
    // Accepts by its backlog, reads nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(LOOPBACK, &[]);
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let target = client.policy().check(&url).unwrap();
    let done = client.post(&target, &ask(Duration::from_millis(50), 1), b"x");
    assert_eq!(code(done.outcome), "timeout");
}

#[test]
fn a_body_that_trickles_ends_at_the_deadline() {
    let (leave, left) = mpsc::sync_channel::<()>(1);
    let script: Script = Box::new(move |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        // A byte now and then, for as long as somebody reads.
        while left.recv_timeout(Duration::from_millis(10)).is_err() {
            if stream.write_all(b"x").is_err() {
                return;
            }
        }
    });
    let server = Server::with([script]);
    let client = client(LOOPBACK, &[]);
    let target = client.policy().check(&server.url("/")).unwrap();
    let done = client.get(&target, &ask(Duration::from_millis(300), 5_000));
    let mut got = done.outcome.unwrap();
    let error = got.body.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    drop(leave);
}

#[test]
fn a_body_is_read_up_to_its_limit_and_no_further() {
    let endless: Script = Box::new(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let exact: Script = Box::new(|mut stream| {
        let _ = stream.write_all(answer(200, "", "12345").as_bytes());
    });
    let server = Server::with([endless, exact]);
    let client = client(LOOPBACK, &[]);
    let target = client.policy().check(&server.url("/")).unwrap();
    let mut got = client
        .get(&target, &ask(Duration::from_secs(20), 100_000))
        .outcome
        .unwrap();
    let mut bytes = Vec::new();
    let error = got.body.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    assert!(bytes.len() <= 100_000);
    drop(got);
    let mut got = client
        .get(&target, &ask(Duration::from_secs(20), 5))
        .outcome
        .unwrap();
    assert_eq!(got.body.read_to_end(&mut Vec::new()).unwrap(), 5);
}

#[test]
fn failures_have_names() {
    let client = client(LOOPBACK, &[]);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target = client
        .policy()
        .check(&format!("http://127.0.0.1:{port}/"))
        .unwrap();
    assert_eq!(
        code(client.get(&target, &Ask::default()).outcome),
        "connection_refused"
    );
    let server = Server::new(vec![
        String::new(),
        "nonsense\r\n\r\n".to_owned(),
        "x".to_owned(),
    ]);
    let target = client.policy().check(&server.url("/")).unwrap();
    assert_eq!(
        code(client.get(&target, &Ask::default()).outcome),
        "connection_failed"
    );
    assert_eq!(
        code(client.get(&target, &Ask::default()).outcome),
        "protocol"
    );
    let secure = server.url("/").replace("http://", "https://");
    let target = client.policy().check(&secure).unwrap();
    let done = client.get(&target, &Ask::default());
    assert!(["tls", "protocol", "connection_failed"].contains(&code(done.outcome)));
    let bad = Ask {
        headers: vec![("x-a", "a\r\nb: c".to_owned())],
        ..Ask::default()
    };
    assert_eq!(code(client.get(&target, &bad).outcome), "header");
}
