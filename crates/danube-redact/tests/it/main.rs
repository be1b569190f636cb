//! What a user of the redactor sees.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use danube_redact::{Counts, MASK, Redactor, Rules, Secrets, UserRule};

fn check(input: &str, expected: &str) {
    let secrets = Secrets::new(Rules::builtin());
    assert_eq!(secrets.redact(input), expected, "input {input:?}");
    assert_eq!(secrets.redact(expected), expected, "redacted again");
    let mut again = Redactor::new(&secrets);
    again.push(expected.as_bytes(), &mut Vec::new());
    again.finish(&mut Vec::new());
    assert_eq!(
        again.take_counts(),
        Counts::new(),
        "a mask is no secret: {expected:?}"
    );
}

fn with_values(values: &[&str], writes: &[&str]) -> String {
    let secrets = Secrets::new(Rules::none());
    for value in values {
        secrets.register(value.as_bytes()).unwrap();
    }
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    for write in writes {
        redactor.push(write.as_bytes(), &mut out);
        redactor.flush_partial(&mut out);
    }
    redactor.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn keys_keep_their_name_and_lose_their_value() {
    check("password=hunter2", "password=[redacted]");
    check("DB_PASSWORD=hunter2 next", "DB_PASSWORD=[redacted] next");
    check("export TOKEN='a b c'; ls", "export TOKEN='[redacted]'; ls");
    check("passwd: hunter2\nnext", "passwd: [redacted]\nnext");
    check(
        "my_passphrase = \"two words\" # why",
        "my_passphrase = \"[redacted]\" # why",
    );
    check(
        "api_key => 'k', apikey:k2",
        "api_key => '[redacted]', apikey:[redacted]",
    );
    check("X-Api-Key: 0123", "X-Api-Key: [redacted]");
    check("password=p@ss,w;rd)\\tail", "password=[redacted]");
    check("password=b'hunter2'", "password=[redacted]'[redacted]'");
    check(
        "PWD=/home/ci OLDPWD=/ pwd=hunter2",
        "PWD=/home/ci OLDPWD=/ pwd=[redacted]",
    );
    check(
        "https://h/?token=abc&page=2",
        "https://h/?token=[redacted]&page=2",
    );
    check(
        "a tokenizer, 3 tokens left, password policy",
        "a tokenizer, 3 tokens left, password policy",
    );
    check("password=\n", "password=\n");
}

#[test]
fn json_stays_json() {
    check(
        r#"{"user":"joe","password":"hun\"ter2","n":1}"#,
        r#"{"user":"joe","password":"[redacted]","n":1}"#,
    );
    check(
        r#""{\"client_secret\": \"abc\\\"def\", \"n\": 1}""#,
        r#""{\"client_secret\": \"[redacted]\", \"n\": 1}""#,
    );
}

#[test]
fn command_line_options_lose_their_value() {
    check(
        "mysql --db-password hunter2 -v",
        "mysql --db-password [redacted] -v",
    );
    check("x --token='a b' y", "x --token='[redacted]' y");
    check("x --secret \"a b\" y", "x --secret \"[redacted]\" y");
    check("x -password p", "x -password [redacted]");
    check(
        "docker login --password-stdin -u joe",
        "docker login --password-stdin -u joe",
    );
    check("x --no-password --verbose", "x --no-password --verbose");
    check(
        "the password hunter2 is not marked",
        "the password hunter2 is not marked",
    );
}

#[test]
fn authorization_headers_keep_their_scheme() {
    check(
        "Authorization: Bearer abc.def",
        "Authorization: Bearer [redacted]",
    );
    check(
        "-H \"authorization: basic dXNlcjpwYXNz\" x",
        "-H \"authorization: basic [redacted]\" x",
    );
    check(
        "{\"Authorization\":\"token abcdef\"}",
        "{\"Authorization\":\"token [redacted]\"}",
    );
    check(
        "Authorization: 0123456789abcdef0123",
        "Authorization: [redacted]",
    );
    check("sent bearer 0123456789abcdef01", "sent bearer [redacted]");
    check("the bearer of bad news", "the bearer of bad news");
}

#[test]
fn tokens_are_known_by_their_looks() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_";
    check(&format!("got {jwt} ok"), "got [redacted] ok");
    check(
        "eyJub3QiOiJhIHRva2VuIn0= eyJ",
        "eyJub3QiOiJhIHRva2VuIn0= eyJ",
    );
    for token in [
        "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
        "github_pat_11ABCDEFG0abcdefghijkl_mnopqrst",
        "glpat-0123456789abcdefghij",
        "xoxb-123456789012-abcdefghijkl",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "npm_0123456789abcdefghijklmnopqrstuvwxyz",
        "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw",
        "sk_live_0123456789abcdefghijklmn",
        "rk_live_0123456789abcdefghijklmn",
        "hvs.CAESIJ0123456789abcdefghij",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    ] {
        check(&format!("use {token}, please"), "use [redacted], please");
    }
    check(
        "npm_config_registry=x ghp_short",
        "npm_config_registry=x ghp_short",
    );
}

#[test]
fn credentials_in_urls_go_and_the_url_stays() {
    check(
        "git clone https://joe:p%40ss@host/x.git",
        "git clone https://joe:[redacted]@host/x.git",
    );
    check(
        "redis://:p@ss:word@host:6379/0",
        "redis://:[redacted]@host:6379/0",
    );
    check(
        "https://0123456789abcdefghij@host",
        "https://[redacted]@host",
    );
    check(
        "ssh://git@host:22/x http://host:8080/a@b",
        "ssh://git@host:22/x http://host:8080/a@b",
    );
}

#[test]
fn a_private_key_is_masked_between_its_frame() {
    check(
        "x\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\ny",
        "x\n-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----\ny",
    );
    check(
        r#"{"private":"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"}"#,
        r#"{"private":"-----BEGIN PRIVATE KEY-----[redacted]-----END PRIVATE KEY-----\n"}"#,
    );
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----";
    check(certificate, certificate);
}

#[test]
fn a_private_key_without_an_end_is_masked_up_to_a_bound() {
    let secrets = Secrets::new(Rules::builtin());
    let text = format!(
        "-----BEGIN PRIVATE KEY-----\n{}tail",
        "MIIEpAIB\n".repeat(10_000)
    );
    let out = secrets.redact(&text);
    assert!(
        out.starts_with("-----BEGIN PRIVATE KEY-----[redacted]"),
        "{}",
        &out[..60]
    );
    assert!(out.ends_with("tail"));
    let frame = "-----BEGIN PRIVATE KEY-----".len();
    assert_eq!(
        out.len(),
        text.len() - 64 * 1024 + MASK.len(),
        "frame {frame}"
    );
}

#[test]
fn email_addresses_go_on_request_only() {
    let text = "by Joe <joe.d+ci@mail.example.com>, git@example.com:x, left-pad@1.3.0";
    check(text, text);
    let secrets = Secrets::new(Rules::none().with_email());
    assert_eq!(
        secrets.redact(text),
        "by Joe <[redacted]>, git@example.com:x, left-pad@1.3.0"
    );
}

#[test]
fn overlapping_nested_and_torn_values_are_masked_whole() {
    assert_eq!(
        with_values(&["1212345678"], &["tok=121", "212345678"]),
        "tok=12[redacted]"
    );
    assert_eq!(
        with_values(&["abcdefgh", "efghijkl"], &["abcdefghijkl"]),
        MASK
    );
    assert_eq!(
        with_values(
            &["hunter2-", "hunter2-production-key"],
            &["key=hunter2-production-key"]
        ),
        "key=[redacted]"
    );
    assert_eq!(
        with_values(&["aabaabaab"], &["xaabaabaabaabaabaabx"]),
        "x[redacted]x"
    );
    assert_eq!(
        with_values(&["00f79ed853afbf91"], &["x=00", "0f79ed853afbf91"]),
        "x=0[redacted]"
    );
    assert_eq!(
        with_values(
            &["abcdeXyz", "Xyz-very-sensitive"],
            &["abcdeXyz-very-sensitive"]
        ),
        MASK
    );
}

#[test]
fn values_with_colour_codes_inside_are_masked_and_codes_around_stay() {
    let value = &["correct-horse"];
    assert_eq!(
        with_values(value, &["\x1b[1mcorrect\x1b[31m-ho\x1b[0mrse\x1b[0m end"]),
        "\x1b[1m[redacted]\x1b[0m end"
    );
    assert_eq!(
        with_values(value, &["corr\x1b]8;;http://x\x1b", "\\ect-horse\n"]),
        "[redacted]\n"
    );
    let secrets = Secrets::new(Rules::builtin());
    assert_eq!(
        secrets.redact("\x1b[1mpassword\x1b[0m=\x1b[32mhunter2\x1b[0m\n"),
        "\x1b[1mpassword\x1b[0m=\x1b[32m[redacted]\x1b[0m\n"
    );
}

#[test]
fn a_multi_line_value_is_masked_however_it_is_broken() {
    let value = &["line number one\nline number two\n"];
    assert_eq!(
        with_values(value, &["a line number", " one\nline number two b"]),
        "a [redacted] b"
    );
    assert_eq!(
        with_values(value, &["line number one\r\nline number two"]),
        MASK
    );
    assert_eq!(
        with_values(value, &["x line number two y"]),
        "x [redacted] y"
    );
    assert_eq!(
        with_values(value, &["line number one line number two"]),
        MASK
    );
}

#[test]
fn a_prompt_shows_at_once_except_for_what_may_become_a_secret() {
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(b"correct-horse").unwrap();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    redactor.push(b"Continue? [y/N] ", &mut out);
    redactor.flush_partial(&mut out);
    assert_eq!(out, b"Continue? [y/N] ");
    redactor.push(b"Password: ", &mut out);
    redactor.flush_partial(&mut out);
    assert_eq!(out, b"Continue? [y/N] Password: ");
    redactor.push(b"x\nis it corr", &mut out);
    redactor.flush_partial(&mut out);
    assert_eq!(out, b"Continue? [y/N] Password: [redacted]\nis it ");
    assert_eq!(redactor.held_bytes(), 4);
    redactor.push(b"ect?", &mut out);
    redactor.flush_partial(&mut out);
    assert!(out.ends_with(b"\nis it correct?"));
    assert_eq!(redactor.held_bytes(), 0);
}

#[test]
fn a_token_longer_than_any_buffer_is_one_mask_in_constant_memory() {
    let rule = UserRule {
        id: "acme".to_owned(),
        keyword: "acme".to_owned(),
        pattern: "acme: (?<secret>[A-Z]+)".to_owned(),
        case_sensitive: true,
    };
    let secrets = Secrets::new(Rules::builtin().with_user(&[rule]).unwrap());
    secrets.register(b"correct-horse").unwrap();
    for head in ["token=", "password=\"", "eyJ", "x://joe:", "ghp_", "acme: "] {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        redactor.push(head.as_bytes(), &mut out);
        for _ in 0..300 {
            redactor.push(&[b'Q'; 1024], &mut out);
            assert!(redactor.held_bytes() < 128 * 1024);
        }
        redactor.push(b"\nend\n", &mut out);
        redactor.finish(&mut out);
        let kept = match head {
            "eyJ" | "ghp_" => "",
            kept => kept,
        };
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{kept}{MASK}\nend\n"),
            "{head}"
        );
    }
}

#[test]
fn a_long_line_of_anything_passes_unchanged_in_constant_memory() {
    let secrets = Secrets::new(Rules::builtin().with_email());
    secrets.register(b"correct-horse").unwrap();
    let part: Vec<u8> = (0..=255u8)
        .filter(|b| !matches!(b, b'\n' | b'\r' | b'@'))
        .collect();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..4_000 {
        redactor.push(&part, &mut out);
        expected.extend_from_slice(&part);
        assert!(redactor.held_bytes() < 128 * 1024);
    }
    redactor.finish(&mut out);
    assert!(out == expected);
}

#[test]
fn hostile_input_in_single_bytes_takes_linear_time() {
    // Quadratic work on these would take hours, so ending at all is the test.
    let secrets = Secrets::new(Rules::builtin().with_email());
    secrets
        .register(b"abababababababababababababababababab")
        .unwrap();
    for unit in [
        "token=",
        "eyJ",
        "password=\"",
        "x://u:",
        "ab",
        "a@",
        "\x1b[",
        "-----BEGIN ",
        "\\\"",
    ] {
        let input = unit.repeat(200_000 / unit.len());
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for byte in input.as_bytes() {
            redactor.push(&[*byte], &mut out);
        }
        redactor.finish(&mut out);
        assert_eq!(redactor.held_bytes(), 0);
    }
}

#[test]
fn a_value_registered_while_a_redactor_runs_masks_what_is_still_held() {
    let secrets = Secrets::new(Rules::none());
    secrets.register(b"early-value").unwrap();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    redactor.push(b"early-value late-", &mut out);
    secrets.register(b"late-value").unwrap();
    redactor.push(b"value\n", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"[redacted] [redacted]\n");
}

#[test]
fn strikes_are_counted_by_rule_however_the_input_is_split() {
    let text = "password=a token: b correct-horse-battery correct-horse \x1b[1mghp_0123456789abcdefghij0123\x1b[0m\n";
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(b"correct-horse").unwrap();
    secrets.register(b"horse-battery").unwrap();
    for size in 1..text.len() {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for part in text.as_bytes().chunks(size) {
            redactor.push(part, &mut out);
            redactor.flush_partial(&mut out);
        }
        redactor.finish(&mut out);
        let expected = Counts::from([("github_token", 1), ("key_value", 2), ("value", 2)]);
        assert_eq!(redactor.take_counts(), expected, "parts of {size}");
        assert_eq!(redactor.take_counts(), Counts::new());
    }
}

#[test]
fn rule_ids_are_a_closed_sorted_set() {
    let ids = Rules::builtin().with_email().ids();
    assert!(ids.is_sorted());
    assert!(ids.contains(&"key_value") && ids.contains(&"value") && ids.contains(&"email"));
    assert_eq!(Rules::none().ids(), ["value"]);
}

#[test]
fn ordinary_test_output_is_left_alone() {
    let secrets = Secrets::new(Rules::builtin());
    for line in [
        "test secrets::tests::a_value_is_masked ... ok",
        "  3: proc_macro2::token::Group::new",
        "test network_test_connection_timeout_is_told ... ok",
        "disk_test_full_disk_recovers_by_itself",
        "highs_and_lows_of_the_distribution",
    ] {
        assert_eq!(secrets.redact(line), line);
    }
}

#[test]
fn a_value_whose_encoding_is_broken_into_lines_is_masked() {
    let value: Vec<u8> = (0..120_u8).map(|it| it.wrapping_mul(37) ^ 0x5a).collect();
    let secrets = Secrets::new(Rules::none());
    secrets.register(&value).unwrap();
    let base64 = base64::engine::Engine::encode(&base64::engine::general_purpose::STANDARD, &value);
    let hex: String = value.iter().map(|it| format!("{it:02x}")).collect();
    for (text, columns) in [(&base64, 76), (&base64, 64), (&hex, 60), (&hex, 64)] {
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(columns)
            .map(|it| std::str::from_utf8(it).unwrap())
            .collect();
        let seen = secrets.redact(&lines.join("\n"));
        for line in lines.iter().filter(|it| it.len() >= 8) {
            assert!(!seen.contains(line), "{columns} columns: {seen}");
        }
    }
}

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
