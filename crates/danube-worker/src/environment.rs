//! The environment of a step: made here, never inherited.

use std::collections::BTreeMap;

use danube_telemetry::TraceContext;

use crate::dispatch::Work;
use crate::tools::Tools;

/// What is the same for every step of a job.
pub(crate) struct Surroundings<'a> {
    /// The job.
    pub(crate) work: &'a Work,
    /// `PATH`.
    pub(crate) path: &'a str,
    /// `HOME`, inside the workspace.
    pub(crate) home: &'a str,
    /// Where the source is and the steps begin.
    pub(crate) workspace: &'a str,
    /// The server's address for the job's own calls; empty for none.
    pub(crate) server: &'a str,
    /// The socket that leads there, for a job without network.
    pub(crate) socket: Option<&'a str>,
    /// What the job shows to that server.
    pub(crate) token: &'a str,
    /// The commit that was cloned.
    pub(crate) commit: Option<&'a str>,
    /// The span of what runs: spans of its processes belong below.
    pub(crate) context: TraceContext,
    /// What a coordinator and its steps call with.
    pub(crate) tools: Option<&'a Tools>,
}

/// What a step has beside that.
pub(crate) struct StepOwn<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its variables; a later map wins over one before it.
    pub(crate) env: &'a [&'a BTreeMap<String, String>],
}

/// The environment of a step. Its own `env` may replace any variable but the
/// job's id.
///
/// Without a step it is that of the clone, which runs as the worker: nothing of
/// the pipeline's `env` may reach it, or `GIT_CONFIG_…`, `LD_PRELOAD` and their
/// like would run whatever a submit wants as the worker.
pub(crate) fn environment(
    around: &Surroundings<'_>,
    step: Option<&StepOwn<'_>>,
) -> Vec<(String, String)> {
    let Surroundings {
        work,
        path,
        home,
        workspace,
        server,
        token,
        commit,
        context,
        tools,
        ..
    } = *around;
    let order = &work.order;
    let job = work.attempt.job.to_string();
    let traceparent = context.to_string();
    let trace_headers = headers(token);
    let parameters = parameters(&order.parameters);
    let resource = resource(work, step);
    let with_tools = tools.map(|it| format!("{}:{path}", it.bin.display()));
    let python = tools.map(|it| it.python.display().to_string());
    let mut all: BTreeMap<&str, &str> = BTreeMap::from([
        ("PATH", with_tools.as_deref().unwrap_or(path)),
        ("HOME", home),
        ("LANG", "C.UTF-8"),
        ("CI", "true"),
        ("DANUBE", "1"),
        ("DANUBE_JOB_ID", &job),
        ("DANUBE_PIPELINE", order.task.name()),
        ("DANUBE_WORKSPACE", workspace),
        ("TRACEPARENT", &traceparent),
    ]);
    if let Some(state) = &order.trace.state {
        all.insert("TRACESTATE", state);
    }
    if let Some(baggage) = &order.trace.baggage {
        all.insert("BAGGAGE", baggage);
    }
    if let Some(git_ref) = &order.git_ref {
        all.insert("DANUBE_REF", git_ref);
    }
    if let Some(commit) = commit {
        all.insert("DANUBE_COMMIT", commit);
    }
    if !server.is_empty() {
        all.insert("DANUBE_SERVER", server);
    }
    for (name, value) in &parameters {
        all.insert(name, value);
    }
    if let Some(step) = step {
        all.insert("DANUBE_STEP", step.name);
        if let Some(python) = &python {
            all.insert("PYTHONPATH", python);
        }
        all.extend(calling(around, &trace_headers, &resource));
        for (name, value) in step.env.iter().flat_map(|it| it.iter()) {
            all.insert(name, value);
        }
    }
    // By this one the processes of a job are found after a crash.
    all.insert("DANUBE_JOB_ID", &job);
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What a step needs to call the server, and for its spans to get there; nothing without one.
fn calling<'a>(
    around: &Surroundings<'a>,
    headers: &'a str,
    resource: &'a str,
) -> Vec<(&'static str, &'a str)> {
    if around.server.is_empty() {
        return Vec::new();
    }
    let socket = around.socket.map(|it| ("DANUBE_SOCKET", it));
    let all = [
        ("DANUBE_JOB_TOKEN", around.token),
        // What speaks OpenTelemetry sends its spans here, and they belong to the job.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", around.server),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers),
        ("OTEL_RESOURCE_ATTRIBUTES", resource),
    ];
    all.into_iter().chain(socket).collect()
}

/// The parameters of a job, as variables.
fn parameters(given: &BTreeMap<String, String>) -> Vec<(String, &String)> {
    let named = given.iter();
    named
        .map(|(name, value)| (format!("DANUBE_PARAM_{name}"), value))
        .collect()
}

/// `OTEL_EXPORTER_OTLP_HEADERS`: pairs as in W3C baggage, values in per cent signs.
fn headers(token: &str) -> String {
    format!("authorization={}", in_percent(&format!("Bearer {token}")))
}

/// `OTEL_RESOURCE_ATTRIBUTES`: whose spans these are.
fn resource(work: &Work, step: Option<&StepOwn<'_>>) -> String {
    let job = work.attempt.job.to_string();
    let pairs = [
        ("job.id", Some(&*job)),
        ("cicd.pipeline.name", Some(work.order.task.name())),
        ("cicd.pipeline.run.id", Some(&*job)),
        ("cicd.pipeline.task.name", step.map(|it| it.name)),
    ];
    let pairs = pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    let pairs = pairs.map(|(key, value)| format!("{key}={}", in_percent(value)));
    pairs.collect::<Vec<_>>().join(",")
}

/// Per cent signs for all but what no reader takes for something else (RFC 3986's
/// unreserved characters).
fn in_percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use danube_model::spec::{Limits, Pipeline, Queueing, Shell, Step};
    use danube_model::{Attempt, JobId, Order, Task};

    use super::*;

    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn work() -> Work {
        let variables = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let step = Step {
            name: "only".to_owned(),
            run: "true".to_owned(),
            env: variables(&[("A", "step"), ("DANUBE_JOB_ID", "another")]),
            secrets: BTreeMap::new(),
            shell: None,
            timeout_seconds: None,
            continue_on_error: false,
            artifacts: Vec::new(),
            coordinates: false,
        };
        let pipeline = Pipeline {
            name: "p".to_owned(),
            repository: None,
            git_ref: None,
            max_duration_seconds: 1,
            parameters: None,
            env: variables(&[
                ("A", "pipeline"),
                ("B", "pipeline"),
                ("LD_PRELOAD", "evil.so"),
                ("GIT_CONFIG_COUNT", "1"),
                ("PATH", "/evil"),
            ]),
            shell: Shell::Sh,
            retry_on_lost: true,
            limits: Limits::default(),
            secrets: std::collections::BTreeSet::new(),
            queueing: Queueing::default(),
            steps: vec![step],
        };
        Work {
            attempt: Attempt {
                job: JobId::new(),
                fence: 1,
                number: 1,
            },
            order: Order {
                task: Task::Pipeline(pipeline),
                git_ref: None,
                parameters: variables(&[("LEVEL", "2")]),
                masks: Vec::new(),
                trace: danube_model::Trace::default(),
                forge: None,
            },
            traceparent: String::new(),
            queued_at: danube_model::Timestamp::from_millis(0),
            log_base: 0,
            token: None,
        }
    }

    fn pipeline(work: &Work) -> &Pipeline {
        work.order.task.pipeline().expect("it is one")
    }

    fn made(work: &Work, with_step: bool) -> BTreeMap<String, String> {
        made_for("", work, with_step)
    }

    /// For the only step, or for the clone.
    fn made_for(server: &str, work: &Work, with_step: bool) -> BTreeMap<String, String> {
        let (pipeline, step) = (pipeline(work), &pipeline(work).steps[0]);
        let step = StepOwn {
            name: &step.name,
            env: &[&pipeline.env, &step.env],
        };
        let around = Surroundings {
            work,
            path: "/bin",
            home: "/h",
            workspace: "/w",
            server,
            socket: None,
            token: "dnb_job_x",
            commit: None,
            context: TraceContext::parse(CONTEXT).expect("it is right"),
            tools: None,
        };
        environment(&around, with_step.then_some(&step))
            .into_iter()
            .collect()
    }

    #[test]
    fn a_clone_gets_nothing_from_the_pipeline_but_parameters() {
        let work = work();
        let made = made(&work, false);
        for name in ["A", "B", "LD_PRELOAD", "GIT_CONFIG_COUNT"] {
            assert_eq!(made.get(name), None, "{name}");
        }
        assert_eq!(made["PATH"], "/bin");
        assert_eq!(made["DANUBE_PARAM_LEVEL"], "2");
    }

    #[test]
    fn only_a_step_with_a_server_gets_a_token() {
        let work = work();
        let token = |made: BTreeMap<String, String>| {
            let otel = made.keys().filter(|it| it.starts_with("OTEL_")).count();
            assert!(otel == 0 || otel == 4 && made.contains_key("DANUBE_JOB_TOKEN"));
            made.get("DANUBE_JOB_TOKEN").cloned()
        };
        let server = "http://127.0.0.1:1";
        assert_eq!(
            token(made_for(server, &work, true)).as_deref(),
            Some("dnb_job_x")
        );
        assert_eq!(token(made_for(server, &work, false)), None, "the clone");
        assert_eq!(token(made(&work, true)), None, "no server");
    }

    #[test]
    fn what_speaks_open_telemetry_in_a_step_is_told_where_its_spans_belong() {
        let mut work = work();
        work.order.trace.state = Some("vendor=1".to_owned());
        work.order.trace.baggage = Some("tenant=a".to_owned());
        let mut renamed = pipeline(&work).clone();
        renamed.name = "a b,c=d/é".to_owned();
        work.order.task = Task::Pipeline(renamed);
        let made = made_for("http://h:1", &work, true);
        assert_eq!(made["TRACEPARENT"], CONTEXT);
        assert_eq!(
            (&*made["TRACESTATE"], &*made["BAGGAGE"]),
            ("vendor=1", "tenant=a")
        );
        assert_eq!(made["OTEL_EXPORTER_OTLP_ENDPOINT"], "http://h:1");
        assert_eq!(made["OTEL_EXPORTER_OTLP_PROTOCOL"], "http/protobuf");
        assert_eq!(
            made["OTEL_EXPORTER_OTLP_HEADERS"],
            "authorization=Bearer%20dnb_job_x"
        );
        let job = work.attempt.job;
        assert_eq!(
            made["OTEL_RESOURCE_ATTRIBUTES"],
            format!(
                "job.id={job},cicd.pipeline.name=a%20b%2Cc%3Dd%2F%C3%A9,\
                 cicd.pipeline.run.id={job},cicd.pipeline.task.name=only"
            )
        );
    }

    #[test]
    fn a_step_wins_over_its_pipeline_but_keeps_the_id_of_its_job() {
        let work = work();
        let made = made(&work, true);
        assert_eq!(
            (
                made["A"].as_str(),
                made["B"].as_str(),
                made["PATH"].as_str()
            ),
            ("step", "pipeline", "/evil")
        );
        assert_eq!(made["DANUBE_JOB_ID"], work.attempt.job.to_string());
    }
}
