//! Rules that users add.

use danube_redact::{Redactor, Rules, Secrets, UserRule};

#[test]
fn hostile_input_takes_linear_time_under_users_rules_too() {
    // Without a memory of what was walked these would take hours.
    let rule = |id: &str, keyword: &str, pattern: &str| UserRule {
        id: id.to_owned(),
        keyword: keyword.to_owned(),
        pattern: pattern.to_owned(),
        case_sensitive: false,
    };
    let rules = Rules::none().with_user(&[
        rule("never", "token", r"\w+;"),
        rule("always", "token", r"\w+"),
        rule("group", "token", r"\w*=(?<secret>\S+) "),
        rule("dense", "aaa", "a+b"),
        rule("lazy", "aaa", "a+?(?<secret>a)=b"),
    ]);
    let secrets = Secrets::new(rules.unwrap());
    for unit in [
        "token",
        "token=",
        "token ",
        "a",
        "aaa=",
        "tokentoken token=\n",
    ] {
        let input = unit.repeat(200_000 / unit.len());
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for part in input.as_bytes().chunks(2_000) {
            redactor.push(part, &mut out);
            redactor.flush_partial(&mut out);
            assert!(redactor.held_bytes() < 8 * 1024, "{unit:?}");
        }
        redactor.finish(&mut out);
        assert_eq!(redactor.held_bytes(), 0);
    }
}

#[test]
fn a_users_rule_masks_what_it_names_in_any_case_and_keeps_the_rest() {
    let rules = Rules::builtin()
        .with_user(&[
            UserRule {
                id: "acme_key".to_owned(),
                keyword: "ACME-".to_owned(),
                pattern: "ACME-[A-Z0-9]{12}".to_owned(),
                case_sensitive: true,
            },
            UserRule {
                id: "badge".to_owned(),
                keyword: "badge".to_owned(),
                pattern: r"(?i)badge (?:number|no\.?) (?<secret>[0-9]{6})\b".to_owned(),
                case_sensitive: false,
            },
        ])
        .unwrap();
    let secrets = Secrets::new(rules);
    assert_eq!(
        secrets.redact(
            "ACME-0123456789AB acme-0123456789AB; BADGE No. 123456, badge number 1234567\npassword=x"
        ),
        "[redacted] acme-0123456789AB; BADGE No. [redacted], badge number 1234567\npassword=[redacted]"
    );
    assert_eq!(
        secrets.redact("ACME-0123\x1b[1m456789AB\x1b[0m"),
        "[redacted]\x1b[0m"
    );
}
