//! Redirects are addresses from outside, too.

use danube_outgoing::{Ask, Failure, Limits, Refused};

use crate::server::{Server, answer, client};

fn ask(redirects: u32) -> Ask {
    Ask {
        credentials: vec![("authorization", "Bearer s3cret".to_owned())],
        limits: Limits {
            redirects,
            ..Limits::default()
        },
        ..Ask::default()
    }
}

fn to(location: &str) -> String {
    answer(302, &format!("Location: {location}\r\n"), "")
}

#[test]
fn a_redirect_inside_is_refused() {
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "//[::ffff:169.254.169.254]/",
        "http://localhost/",
        "http://user:pw@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
    ] {
        let server = Server::new(vec![to(location)]);
        let client = client(&["127.0.0.1"], &[]);
        let target = client.policy().check(&server.url("/")).unwrap();
        let done = client.get(&target, &ask(5));
        assert!(
            matches!(done.outcome, Err(Failure::Refused(_))),
            "{location}: {:?}",
            done.outcome
        );
        assert_eq!(done.calls.len(), 1);
    }
}

#[test]
fn a_redirect_to_a_name_that_leads_inside_is_refused() {
    let server = Server::new(vec![to("http://inside.example/")]);
    let client = client(&["127.0.0.1"], &[&["10.0.0.1"]]);
    let target = client.policy().check(&server.url("/")).unwrap();
    let done = client.get(&target, &ask(5));
    assert!(matches!(
        done.outcome,
        Err(Failure::Refused(Refused::Private { .. }))
    ));
    assert_eq!(done.calls[1].host, "inside.example");
}

#[test]
fn credentials_stay_with_the_first_host() {
    let other = Server::new(vec![answer(200, "", "end")]);
    let server = Server::new(vec![to("/next"), to(&other.url("/there"))]);
    let client = client(&["127.0.0.1"], &[]);
    let target = client.policy().check(&server.url("/")).unwrap();
    let done = client.get(&target, &ask(2));
    assert_eq!(done.outcome.unwrap().status, 200);
    let requests = server.requests();
    assert!(
        requests.iter().all(|it| it.contains("Bearer s3cret")),
        "{requests:?}"
    );
    assert!(requests[1].starts_with("GET /next "));
    let requests = other.requests();
    assert!(!requests[0].contains("s3cret"), "{requests:?}");
    let statuses: Vec<_> = done.calls.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Some(302), Some(302), Some(200)]);
}

#[test]
fn redirects_are_counted_and_lead_somewhere() {
    let server = Server::new(vec![to("/a"), to("/b"), to("/c"), answer(302, "", "")]);
    let client = client(&["127.0.0.1"], &[]);
    let target = client.policy().check(&server.url("/")).unwrap();
    assert!(matches!(
        client.get(&target, &ask(2)).outcome,
        Err(Failure::Redirects(2))
    ));
    assert!(matches!(
        client.get(&target, &ask(2)).outcome,
        Err(Failure::Nowhere)
    ));
}

#[test]
fn a_post_is_not_redirected() {
    let server = Server::new(vec![answer(307, "Location: /next\r\n", "")]);
    let client = client(&["127.0.0.1"], &[]);
    let target = client.policy().check(&server.url("/")).unwrap();
    assert_eq!(
        client.post(&target, &ask(5), b"x").outcome.unwrap().status,
        307
    );
    assert_eq!(server.requests().len(), 1);
}
