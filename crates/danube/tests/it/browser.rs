//! A real browser: Chromium, as `ci/browser/driver.mjs` drives it. For whatever only a browser
//! knows: cookies, redirects, what a page's policy refuses, what "back" shows.
//!
//! It has a fresh home in a directory of its own, reaches this machine's loopback alone, answers
//! within a deadline, and ends with the [`Browser`], or with the test's process.

mod front;
mod logs;
mod looks;
mod pages;
mod peers;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::master::DEADLINE;
use crate::processes::{marked, until};

/// Answers that wait to be read: there is one at a time.
const ANSWERS_WAITING: usize = 1;

/// How long it may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What Chromium is called.
const NAMES: [&str; 2] = ["chromium", "chromium-browser"];

/// A running browser, with profiles that know nothing of each other.
pub(crate) struct Browser {
    child: Child,
    /// Orders and their answers: one goes with the other.
    line: Mutex<(Option<ChildStdin>, Receiver<String>)>,
    home: TempDir,
}

/// A profile: cookies, cache and one tab of its own.
pub(crate) struct Profile<'a> {
    browser: &'a Browser,
    name: String,
}

/// What a page shows.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) url: String,
    pub(crate) title: String,
    /// As it is seen, without what is hidden.
    pub(crate) text: String,
}

/// Something that went wrong in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// `csp`, what the page's policy refused; `error`, what a script threw; `console`, what was
    /// complained of there; `outside`, an address that isn't this machine's.
    pub(crate) kind: String,
    pub(crate) text: String,
    /// The page that was shown then.
    pub(crate) page: String,
}

impl Browser {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| root.join("target"), PathBuf::from);
        let installed = target.join("browser").canonicalize();
        let home = tempfile::tempdir().expect("make a directory");
        let mut child = Command::new("node")
            .arg(root.join("ci/browser/driver.mjs"))
            .arg(installed.expect("target/browser: `make deps` installs it"))
            .arg(chromium())
            .current_dir(home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            // Its profile, cache and settings go there; `end` knows its processes by this.
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node: `make deps` installs it");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, told) = sync_channel(ANSWERS_WAITING);
        thread::spawn(move || {
            let lines = answers.lines().map_while(Result::ok);
            for line in lines {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let browser = Self {
            child,
            line: Mutex::new((orders, told)),
            home,
        };
        assert_eq!(browser.answer(None), "ready");
        browser
    }

    /// A new profile of this name.
    #[track_caller]
    pub(crate) fn profile(&self, name: &str) -> Profile<'_> {
        self.profile_with(name, &json!({}))
    }

    /// The same with options of Playwright's `newContext`, such as `viewport` and `colorScheme`.
    #[track_caller]
    pub(crate) fn profile_with(&self, name: &str, options: &Value) -> Profile<'_> {
        let profile = Profile {
            browser: self,
            name: name.to_owned(),
        };
        profile.order("profile", json!({"options": options}));
        profile
    }

    /// Gives an order, if there is one, and waits for a line.
    #[track_caller]
    fn answer(&self, order: Option<&Value>) -> String {
        let (orders, answers) = &mut *self.line.lock().expect("the line");
        if let (Some(order), Some(orders)) = (order, orders) {
            writeln!(orders, "{order}").expect("the browser's driver is there");
        }
        let answer = answers.recv_timeout(DEADLINE);
        answer.unwrap_or_else(|error| panic!("the browser: {error}: {order:?}"))
    }

    /// Ends it, and waits until none of its processes is left.
    fn end(&mut self) {
        if let Ok(line) = self.line.get_mut() {
            line.0 = None;
        }
        let mark = format!("HOME={}", self.home.path().display());
        until("the browser ends", ENDS_WITHIN, || {
            let is_over = self.child.try_wait().is_ok_and(|it| it.is_some());
            (is_over && marked(&mark).is_empty()).then_some(())
        });
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if thread::panicking() {
            // Without it Chromium ends by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        } else {
            self.end();
        }
    }
}

impl Profile<'_> {
    /// Gives an order of `ci/browser/driver.mjs`; what it answers.
    #[track_caller]
    pub(crate) fn order(&self, what: &str, mut order: Value) -> Value {
        order["do"] = json!(what);
        order["name"] = json!(self.name);
        let line = self.browser.answer(Some(&order));
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        if let Some(error) = answer["error"].as_str() {
            let shown = self
                .browser
                .answer(Some(&json!({"do": "shown", "name": self.name})));
            panic!("{}: {order}: {error}; {shown}", self.name);
        }
        answer["is"].take()
    }

    /// Goes there, and wherever that leads without a page; the status of what is loaded then.
    #[track_caller]
    pub(crate) fn go(&self, url: &str) -> u64 {
        status(&self.order("go", json!({"url": url})))
    }

    #[track_caller]
    pub(crate) fn reload(&self) -> u64 {
        status(&self.order("reload", json!({})))
    }

    /// The button of the browser.
    #[track_caller]
    pub(crate) fn back(&self) {
        self.order("back", json!({}));
    }

    /// Clicks at what this selector of Playwright's names, once it can be clicked.
    #[track_caller]
    pub(crate) fn click(&self, at: &str) {
        self.order("click", json!({"at": at}));
    }

    #[track_caller]
    pub(crate) fn fill(&self, at: &str, with: &str) {
        self.order("fill", json!({"at": at, "with": with}));
    }

    /// Waits until this is seen.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str) {
        self.order("wait", json!({"for": what}));
    }

    #[track_caller]
    pub(crate) fn shown(&self) -> Shown {
        let mut shown = self.order("shown", json!({}));
        let mut text = |name: &str| match shown[name].take() {
            Value::String(text) => text,
            other => panic!("{name}: {other}"),
        };
        Shown {
            url: text("url"),
            title: text("title"),
            text: text("text"),
        }
    }

    /// The cookie of this name, with its flags, if there is one.
    #[track_caller]
    pub(crate) fn cookie(&self, name: &str) -> Option<Value> {
        let all = self.order("cookies", json!({}));
        let mut all = all.as_array().expect("a list").iter();
        all.find(|it| it["name"] == name).cloned()
    }

    /// The value of this script, for which no policy of the page holds.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.order("run", json!({"script": script}))
    }

    /// The whole page as a PNG.
    #[track_caller]
    pub(crate) fn screenshot(&self, path: &Path) {
        self.order("screenshot", json!({"path": path}));
    }

    /// What went wrong since the last time that this was asked.
    #[track_caller]
    pub(crate) fn reported(&self) -> Vec<Report> {
        let all = self.order("reported", json!({}));
        let text = |it: &Value, name: &str| it[name].as_str().expect("a text").to_owned();
        let all = all.as_array().expect("a list").iter();
        all.map(|it| Report {
            kind: text(it, "kind"),
            text: text(it, "text"),
            page: text(it, "page"),
        })
        .collect()
    }
}

fn status(came: &Value) -> u64 {
    came["status"]
        .as_u64()
        .unwrap_or_else(|| panic!("a status: {came}"))
}

/// Where the system's Chromium is.
#[track_caller]
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let all = places
        .iter()
        .flat_map(|dir| NAMES.map(|name| dir.join(OsStr::new(name))));
    all.into_iter()
        .find(|it| it.is_file())
        .expect("chromium: `make deps` installs it")
}
