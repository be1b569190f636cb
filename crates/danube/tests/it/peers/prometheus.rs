//! A real Prometheus that scrapes a master, and promtool.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use ureq::Agent;

use super::program::{Finished, Program, find, finish};
use crate::master::{DEADLINE, Master};
use crate::processes::until;

/// How often it scrapes here. The files in `deploy` say 15 s; a test would wait.
const SCRAPE_EVERY: &str = "1s";

/// Name of the scrape job, which becomes the label `job`.
pub(crate) const JOB: &str = "danube";

/// A running Prometheus. Ended when dropped.
pub(crate) struct Prometheus {
    program: Program,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    agent: Agent,
}

/// One element of an answer to a query for now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Prometheus {
    /// Scrapes this master, with its admin key from a file. The first scrape comes
    /// some 5 s after the start, which nothing can hurry: start it early.
    #[track_caller]
    pub(crate) fn scraping(master: &Master) -> Self {
        Self::scraping_at(&master.address, &master.key)
    }

    /// Scrapes `/metrics` of this server, with a key.
    #[track_caller]
    pub(crate) fn scraping_at(address: &str, key: &str) -> Self {
        let host = address.trim_start_matches("http://");
        let config = json!({
            "global": {"scrape_interval": SCRAPE_EVERY, "evaluation_interval": SCRAPE_EVERY},
            "scrape_configs": [{
                "job_name": JOB,
                "authorization": {"credentials_file": "danube.key"},
                "static_configs": [{"targets": [host]}],
            }],
        });
        Self::with(&config, &[("danube.key", key)])
    }

    /// Runs with `config` and these files beside it (relative names in the
    /// configuration mean them).
    #[track_caller]
    pub(crate) fn with(config: &Value, files: &[(&str, &str)]) -> Self {
        // JSON is YAML.
        Self::with_yaml(&config.to_string(), files)
    }

    /// The same with a configuration as it stands in a file.
    #[track_caller]
    pub(crate) fn with_yaml(config: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("make a directory");
        for (name, text) in files.iter().chain(&[("prometheus.yml", config)]) {
            fs::write(dir.path().join(name), text).expect("write its files");
        }
        let arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--enable-feature=exemplar-storage",
            "--web.enable-remote-write-receiver",
        ];
        let mut program = Program::start("prometheus", &find(&["prometheus"]), &arguments, dir);
        let url = format!("http://{}", program.listens_at());
        let agent = agent();
        program.wait("it is ready", |_| {
            let answer = agent.get(format!("{url}/-/ready")).call().ok()?;
            answer.status().is_success().then_some(())
        });
        Self {
            program,
            url,
            agent,
        }
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        self.program.output()
    }

    /// `data` of its answer at `path`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("{}{path}", self.url);
        let request = query.iter().fold(self.agent.get(url), |it, (name, value)| {
            it.query(name, value)
        });
        let mut answer = request.call().expect("ask Prometheus");
        let body = answer.body_mut().read_to_string().expect("its answer");
        let json: Value = serde_json::from_str(&body).expect("an answer in JSON");
        assert_eq!(json["status"], "success", "{path} {query:?}: {body}");
        json["data"].clone()
    }

    /// What `expression` is now.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Point> {
        let data = self.get("/api/v1/query", &[("query", expression)]);
        if data["resultType"] == "scalar" {
            let labels = BTreeMap::new();
            let value = number(&data["result"][1]);
            return vec![Point { labels, value }];
        }
        assert_eq!(data["resultType"], "vector", "{expression}");
        let points = data["result"].as_array().expect("a vector").iter();
        let point = |it: &Value| Point {
            labels: serde_json::from_value(it["metric"].clone()).expect("labels"),
            value: number(&it["value"][1]),
        };
        points.map(point).collect()
    }

    /// The only element of `expression` now.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> f64 {
        let points = self.query(expression);
        assert_eq!(points.len(), 1, "{expression}: {points:?}");
        points[0].value
    }

    /// Waits until `look` sees something in what `expression` is.
    #[track_caller]
    pub(crate) fn until<T>(&self, expression: &str, look: impl Fn(&[Point]) -> Option<T>) -> T {
        until(expression, DEADLINE, || look(&self.query(expression)))
    }

    /// Waits for a scrape that began after this call and went well, so that
    /// whatever was true before is known to it.
    #[track_caller]
    pub(crate) fn scraped(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("now is after 1970").as_secs_f64();
        // A sample carries the time at which its scrape began, as long as it is
        // asked of the series itself.
        let expression = format!("timestamp(up{{job=\"{JOB}\"}}) and up{{job=\"{JOB}\"}} == 1");
        self.until(&expression, |points| {
            points.first().filter(|it| it.value > now).map(drop)
        });
    }
}

fn number(value: &Value) -> f64 {
    let text = value
        .as_str()
        .expect("Prometheus writes numbers as strings");
    text.parse().expect("and Rust reads them")
}

/// For requests to programs that are not ours.
pub(crate) fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .new_agent()
}

/// Runs promtool with `input` as its standard input, in `dir`.
#[track_caller]
pub(crate) fn promtool(arguments: &[&str], dir: &Path, input: &[u8]) -> Finished {
    let mut command = Command::new(find(&["promtool"]));
    command.args(arguments).current_dir(dir);
    finish(command, input)
}
