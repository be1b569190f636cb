//! Each page in light and dark, on a desktop and a phone: nothing that keeps people out (axe-core), nothing
//! wider than the window. With `DANUBE_SCREENSHOTS=DIR` it is drawn there, too (`make screenshots`).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::pages::{by_key, sound};
use super::{Browser, Profile};
use crate::master::{Master, id};

/// What is looked for: the rules of WCAG 2.2 A and AA, and what is good practice.
const LOOK: &str = "axe.run(document, {resultTypes: ['violations']}).then(({violations}) =>
    violations.filter((it) => ['serious', 'critical'].includes(it.impact)).map((it) =>
        `${it.id}: ${it.nodes.map((node) => node.target.join(' ') + ' ' + node.failureSummary).slice(0, 3)}`))";

/// Schemes and devices: their names, and options of Playwright's `newContext`.
const LOOKS: [(&str, &str, u32, u32); 4] = [
    ("light-desktop", "light", 1280, 800),
    ("dark-phone", "dark", 360, 740),
    ("dark-desktop", "dark", 1280, 800),
    ("light-phone", "light", 360, 740),
];

/// Those that are always looked at: each scheme and each device once.
const LOOKS_ALWAYS: usize = 2;

/// The pages, by name and path, of a server on which something has happened.
fn pages(master: &Master) -> Vec<(&'static str, String)> {
    let steps = |test: &str| {
        json!({"spec": {"name": "web-shop", "steps": [
            {"name": "fetch", "run": "echo fetching; sleep 0.05"},
            {"name": "build", "run": "for i in $(seq 1 30); do echo \"compiling crate $i\"; done"},
            {"name": "test", "run": test},
            {"name": "deploy", "run": "echo deployed"},
        ]}})
    };
    let run = |test: &str| {
        let job = id(&master.submit(&steps(test)));
        master.ended(&job);
        job
    };
    for _ in 0..3 {
        run("echo 12 passed");
    }
    let failed = run(
        "printf '\\033[32m11 passed\\033[0m, \\033[1;31m1 failed\\033[0m\\n'; echo 'error: cart is empty' >&2; exit 101",
    );
    run("echo 12 passed");
    let colours = master.run(
        r#"i=0; while [ $i -lt 16 ]; do printf "\033[38;5;${i}mcolour $i\033[0m \033[48;5;${i}mbehind\033[0m\n"; i=$((i+1)); done
        echo "::group::a group"; echo inside; echo "::endgroup::"; seq 1 400"#,
    );
    master.ended(&colours);
    let paths = [
        ("jobs", "/?failed_first=1".to_owned()),
        ("job", format!("/jobs/{failed}")),
        ("log", format!("/jobs/{failed}/log")),
        ("log-colours", format!("/jobs/{colours}/log?from_line=1")),
        ("log-search", format!("/jobs/{colours}/log?q=99")),
        ("trace", format!("/jobs/{failed}/trace")),
        ("pipelines", "/pipelines".to_owned()),
        ("pipeline", "/pipelines/web-shop".to_owned()),
        ("dashboards", "/dashboards".to_owned()),
        ("alerts", "/alerts".to_owned()),
        ("runbook", "/alerts/job_failures".to_owned()),
        ("health", "/checks".to_owned()),
        ("workers", "/workers".to_owned()),
        ("secrets", "/secrets".to_owned()),
        ("keys", "/keys".to_owned()),
        ("webhooks", "/webhooks".to_owned()),
        ("signals", "/signals?q=jobs".to_owned()),
        ("error", "/jobs/nobody".to_owned()),
    ];
    paths.into()
}

fn axe() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    let file = target.join("browser/node_modules/axe-core/axe.min.js");
    fs::read_to_string(file).expect("axe-core: `make deps` installs it")
}

#[test]
fn each_page_is_for_everybody_in_light_and_dark_on_a_desktop_and_a_phone() {
    let master = Master::start();
    let pages = pages(&master);
    let browser = Browser::start();
    let (axe, drawn) = (
        axe(),
        std::env::var_os("DANUBE_SCREENSHOTS").map(PathBuf::from),
    );
    let mut wrong = Vec::new();
    let looks = if drawn.is_some() {
        LOOKS.len()
    } else {
        LOOKS_ALWAYS
    };
    for (look, scheme, width, height) in LOOKS.into_iter().take(looks) {
        let options =
            json!({"colorScheme": scheme, "viewport": {"width": width, "height": height}});
        let person = browser.profile_with(look, &options);
        by_key(&person, &master);
        for (name, path) in &pages {
            person.go(&format!("{}{path}", master.address));
            let found = looked_at(&person, &axe);
            wrong.extend(found.iter().map(|it| format!("{name} {look}: {it}")));
            let over = person.run("document.documentElement.scrollWidth - innerWidth");
            if over != 0 {
                wrong.push(format!(
                    "{name} {look}: {over} pixels wider than the window"
                ));
            }
            if let Some(dir) = &drawn {
                person.screenshot(&dir.join(format!("{name}-{look}.png")));
            }
        }
        sound(&person);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What axe-core finds serious or critical.
fn looked_at(person: &Profile<'_>, axe: &str) -> Vec<String> {
    person.run(&format!("{axe}; null"));
    let Value::Array(found) = person.run(LOOK) else {
        panic!("axe-core said nothing");
    };
    found.iter().map(ToString::to_string).collect()
}
