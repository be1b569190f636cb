//! A blocking client, as the command line uses it.

mod approvals;
mod artifacts;
mod audit;
mod backup;
mod blueprint;
mod credentials;
mod forges;
mod health;
mod pipelines;
mod profiles;
mod provenance;
mod registry;
mod secrets;
mod webhooks;
mod workers;

use std::fmt;
use std::io::Read;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body, SendBody};

use crate::artifact::escape;
use crate::{
    ALERTS_PATH, AlertList, Code, HistoryView, JOBS_PATH, JobList, JobView, KEYS_PATH, KeyList,
    KeyView, LOG_LEVEL_PATH, LOG_OFFSET_HEADER, LogDeleted, LogLevelView, LoginEnded, LoginKey,
    LoginProof, MaskValue, Masked, NewKey, NewKeyView, NewLogLevel, PIPELINES_PATH, PipelineTiming,
    Problem, Submit, TimingList,
};

/// How long to wait for a connection: a server on the same continent answers
/// in a tenth of it.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait for the head of an answer. The server gives up on a
/// request before that, so a longer wait means that it hangs.
const ANSWER_DEADLINE: Duration = Duration::from_secs(35);

/// How long a whole answer that isn't a log may take.
const WHOLE_DEADLINE: Duration = Duration::from_secs(60);

/// Bytes of an answer that is read into memory whole: a trace may have 16 MiB in its file,
/// and twice as many as Jaeger writes it.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Talks to one server with one key.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    server: String,
    key: String,
}

/// Why a call didn't succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a problem.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The server can't be reached, or broke off.
    #[error("reach the server at {server}: {why}")]
    Away {
        /// Its address.
        server: String,
        /// What the network said.
        why: String,
    },
    /// The answer isn't what this client understands.
    #[error("read the server's answer: {0}")]
    Answer(String),
}

impl ClientError {
    /// The problem's code, when the server sent one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            Self::Away { .. } | Self::Answer(_) => None,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// A log on its way.
pub struct LogStream<R> {
    /// Logical offset of the first byte. With `gaps=end` it can lie behind the
    /// one that was asked for: what stands between is missing.
    pub offset: u64,
    /// The bytes.
    pub bytes: R,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only jobs with this status.
    pub status: Option<String>,
    /// Only jobs of this pipeline.
    pub pipeline: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
    /// Where the page begins: `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Client {
    /// A client for the server at `server` (`http://…` or `https://…`).
    #[must_use]
    pub fn new(server: &str, key: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_DEADLINE))
            .timeout_recv_response(Some(ANSWER_DEADLINE))
            // A key must not follow a redirect to somebody else.
            .max_redirects(0)
            .user_agent(concat!("danube/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            agent,
            server: server.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
        }
    }

    /// The server's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Submits a job. With an idempotency key the call is safe to repeat.
    ///
    /// # Errors
    /// Like every call here: [`ClientError`].
    pub fn submit(
        &self,
        submit: &Submit,
        idempotency_key: Option<&str>,
    ) -> Result<JobView, ClientError> {
        let body =
            serde_json::to_vec(submit).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::POST, JOBS_PATH, Some(body), idempotency_key)
    }

    /// One page of jobs.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn jobs(&self, query: &ListQuery) -> Result<JobList, ClientError> {
        let limit = query.limit.map(|it| it.to_string());
        let pairs = [
            ("status", query.status.as_deref()),
            ("pipeline", query.pipeline.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", query.cursor.as_deref()),
        ];
        self.json(Method::GET, &with_query(JOBS_PATH, &pairs), None, None)
    }

    /// One job, by id or short id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn job(&self, id: &str) -> Result<JobView, ClientError> {
        self.json(Method::GET, &job_path(id, ""), None, None)
    }

    /// What happened to a job.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn history(&self, id: &str) -> Result<HistoryView, ClientError> {
        self.json(Method::GET, &job_path(id, "/history"), None, None)
    }

    /// The trace of a job: OTLP JSON, or as Jaeger reads it.
    ///
    /// # Errors
    /// [`ClientError`]; `log_gone` when it was deleted with the log.
    pub fn trace(&self, id: &str, is_jaeger: bool) -> Result<serde_json::Value, ClientError> {
        let format = if is_jaeger { "jaeger" } else { "otlp" };
        let path = job_path(id, &format!("/trace?format={format}"));
        self.json(Method::GET, &path, None, None)
    }

    /// What took the time of a pipeline over its latest `runs`.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` when there is no such pipeline.
    pub fn timing(&self, pipeline: &str, runs: usize) -> Result<PipelineTiming, ClientError> {
        let path = format!("{PIPELINES_PATH}/{}/timing?runs={runs}", escape(pipeline));
        self.json(Method::GET, &path, None, None)
    }

    /// How long the latest `runs` of each pipeline took and waited.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn timings(&self, runs: usize) -> Result<TimingList, ClientError> {
        let path = format!("{PIPELINES_PATH}/timing?runs={runs}");
        self.json(Method::GET, &path, None, None)
    }

    /// The alerts that fire or are about to.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn alerts(&self) -> Result<AlertList, ClientError> {
        self.json(Method::GET, ALERTS_PATH, None, None)
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`ClientError`]; `wrong_state` when it has ended.
    pub fn cancel(&self, id: &str) -> Result<JobView, ClientError> {
        self.json(Method::DELETE, &job_path(id, ""), None, None)
    }

    /// Runs an ended job again, as a new one.
    ///
    /// # Errors
    /// [`ClientError`]; `wrong_state` when it hasn't ended.
    pub fn retry(&self, id: &str) -> Result<JobView, ClientError> {
        self.json(
            Method::POST,
            &job_path(id, "/retry"),
            Some(Vec::new()),
            None,
        )
    }

    /// Masks a value in a job's log from now on, and where it stands already.
    ///
    /// # Errors
    /// [`ClientError`]; `invalid` when the value can't be masked.
    pub fn mask(&self, id: &str, value: &MaskValue) -> Result<Masked, ClientError> {
        let body =
            serde_json::to_vec(value).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::POST, &job_path(id, "/mask"), Some(body), None)
    }

    /// Searches a log: a stream of [`SearchLine`](crate::SearchLine)s. `query`
    /// holds `q`, `literal=1`, `ignore_case=1`, `from`, …
    ///
    /// # Errors
    /// [`ClientError`]; `invalid` when the expression is wrong.
    pub fn search(
        &self,
        id: &str,
        query: &[(&str, Option<&str>)],
    ) -> Result<impl Read + use<>, ClientError> {
        let path = with_query(&job_path(id, "/logs/search"), query);
        let request = self.request(Method::GET, &path).body(SendBody::none());
        let request = request.map_err(|error| self.away(&error.into()))?;
        let answer = self.send(self.bounded(request))?;
        Ok(answer.into_body().into_reader())
    }

    /// Deletes the log of a job that has ended.
    ///
    /// # Errors
    /// [`ClientError`]; `wrong_state` when it hasn't ended.
    pub fn delete_log(&self, id: &str) -> Result<LogDeleted, ClientError> {
        self.json(Method::DELETE, &job_path(id, "/logs"), None, None)
    }

    /// The log as a stream of bytes; with `follow` it goes on until the job
    /// ends. `query` holds `timestamps=1`, `ansi=strip`, `step=NAME`, …
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn log(
        &self,
        id: &str,
        query: &[(&str, Option<&str>)],
        from: u64,
    ) -> Result<LogStream<impl Read + use<>>, ClientError> {
        let path = with_query(&job_path(id, "/logs"), query);
        let mut request = self.request(Method::GET, &path);
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let request = request
            .body(SendBody::none())
            .map_err(|error| self.away(&error.into()))?;
        let answer = self.send(request)?;
        let told = answer.headers().get(LOG_OFFSET_HEADER);
        let offset = told
            .and_then(|it| it.to_str().ok()?.parse().ok())
            .unwrap_or(from);
        Ok(LogStream {
            offset,
            bytes: answer.into_body().into_reader(),
        })
    }

    /// Makes an API key.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn create_key(&self, new: &NewKey) -> Result<NewKeyView, ClientError> {
        let body =
            serde_json::to_vec(new).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::POST, KEYS_PATH, Some(body), None)
    }

    /// Every API key.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn keys(&self) -> Result<KeyList, ClientError> {
        self.json(Method::GET, KEYS_PATH, None, None)
    }

    /// Revokes an API key, by id or name.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn revoke_key(&self, id: &str) -> Result<KeyView, ClientError> {
        self.json(
            Method::DELETE,
            &format!("{KEYS_PATH}/{}", escape(id)),
            None,
            None,
        )
    }

    /// A key that acts for who said yes in a browser.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn login(&self, proof: &LoginProof) -> Result<LoginKey, ClientError> {
        let body =
            serde_json::to_vec(proof).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::POST, "/login/cli/key", Some(body), None)
    }

    /// Ends this client's key, which `login` got.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn logout(&self) -> Result<LoginEnded, ClientError> {
        self.json(Method::POST, "/login/cli/end", None, None)
    }

    /// How the level of the server's log stands.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn log_level(&self) -> Result<LogLevelView, ClientError> {
        self.json(Method::GET, LOG_LEVEL_PATH, None, None)
    }

    /// Changes the level of the server's log.
    ///
    /// # Errors
    /// [`ClientError`]; `invalid` when the level is wrong.
    pub fn set_log_level(&self, new: &NewLogLevel) -> Result<LogLevelView, ClientError> {
        let body =
            serde_json::to_vec(new).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::PUT, LOG_LEVEL_PATH, Some(body), None)
    }

    /// Whatever JSON stands at `path`, a success or not: health tells with 503.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn raw(&self, path: &str) -> Result<(u16, serde_json::Value), ClientError> {
        let request = self.request(Method::GET, path).body(SendBody::none());
        let request = request.map_err(|error| self.away(&error.into()))?;
        let answer = self.agent.run(self.bounded(request));
        let mut answer = answer.map_err(|error| self.away(&error))?;
        let status = answer.status().as_u16();
        Ok((status, self.read(&mut answer)?))
    }

    fn request(&self, method: Method, path: &str) -> ureq::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header("authorization", format!("Bearer {}", self.key))
    }

    fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        idempotency_key: Option<&str>,
    ) -> Result<T, ClientError> {
        let mut request = self
            .request(method, path)
            .header("accept", "application/json");
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let sent = match body {
            Some(bytes) => {
                request = request.header("content-type", "application/json");
                request.body(SendBody::from_owned_reader(std::io::Cursor::new(
                    bytes.clone(),
                )))
            }
            None => request.body(SendBody::none()),
        };
        let request = sent.map_err(|error| self.away(&error.into()))?;
        let mut answer = self.send(self.bounded(request))?;
        self.read(&mut answer)
    }

    /// The request with a deadline for its whole answer: for everything but a
    /// log, which may be followed for hours.
    fn bounded(&self, request: Request<SendBody<'static>>) -> Request<SendBody<'static>> {
        self.agent
            .configure_request(request)
            .timeout_global(Some(WHOLE_DEADLINE))
            .build()
    }

    fn send(&self, request: Request<SendBody<'_>>) -> Result<Response<Body>, ClientError> {
        let mut answer = self.agent.run(request).map_err(|error| self.away(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        match self.read::<Problem>(&mut answer) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::Answer(format!(
                "status {status} without a problem; is this a Danube server?"
            ))),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: &mut Response<Body>) -> Result<T, ClientError> {
        let reader = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let bytes = reader.read_to_vec().map_err(|error| self.away(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error.to_string()))
    }

    fn away(&self, error: &ureq::Error) -> ClientError {
        ClientError::Away {
            server: self.server.clone(),
            why: error.to_string(),
        }
    }
}

fn job_path(id: &str, rest: &str) -> String {
    format!("{JOBS_PATH}/{}{rest}", escape(id))
}

fn with_query(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = path.to_owned();
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(name);
        text.push('=');
        text.push_str(&escape(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_from_a_person_can_not_leave_its_place_in_the_path() {
        assert_eq!(
            job_path("../api-keys?x", "/logs"),
            "/api/v1/jobs/..%2Fapi-keys%3Fx/logs"
        );
        let query = with_query("/p", &[("a", Some("x y")), ("b", None), ("c", Some("ä"))]);
        assert_eq!(query, "/p?a=x%20y&c=%C3%A4");
    }

    #[test]
    fn the_key_is_not_in_the_debug_text() {
        let client = Client::new("http://127.0.0.1:1/", "dnb_0123456789");
        assert!(!format!("{client:?}").contains("0123456789"));
        assert_eq!(client.server(), "http://127.0.0.1:1");
    }
}
