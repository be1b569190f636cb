//! Threads that submit, repeat and cancel while the master dies under them.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use super::history::History;
use crate::master::{DEADLINE, Master};

/// Threads that submit.
const SUBMITTERS: usize = 3;

/// Jobs that each of them submits between two kills.
const JOBS_A_ROUND: usize = 4;

/// A small generator of the `xorshift` kind: a test needs no better one, but
/// the same numbers again for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// One job to be submitted, and what it will print.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Its idempotency key and the name of its pipeline.
    pub(crate) key: String,
    /// Numbered lines of the first and of the second step.
    lines: [u64; 2],
    /// Between two lines.
    pause_ms: u64,
    pub(crate) retry_on_lost: bool,
    pub(crate) is_cancelled: bool,
}

impl Plan {
    pub(crate) fn new(key: String, random: &mut Random) -> Self {
        Self {
            key,
            lines: [1 + random.below(25), 1 + random.below(25)],
            // Some milliseconds to two seconds in all.
            pause_ms: [0, 0, 1, 5, 40][usize::try_from(random.below(5)).expect("small")],
            retry_on_lost: !random.one_in(5),
            is_cancelled: random.one_in(6),
        }
    }

    /// One that runs for about so long, in ten lines a step.
    pub(crate) fn that_takes(key: &str, time: Duration) -> Self {
        Self {
            key: key.to_owned(),
            lines: [10, 10],
            pause_ms: u64::try_from(time.as_millis() / 20).expect("a short time"),
            retry_on_lost: true,
            is_cancelled: false,
        }
    }

    pub(crate) fn body(&self) -> Value {
        let key = &self.key;
        let pause = match self.pause_ms {
            0 => String::new(),
            ms => format!("sleep 0.{ms:03}; "),
        };
        let step = |from: u64, to: u64| {
            format!(
                "i={from}; while [ $i -lt {to} ]; do i=$((i+1)); echo \"{key} line $i\"; {pause}done"
            )
        };
        let [first, second] = self.lines;
        json!({
            "spec": {"name": key, "steps": [
                {"name": "first", "run": step(0, first)},
                {"name": "second", "run": step(first, first + second)},
            ]},
            "retry_on_lost": self.retry_on_lost,
        })
    }

    /// All that one whole attempt prints.
    pub(crate) fn output(&self) -> String {
        let count = self.lines.iter().sum::<u64>();
        (1..=count)
            .map(|it| format!("{} line {it}\n", self.key))
            .collect()
    }
}

/// The threads, and what they are told.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    history: History,
    /// The disk breaks under a master that lives: it may refuse.
    may_refuse: bool,
    server: Mutex<Server>,
    changed: Condvar,
}

#[derive(Default, Clone)]
struct Server {
    address: String,
    key: String,
    /// Counts the masters there were; 0 before the first.
    round: u64,
    /// This master stays: finish what is unanswered, and submit no more.
    is_last: bool,
    /// Submits that this master answered.
    answered: u64,
}

impl Load {
    pub(crate) fn start(seed: u64) -> Self {
        Self::with(seed, History::default())
    }

    /// With jobs that run on workers elsewhere.
    pub(crate) fn elsewhere(seed: u64) -> Self {
        Self::with(seed, History::elsewhere())
    }

    /// On a machine whose power goes.
    pub(crate) fn of_power_cuts(seed: u64) -> Self {
        Self::with(seed, History::of_power_cuts())
    }

    /// On a disk that refuses what it is asked for, again and again.
    pub(crate) fn on_a_bad_disk(seed: u64) -> Self {
        Self::with(seed, History::on_a_bad_disk())
    }

    fn with(seed: u64, history: History) -> Self {
        let shared = Arc::new(Shared {
            may_refuse: history.is_bad_disk,
            history,
            ..Shared::default()
        });
        let threads = (0..SUBMITTERS).map(|number| {
            let submitter = Submitter {
                shared: Arc::clone(&shared),
                agent: agent(),
                random: Random::new(seed ^ (number as u64 + 1)),
                name: format!("s{number}"),
                made: 0,
                mine: Vec::new(),
            };
            thread::spawn(move || submitter.run())
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    pub(crate) fn history(&self) -> &History {
        &self.shared.history
    }

    /// There is a master again.
    pub(crate) fn serve(&self, master: &Master, is_last: bool) {
        let mut server = self.shared.server.lock().expect("server");
        *server = Server {
            address: master.address.clone(),
            key: master.key.clone(),
            round: server.round + 1,
            is_last,
            answered: 0,
        };
        self.shared.changed.notify_all();
    }

    /// Waits until this master has accepted something: it dies under load.
    pub(crate) fn wait_for_answer(&self) {
        let server = self.shared.server.lock().expect("server");
        let waited = self
            .shared
            .changed
            .wait_timeout_while(server, DEADLINE, |it| it.answered == 0);
        assert!(
            !waited.expect("server").1.timed_out(),
            "nothing was accepted"
        );
    }

    /// Waits until every submit was answered. Call when the last master serves.
    pub(crate) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread
                .join()
                .expect("a submitter heard what it must not hear");
        }
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(DEADLINE))
        .build()
        .new_agent()
}

struct Submitter {
    shared: Arc<Shared>,
    agent: Agent,
    random: Random,
    name: String,
    made: u64,
    /// Ids of its jobs, oldest first.
    mine: Vec<String>,
}

impl Submitter {
    fn run(mut self) {
        let mut unanswered: Option<Plan> = None;
        let mut round = 0;
        loop {
            let server = self.next(round);
            round = server.round;
            let budget = if server.is_last { 0 } else { JOBS_A_ROUND };
            let new = (0..budget).map(|_| None);
            for plan in unanswered.take().map(Some).into_iter().chain(new) {
                let plan = plan.unwrap_or_else(|| self.plan());
                if self.submit(&server, &plan).is_none() {
                    // Its fate is unknown: asked again with the same key.
                    unanswered = Some(plan);
                    break;
                }
            }
            assert!(
                !server.is_last || unanswered.is_none(),
                "the last master doesn't answer"
            );
            if server.is_last {
                return;
            }
        }
    }

    /// The master after the one of this round.
    fn next(&self, round: u64) -> Server {
        let server = self.shared.server.lock().expect("server");
        let waited = self
            .shared
            .changed
            .wait_timeout_while(server, DEADLINE, |it| it.round == round);
        let (server, timeout) = waited.expect("server");
        assert!(!timeout.timed_out(), "no master came back");
        server.clone()
    }

    fn plan(&mut self) -> Plan {
        self.made += 1;
        Plan::new(format!("{}-{}", self.name, self.made), &mut self.random)
    }

    /// `None` when the master died before it answered.
    fn submit(&mut self, server: &Server, plan: &Plan) -> Option<()> {
        let body = plan.body().to_string();
        let repeats = if self.random.one_in(4) { 2 } else { 1 };
        let mut id = String::new();
        for _ in 0..repeats {
            let (status, job) =
                self.call(server, "POST", "/api/v1/jobs", Some((&plan.key, &body)))?;
            assert_eq!(status, 202, "{job}");
            self.shared.history.accepted(plan, &job);
            id = job["id"].as_str().expect("an id").to_owned();
            self.shared.server.lock().expect("server").answered += 1;
            self.shared.changed.notify_all();
        }
        if plan.is_cancelled {
            // tidy: allow(sleep): nothing is waited for; the random moment is the point
            thread::sleep(Duration::from_millis(self.random.below(100)));
            let (status, job) = self.call(server, "DELETE", &format!("/api/v1/jobs/{id}"), None)?;
            match status {
                202 => self.shared.history.cancelled(&job),
                409 => {}
                _ => panic!("{status} {job}"),
            }
        }
        let (status, job) = self.call(server, "GET", &format!("/api/v1/jobs/{id}"), None)?;
        assert_eq!(status, 200, "{job}");
        self.shared.history.seen(&job);
        self.mine.push(id);
        self.look_back(server)
    }

    /// Reads the log of one of the last jobs, however far it has come.
    fn look_back(&mut self, server: &Server) -> Option<()> {
        let newest = self.mine.len() as u64;
        let back = 1 + self.random.below(newest.min(JOBS_A_ROUND as u64));
        let id = &self.mine[self.mine.len() - usize::try_from(back).expect("small")];
        let path = format!("/api/v1/jobs/{id}/logs");
        let (status, log) = self.send(server, "GET", &path, None)?;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&log));
        self.shared.history.read(id, log);
        Some(())
    }

    fn call(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> Option<(u16, Value)> {
        let (status, answer) = self.send(server, method, path, body)?;
        Some((status, serde_json::from_slice(&answer).ok()?))
    }

    /// `None` when there was no whole answer, or one that says no more than that the disk
    /// refused, where it may.
    fn send(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> Option<(u16, Vec<u8>)> {
        let client = Client {
            agent: self.agent.clone(),
            address: server.address.clone(),
            key: server.key.clone(),
        };
        let body = body.map(|(key, body)| (Some(key), body));
        let answer = client.send(method, path, body)?;
        let is_refusal = self.shared.may_refuse && answer.0 >= 500;
        (!is_refusal).then_some(answer)
    }
}

/// Somebody who asks a master that may die meanwhile.
pub(crate) struct Client {
    agent: Agent,
    address: String,
    key: String,
}

impl Client {
    pub(crate) fn of(master: &Master) -> Self {
        Self {
            agent: agent(),
            address: master.address.clone(),
            key: master.key.clone(),
        }
    }

    /// `None` when there was no whole answer.
    pub(crate) fn submit(&self, key: Option<&str>, body: &Value) -> Option<(u16, Value)> {
        let (status, answer) = self.send("POST", "/api/v1/jobs", Some((key, &body.to_string())))?;
        Some((status, serde_json::from_slice(&answer).ok()?))
    }

    /// The same for JSON without a body.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, Value)> {
        let (status, answer) = self.send("GET", path, None)?;
        Some((status, serde_json::from_slice(&answer).ok()?))
    }

    /// Sends a body of JSON with its idempotency key. `None` when the master died before the
    /// whole answer was here.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(Option<&str>, &str)>,
    ) -> Option<(u16, Vec<u8>)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("authorization", format!("Bearer {}", self.key));
        let sent = match body {
            Some((key, body)) => {
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                let request = request.header("content-type", "application/json");
                self.agent
                    .run(request.body(body.to_owned()).expect("a request"))
            }
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut answer = sent.ok()?;
        let body = answer.body_mut().read_to_vec().ok()?;
        Some((answer.status().as_u16(), body))
    }
}
