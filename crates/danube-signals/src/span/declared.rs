//! The spans that are made, for the reference page. Each is declared beside what makes it.

use super::{REQUEST, attempt, call, heal, playbook, submit, webhook};

/// A span that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanDecl {
    /// Its name; what differs stands in angle brackets.
    pub name: &'static str,
    /// Its kind, in the words of OpenTelemetry.
    pub kind: &'static str,
    /// Attributes that it may have, in the order in which they are set.
    pub attributes: &'static [&'static str],
    /// What its time is.
    pub about: &'static str,
}

/// All of them: of any request, of one that submits a job, of the job, of its webhook, of
/// healing.
pub fn spans() -> impl Iterator<Item = &'static SpanDecl> {
    let request = std::iter::once(&REQUEST);
    let job = attempt::SPANS.iter().chain(playbook::SPANS);
    request
        .chain(submit::SPANS)
        .chain(job)
        .chain(call::SPANS)
        .chain(webhook::SPANS)
        .chain(std::iter::once(&heal::SELF_HEAL))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use danube_telemetry::TraceContext;
    use danube_telemetry::trace::proto::{Span, SpanKind};

    use super::*;
    use crate::span::{
        AttemptTrace, JobSpans, PlayTrace, PlaybookTrace, ResultTrace, RunOutcome, RunStepTrace,
        Source, StepTrace, Stretch, SubmitTrace, TaskTrace, WebhookTrace,
    };

    const TIME: Stretch = Stretch { began: 1, ended: 2 };

    fn submitted(is_playbook: bool, enqueue: Option<Stretch>) -> Vec<Span> {
        let made = SubmitTrace {
            name: "POST /api/v1/jobs",
            job_id: "0190-a",
            context: TraceContext::random(),
            parent: None,
            time: TIME,
            auth: TIME,
            load: TIME,
            create: TIME,
            trigger: TIME,
            enqueue,
            is_playbook,
        };
        made.spans()
    }

    /// Everything that can be known of an attempt; one that goes on can't have ended.
    fn attempted(is_unfinished: bool, playbook: Option<PlaybookTrace>) -> Vec<Span> {
        let some = |text: &str| Some(text.to_owned());
        let names: &[&str] = match &playbook {
            Some(_) => &["fetch_source", "resolve_credentials", "run_playbook"],
            None => &["s"],
        };
        let steps = (0..).zip(names);
        let step = |(index, name): (u32, &&str)| StepTrace {
            index,
            name: (*name).to_owned(),
            time: TIME,
            process: Some(TIME),
            call: Some(TIME),
            is_unfinished,
            status: "failure",
            exit_code: Some(1),
            log: (Some(0), Some(1)),
        };
        let made = AttemptTrace {
            job_id: "0190-a".to_owned(),
            short_id: "a".to_owned(),
            context: TraceContext::random(),
            parent: None,
            follows: None,
            number: 1,
            queued: 0,
            time: TIME,
            pipeline: "p".to_owned(),
            source_type: "local".to_owned(),
            worker: "w".to_owned(),
            source: Source {
                repository: some("r"),
                git_ref: some("main"),
                revision: some("c"),
            },
            created: Some(TIME),
            removed: Some(TIME),
            steps: steps.map(step).collect(),
            end: RunOutcome {
                status: "failure",
                result: "failure",
                error_type: Some("step_failed"),
            },
            is_unfinished,
            reason: None,
            playbook,
        };
        made.spans()
    }

    fn delivered() -> Vec<Span> {
        let made = WebhookTrace {
            spans: JobSpans {
                job_id: "0190-a",
                context: TraceContext::random(),
            },
            parent: None,
            number: 2,
            url: "https://h/",
            host: "h",
            port: 443,
            status: Some(500),
            error_type: Some("500"),
            time: TIME,
        };
        vec![made.span()]
    }

    fn called() -> Vec<Span> {
        let made = RunStepTrace {
            spans: JobSpans {
                job_id: "0190-a",
                context: TraceContext::random(),
            },
            attempt: 1,
            step: 2,
            span_id: [1; 8],
            time: TIME,
            validate: TIME,
            secret: Some(TIME),
            process: TIME,
            stream: TIME,
        };
        made.spans()
    }

    fn played() -> PlaybookTrace {
        let task = TaskTrace {
            name: "t".to_owned(),
            path: Some("site.yml:3".to_owned()),
            time: TIME,
            hosts: 2,
            hosts_failed: 1,
            results: vec![ResultTrace {
                at: 1,
                host: "h".to_owned(),
                status: "failed",
            }],
        };
        PlaybookTrace {
            plays: vec![PlayTrace {
                name: "p".to_owned(),
                time: TIME,
                tasks: vec![task],
                tasks_left_out: 1,
            }],
            uploaded: Some(TIME),
        }
    }

    fn kind_of(span: &Span) -> &'static str {
        match SpanKind::try_from(span.kind) {
            Ok(SpanKind::Server) => "server",
            Ok(SpanKind::Client) => "client",
            Ok(SpanKind::Producer) => "producer",
            _ => "internal",
        }
    }

    /// Name, up to what differs, kind and attributes.
    type Shown = BTreeMap<(String, &'static str), BTreeSet<String>>;

    fn stem(name: &str) -> String {
        name.split('<')
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    }

    #[test]
    fn what_is_declared_is_what_is_made() {
        let declared: Shown = spans()
            .filter(|it| **it != REQUEST && **it != heal::SELF_HEAL)
            .map(|it| {
                let attributes = it.attributes.iter().map(|it| (*it).to_owned());
                ((stem(it.name), it.kind), attributes.collect())
            })
            .collect();
        let all = [
            submitted(false, None),
            submitted(true, None),
            submitted(true, Some(TIME)),
            attempted(false, None),
            attempted(true, None),
            attempted(false, Some(played())),
            attempted(true, Some(played())),
            delivered(),
            called(),
        ];
        let all = all.concat();
        let mut made = Shown::new();
        for span in all {
            let keys = span.attributes.iter().map(|it| it.key.clone());
            let name = match span.name.as_str() {
                "Job a" => "Job".to_owned(),
                "Execute step s" => "Execute step".to_owned(),
                "play p" => "play".to_owned(),
                "task t" => "task".to_owned(),
                other => other.to_owned(),
            };
            made.entry((name, kind_of(&span))).or_default().extend(keys);
        }
        assert_eq!(made, declared);
    }
}
