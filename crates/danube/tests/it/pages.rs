//! The plain pages: what they show, and that nothing on them is alive.

use serde_json::json;

use crate::master::{Answer, Master, id};

const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Checks what every page has; its text.
#[track_caller]
pub(crate) fn page(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", CSP),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let text = answer.text();
    assert!(text.starts_with("<!doctype html>"), "{text}");
    let small = text.to_lowercase();
    for alive in [
        "<script",
        "onerror=\"",
        "<img",
        "<iframe",
        "javascript:",
        " style=",
    ] {
        assert!(!small.contains(alive), "{alive} in {text}");
    }
    text
}

#[test]
fn the_pages_show_the_jobs_and_one_job() {
    let master = Master::start();
    let empty = page(&master.get("/"));
    assert!(empty.contains("No job has run here yet"), "{empty}");
    let job = master.submit(&json!({"spec": {"name": "web & docs", "steps": [
        {"name": "say: hello, you & me", "run": "echo one; exit 3"},
    ]}, "ref": "fix/a&b".replace('&', "-")}));
    let job = master.ended(&id(&job));
    let list = page(&master.get("/"));
    assert!(
        list.contains("web &#38; docs") || list.contains("web &amp; docs"),
        "{list}"
    );
    assert!(!list.contains("web & docs"), "{list}");
    let (full, short) = (id(&job), job["short_id"].as_str().unwrap());
    assert!(
        list.contains(&format!("href=\"/jobs/{full}\""))
            && list.contains(short)
            && list.contains("failure"),
        "{list}"
    );
    for name in [full.as_str(), short] {
        let shown = page(&master.get(&format!("/jobs/{name}")));
        for text in [
            "<pre>one\n</pre>",
            "ended with exit code 3",
            "<td>3</td>",
            "fix/a-b",
            &format!("/api/v1/jobs/{full}/logs"),
        ] {
            assert!(shown.contains(text), "{text} in {shown}");
        }
        assert!(
            !shown.contains("http-equiv"),
            "an ended job doesn't change any more"
        );
    }
}

#[test]
fn what_a_job_prints_is_only_text_on_its_page() {
    let master = Master::start();
    let job = master.run(
        r#"printf '</pre><script>alert(1)</script><img src=x onerror="alert(2)">\n'
        printf '\033[31mred\033[0m \033]0;title\007\033]8;;javascript:alert(3)\007link\033]8;;\007 \000\377\r50%%\r100%%\n'
        printf '&lt;b&gt; "quoted" it'"'"'s\n'"#,
    );
    master.ended(&job);
    let text = page(&master.get(&format!("/jobs/{job}")))
        .replace("&#60;", "&lt;")
        .replace("&#62;", "&gt;")
        .replace("&#38;", "&amp;");
    assert!(
        text.contains("&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{text}"
    );
    assert!(
        text.contains("\nred link \u{0}\u{fffd}\n50%\n100%\n"),
        "{text:?}"
    );
    assert!(text.contains("&amp;lt;b&amp;gt;"), "{text}");
    assert!(
        !text.contains('\u{1b}') && !text.contains("title\u{7}"),
        "{text}"
    );
    assert_eq!(text.matches("</pre>").count(), 1);
}

#[test]
fn a_long_or_cut_log_says_so_on_its_page() {
    let master = Master::with(&["--log-head", "400KiB", "--log-total", "800KiB"]);
    let long = master.run("seq 1 50000");
    master.ended(&long);
    let bytes = master.log(&long).len();
    let shown = page(&master.get(&format!("/jobs/{long}")));
    assert!(
        shown.contains(&format!(
            "the first {} bytes aren't shown here",
            bytes - 256 * 1024
        )) || shown.contains(&format!(
            "the first {} bytes aren&#39;t shown here",
            bytes - 256 * 1024
        )),
        "{}",
        &shown[..2_000]
    );
    assert!(shown.contains("\n50000\n</pre>") && !shown.contains("\n100\n"));
    let cut = master.run("seq 1 200000");
    let cut = master.ended(&cut);
    assert!(cut["log_missing_bytes"].as_u64().unwrap() > 0);
    let shown = page(&master.get(&format!("/jobs/{}", id(&cut))));
    assert!(
        shown.contains(&format!("{} bytes are missing", cut["log_missing_bytes"])),
        "{}",
        &shown[..2_000]
    );
}

#[test]
fn strangers_are_led_to_the_login() {
    let master = Master::start();
    let job = master.run("true");
    master.ended(&job);
    for path in [
        "/".to_owned(),
        format!("/jobs/{job}"),
        "/jobs/zzzzzzzz".to_owned(),
    ] {
        let answer = master.request("GET", &path, &[], b"");
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("/login")),
            "{path}"
        );
        assert!(!answer.text().contains(&job));
    }
    let login = page(&master.request("GET", "/login", &[], b""));
    assert!(
        login.contains("type=\"password\"") && login.contains("method=\"post\""),
        "{login}"
    );
    assert!(!login.contains(&master.key));
    let style = master.request("GET", "/style.css", &[], b"");
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    assert_eq!(style.header("content-security-policy"), Some(CSP));
}

#[test]
fn a_job_that_nobody_knows_is_not_found() {
    let master = Master::start();
    for path in [
        "/jobs/zzzzzzzz",
        "/jobs/01900000-0000-7000-8000-000000000000",
        "/jobs/%3Cscript%3E",
        "/jobs/%ff",
        "/jobs/",
        "/nothing",
    ] {
        let answer = master.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-security-policy"), Some(CSP));
        assert!(
            !answer
                .header("content-type")
                .unwrap()
                .starts_with("text/html"),
            "{path}"
        );
    }
}
