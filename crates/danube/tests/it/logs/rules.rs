//! Redaction rules that the operator adds.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::master::{DANUBE, Master, id};
use crate::wire::Puppets;

const RULES: &str = r#"
[[redaction.rules]]
id = "acme_key"
keyword = "ACME-"
pattern = 'ACME-[A-Z0-9]{12}'
case_sensitive = true

[[redaction.rules]]
id = "badge"
keyword = "badge"
pattern = '(?i)badge no\. (?<secret>[0-9]{6})\b'
"#;

#[test]
fn a_rule_of_the_operators_masks_in_job_logs_and_in_the_servers_own() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("danube.toml");
    fs::write(&file, RULES).unwrap();
    let master = Master::with(&["--config", file.to_str().unwrap()]);
    let rule = |id: &str| master.metric(&format!("danube_log_redactions_total{{rule=\"{id}\"}}"));
    assert_eq!((rule("acme_key"), rule("badge")), (0.0, 0.0));

    let puppets = Puppets::new();
    let mut order = puppets.order();
    order["spec"]["steps"][0]["name"] = json!("deploy ACME-0123456789AB");
    let job = id(&master.submit(&order));
    let mut puppet = puppets.arrival();
    for piece in [
        "key ACME-01",
        "234567",
        "89AB, acme-0123456789AB\nBadge",
        " no. ",
    ] {
        puppet.print(piece);
    }
    for byte in b"123456\npassword=x ACME-\x1b[1m0123456789AB\n" {
        puppet.print([*byte]);
    }
    drop(puppet);
    master.ended(&job);
    assert_eq!(
        String::from_utf8_lossy(&master.log(&job)),
        "key [redacted], acme-0123456789AB\nBadge no. [redacted]\npassword=[redacted] [redacted]\n"
    );
    assert_eq!((rule("acme_key"), rule("badge")), (2.0, 1.0));
    let lines = master.log_lines().join("\n");
    assert!(!lines.contains("ACME-0123456789AB"), "{lines}");
    assert!(lines.contains("deploy [redacted]"), "{lines}");
}

#[test]
fn a_run_without_a_server_keeps_to_the_same_rules() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("danube.toml");
    let run = || {
        Command::new(DANUBE)
            .args(["run", "--", "echo", "use ACME-0123456789AB"])
            .current_dir(own.path())
            .env("DANUBE_CONFIG", &file)
            .output()
            .unwrap()
    };
    fs::write(&file, RULES).unwrap();
    assert_eq!(String::from_utf8_lossy(&run().stdout), "use [redacted]\n");
    fs::write(&file, RULES.replace("badge", "b")).unwrap();
    let output = run();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("shorter than 3 bytes"), "{told}");
}
