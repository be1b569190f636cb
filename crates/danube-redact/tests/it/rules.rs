//! What the built-in rules take out, and what they keep.

use crate::check;
use danube_redact::{Counts, MASK, Redactor, Rules, Secrets};

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
fn rule_ids_are_a_closed_sorted_set() {
    let ids = Rules::builtin().with_email().ids();
    assert!(ids.is_sorted());
    assert!(ids.contains(&"key_value") && ids.contains(&"value") && ids.contains(&"email"));
    assert_eq!(Rules::none().ids(), ["value"]);
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
fn what_stands_where_a_secret_could_but_hides_nothing_stays() {
    for line in [
        "      --token string      Bearer token for authentication",
        "  --password <PASSWORD>   asked for when left out",
        "{\"token\": null, \"password\":true, \"secret\":\"string\"}",
        "interface Session { token: string; secret?: boolean }",
        "password: ********",
        "config: {token: None, api_key: undefined}",
        "Using --password via the CLI is insecure. Use --password-stdin.",
        "`--secret …` or `token=...`",
        "Authorization: Bearer <token>",
    ] {
        check(line, line);
    }
    // Only the whole value may be such a word.
    check("token=trueblue", "token=[redacted]");
    check("password=nonesuch", "password=[redacted]");
    check("password=<hunter2", "password=[redacted]");
    check("password=null,x", "password=[redacted]");
    check("password=***hunter2", "password=[redacted]");
    check("password=<>", "password=[redacted]");
    check(
        "password=<correct-horse-battery-staple>",
        "password=[redacted]",
    );
}

#[test]
fn code_that_assigns_to_a_secrets_name_cannot_be_told_from_a_secret() {
    check("let token = lexer.next();", "let token = [redacted]");
    check("total_pass: 3ms", "total_pass: [redacted]");
}
