//! What is refused: forged, stale, too large, too many, used before. Nothing is started, and
//! each is told.

use serde_json::json;

use super::{NONE, SECRET, Webhook, World, count, push, sign, signed};
use crate::leaks::holds_none;
use crate::master::Master;

/// It is refused with this status, and told with this reason.
#[track_caller]
fn refused(
    master: &Master,
    webhook: &Webhook,
    (status, code): (u16, &str),
    (forge, reason): (&str, &str),
) {
    let answer = webhook.send(master);
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["code"], code);
    holds_none(&[SECRET], &answer.body, "the answer");
    master.event(|it| {
        it["event"] == "webhook_rejected" && it["forge"] == forge && it["reason"] == reason
    });
}

#[test]
fn what_no_forge_here_has_signed_is_refused_before_it_is_read() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let master = world.master(&[]);
    let commit = world.commit("second");
    let unsigned = (401, "unauthorized");
    let good = push("github", "1", &commit);
    for webhook in [
        good.clone().header("x-hub-signature-256", ""),
        good.clone().header(
            "x-hub-signature-256",
            &format!("sha256={}", sign("another", &good.body)),
        ),
        good.clone().header(
            "x-hub-signature-256",
            &format!("sha1={}", sign(SECRET, &good.body)),
        ),
        Webhook {
            body: b"{".to_vec(),
            ..good.clone()
        },
        Webhook {
            path: "/api/v1/forges/github/unknown".into(),
            ..good.clone()
        },
        // Another's secret is the same here, but it is another kind.
        Webhook {
            path: "/api/v1/forges/github/own-gitea".into(),
            ..good.clone()
        },
    ] {
        refused(&master, &webhook, unsigned, ("github", "signature"));
    }
    let gitea =
        push("gitea", "1", &commit).header("x-gitea-signature", &sign("another", &good.body));
    refused(&master, &gitea, unsigned, ("gitea", "signature"));
    let gitlab = push("gitlab", "1", &commit).header("x-gitlab-token", &SECRET[1..]);
    refused(&master, &gitlab, unsigned, ("gitlab", "signature"));
    let nobody = Webhook {
        path: "/api/v1/forges/sourcehut/x".into(),
        ..good.clone()
    };
    refused(&master, &nobody, unsigned, ("unknown", "signature"));
    let form = good
        .clone()
        .header("content-type", "application/x-www-form-urlencoded");
    refused(
        &master,
        &form,
        (415, "unsupported_media_type"),
        ("github", "media_type"),
    );
    let broken = signed("github", "push", "2", &json!({"ref": 7}));
    refused(
        &master,
        &broken,
        (400, "malformed"),
        ("github", "malformed"),
    );
    assert_eq!(count(&master), 0);
    holds_none(
        &[SECRET],
        master.log_lines().join("\n").as_bytes(),
        "the server's log",
    );
}

#[test]
fn an_id_that_was_used_is_refused_for_another_body_and_so_is_what_is_too_large() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let master = world.master(&[]);
    assert_eq!(
        push("github", "1", &world.commit("second"))
            .taken(&master)
            .0,
        "started"
    );
    let other = push("github", "1", &world.commit("third"));
    refused(
        &master,
        &other,
        (409, "idempotency_conflict"),
        ("github", "replay"),
    );
    let mut large = push("github", "2", NONE);
    large.body.resize(8 * 1024 * 1024 + 1, b' ');
    refused(&master, &large, (413, "too_large"), ("github", "too_large"));
    // Also where it is said beforehand how large it is, before a byte of it.
    let announced = large.clone().header("expect", "100-continue");
    let announced = announced.header("content-length", &large.body.len().to_string());
    refused(
        &master,
        &announced,
        (413, "too_large"),
        ("github", "too_large"),
    );
    assert_eq!(count(&master), 1);
}

/// A GitLab that signs with the time.
fn standard(master: &Master, body: &[u8], seconds: i64) -> Webhook {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
    let text = [format!("id.{seconds}.").as_bytes(), body].concat();
    let tag = base64(ring::hmac::sign(&key, &text).as_ref());
    let known = json!({"kind": "gitlab", "webhook_secret": format!("whsec_{}", base64(&[7; 32])), "url": "http://127.0.0.1"});
    assert_eq!(
        master
            .call("PUT", "/api/v1/credentials/own-gitlab", Some(&known))
            .status,
        200
    );
    let webhook = Webhook {
        body: body.to_vec(),
        ..push("gitlab", "1", NONE)
    };
    webhook
        .header("webhook-id", "id")
        .header("webhook-timestamp", &seconds.to_string())
        .header("webhook-signature", &format!("v1,{tag}"))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|it| {
        let bits = it
            .iter()
            .fold(0_u32, |all, byte| (all << 8) | u32::from(*byte))
            << (8 * (3 - it.len()));
        let digit = move |at: u32| char::from(DIGITS[((bits >> (18 - 6 * at)) & 63) as usize]);
        (0..4).map(move |at| {
            if at as usize > it.len() {
                '='
            } else {
                digit(at)
            }
        })
    });
    digits.collect()
}

#[test]
fn what_was_signed_long_ago_is_stale_and_what_was_signed_now_is_taken() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let master = world.master(&[]);
    let body = push("gitlab", "1", &world.commit("second")).body;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    for seconds in [now - 3_600, now + 3_600] {
        refused(
            &master,
            &standard(&master, &body, seconds),
            (401, "unauthorized"),
            ("gitlab", "stale"),
        );
    }
    let good = standard(&master, &body, now);
    // The token that it had before opens nothing any more.
    let token = good
        .clone()
        .header("webhook-signature", "")
        .header("x-gitlab-token", SECRET);
    refused(
        &master,
        &token,
        (401, "unauthorized"),
        ("gitlab", "signature"),
    );
    assert_eq!(good.taken(&master).0, "started");
}

#[test]
fn one_address_is_bounded_whatever_it_sends() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let master = world.master(&[]);
    let forged = push("github", "1", NONE).header("x-hub-signature-256", "sha256=00");
    let answer = (0..1_000).find_map(|_| {
        let answer = forged.send(&master);
        (answer.status != 401).then_some(answer)
    });
    let answer = answer.expect("it is bounded");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("1"))
    );
    master.event(|it| it["event"] == "webhook_rejected" && it["reason"] == "rate");
    // Others than GitHub have a count of their own.
    assert_eq!(
        push("gitea", "1", &world.commit("second")).taken(&master).0,
        "started"
    );
}
