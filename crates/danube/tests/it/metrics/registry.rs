//! Images that a real client pushes to a real registry and pulls from it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{Proof, Scenario};
use crate::master::Master;
use crate::registry::{DockerRegistry, Image, pull};

pub(super) const REGISTRY: Scenario = &[
    "danube_registry_pushes_total",
    "danube_registry_pulls_total",
    "danube_registry_storage_bytes",
];

#[test]
fn images_are_counted_as_they_are_pushed_and_pulled_and_nobody_else_is_believed() {
    let mut registry = DockerRegistry::start();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &["--registry-url", &registry.url()]);
    let file = dir.join("registry.token");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    registry.tell(&master.address, &token);

    // Those who aren't the registry are refused, administrators too.
    let body = json!({"events": [{"id": "forged", "action": "push", "target": {
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "repository": "team/app",
    }}]});
    let body = body.to_string();
    let path = "/registry/notifications";
    let admin = format!("Bearer {}", master.key);
    let almost = format!("Bearer {token}x");
    for headers in [
        &[][..],
        &[("authorization", admin.as_str())],
        &[("authorization", almost.as_str())],
        &[("authorization", "Bearer ")],
    ] {
        let answer = master.request("POST", path, headers, body.as_bytes());
        assert_eq!(answer.status, 401, "{headers:?}: {}", answer.text());
    }
    let right = format!("Bearer {token}");
    let right = [("authorization", right.as_str())];
    let asked = |body: &[u8]| master.request("POST", path, &right, body).status;
    assert_eq!(asked(b"{"), 400);
    assert_eq!(asked(&vec![b' '; 256 * 1024 + 1]), 413);

    let proof = Proof::since_start(&master);
    for name in ["team/app:v1", "team/app:v2", "other:v1"] {
        Image::with(name.as_bytes()).push(&registry.address, name);
    }
    for _ in 0..4 {
        let pulled = pull(&registry.address, "team/app:v1");
        assert!(pulled.status.success(), "{pulled:?}");
    }
    for (sample, value) in [
        (r#"danube_registry_pushes_total{image="team/app"}"#, 2.0),
        (r#"danube_registry_pushes_total{image="other"}"#, 1.0),
        (r#"danube_registry_pulls_total{image="team/app"}"#, 4.0),
    ] {
        proof.until(sample, value);
    }
    let reaped = master.call("POST", "/api/v1/admin/reaper", Some(&json!({})));
    assert_eq!(reaped.status, 200, "{}", reaped.text());
    proof.until_holds("danube_registry_storage_bytes", |it| it > 0.0);
    assert!(!master.log_lines().join("\n").contains(&token));
    proof.complete(REGISTRY);

    // Where there is no registry, nobody may tell anything.
    let other = Master::start();
    let answer = other.request("POST", path, &right, body.as_bytes());
    assert_eq!(answer.status, 401, "{}", answer.text());
}
