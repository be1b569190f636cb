//! A provider that changes the key it signs with, and doesn't say so by a name.

use serde_json::{Value, json};

use super::liar::Liar;
use super::{declare, lied_to, started};

/// Tokens that are signed by no key that is published: far more than the six times a minute that
/// keys are fetched.
const WRONG_TOKENS: usize = 20;

/// A key that was changed is found, and the one before opens nothing from then on.
#[track_caller]
fn is_followed(liar: &Liar) {
    let own = tempfile::tempdir().unwrap();
    let users = [("alice", "alice@example.org")];
    declare(&own.path().join("blueprint"), &users);
    let master = started(own.path(), &liar.issuer);
    let sign_in = |lie: &Value| lied_to(&master, liar, lie);
    assert_eq!(sign_in(&json!({})).status, 200);
    assert_eq!(sign_in(&json!({})).status, 200);
    liar.change_key();
    let changed = sign_in(&json!({}));
    assert_eq!(changed.status, 200, "{}", changed.text);
    for _ in 0..WRONG_TOKENS {
        let refused = sign_in(&json!({"old": true}));
        assert_eq!(refused.status, 401);
        assert!(refused.text.contains("signature"), "{}", refused.text);
    }
    // The health check asks now and then, too.
    assert!(liar.fetches() < WRONG_TOKENS, "{} fetches", liar.fetches());
    // Nobody who shows wrong tokens keeps others out.
    assert_eq!(sign_in(&json!({})).status, 200);
}

#[test]
fn a_new_key_by_the_name_of_the_old_one_is_followed() {
    is_followed(&Liar::start());
}

#[test]
fn a_new_key_where_keys_have_no_name_is_followed() {
    let liar = Liar::start();
    liar.name_no_keys();
    is_followed(&liar);
}

mod peers {
    use super::*;
    use crate::signin::browser::Browser;
    use crate::signin::peer::Peer;

    /// The name and the modulus of the one key that it publishes.
    #[track_caller]
    fn published(peer: &Peer) -> (Value, Value) {
        let page = Browser::default().get_once(&format!("{}/jwks", peer.issuer));
        let set: Value = serde_json::from_str(&page.text).unwrap();
        let [key] = set["keys"].as_array().unwrap().as_slice() else {
            panic!("{set}");
        };
        (key["kid"].clone(), key["n"].clone())
    }

    #[test]
    fn a_real_provider_that_changes_its_key_under_the_same_name_signs_people_in() {
        let own = tempfile::tempdir().unwrap();
        let users = [("alice", "alice@example.org")];
        declare(&own.path().join("blueprint"), &users);
        let mut peer = Peer::start();
        peer.order(&json!({"kid": "main"}));
        let master = started(own.path(), &peer.issuer);
        let start = format!("{}/login/oidc", master.address);
        let first = published(&peer);
        assert_eq!(Browser::default().get(&start).status, 200);
        for _ in 0..2 {
            peer.order(&json!({"kid": "main"}));
            let entered = Browser::default().get(&start);
            assert_eq!(entered.status, 200, "{entered:?}");
        }
        let last = published(&peer);
        assert_eq!((&first.0, &last.0), (&json!("main"), &json!("main")));
        assert_ne!(first.1, last.1, "it is another key");
    }
}
