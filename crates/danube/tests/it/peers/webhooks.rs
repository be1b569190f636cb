//! What Danube signs, verified by the library that receivers use.

use serde_json::{Value, json};

use super::python::verify_webhook;
use crate::master::Master;
use crate::receiver::{Receiver, Reply, Taken};
use crate::webhooks::{ALLOWED, told_at};

fn secret(master: &Master) -> String {
    let answer = master.call("POST", "/api/v1/webhooks/secret", None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["secret"].as_str().unwrap().to_owned()
}

fn verified(secret: &str, taken: &Taken) -> Value {
    verify_webhook(&json!({"secret": secret, "headers": taken.headers, "body": taken.body}))
}

#[test]
fn receivers_verify_webhooks_with_a_library_of_standard_webhooks_also_over_a_rotation() {
    let receiver = Receiver::new(&[Reply::Status(200, "")]);
    let master = Master::with(ALLOWED);
    let job = told_at(&master, &receiver.address);
    let first = receiver.next();
    // The secret was made for that one, and is shown now.
    let old = secret(&master);
    assert_eq!(verified(&old, &first)["payload"]["data"]["job_id"], job);
    let new = secret(&master);
    assert_ne!(old, new);
    assert!(verified(&new, &first)["refused"].is_string());

    // Once more, as after an answer that was lost: nobody has learned the second one yet.
    let newest = secret(&master);
    told_at(&master, &receiver.address);
    let second = receiver.next();
    for secret in [&old, &new, &newest] {
        assert_eq!(verified(secret, &second)["payload"], second.json());
    }
    let forged = Taken {
        body: second.body.replace("success", "failure"),
        ..second
    };
    assert!(verified(&new, &forged)["refused"].is_string());
}
