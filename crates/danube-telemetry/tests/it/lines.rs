//! What a line looks like, and which lines there are.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use danube_telemetry::log::{Filter, build};
use danube_telemetry::{LogFormat, LogOptions, Output, Recorder, TraceContext};
use tracing::{Level, debug, error, info, info_span, trace, warn};

/// Memory that stands for standard output.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn options(output: impl Write + Send + 'static) -> LogOptions {
    let output = Output::Writer(Box::new(output));
    LogOptions {
        output,
        ..LogOptions::new(&["danube"], "danube.telemetry")
    }
}

fn recorded(act: impl FnOnce()) -> Vec<String> {
    let recorder = Recorder::new();
    recorder.run(act);
    recorder.lines()
}

#[test]
fn keys_come_in_the_order_of_the_schema() {
    let context =
        TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let lines = recorded(|| {
        let span = info_span!(target: "danube.api", "request", request_id = "r-1",
            trace_id = %context.trace_hex(), span_id = %context.span_hex());
        let _in = span.enter();
        warn!(target: "danube.api", count = 3_u64, event = "thing_happened", share = 0.5, ok = true,
            none = Option::<u64>::None, r#type = "x", negative = -1, whole = 2.0, nan = f64::NAN, "for a person");
    });
    assert_eq!(
        lines,
        [concat!(
            r#"{"timestamp":"1970-01-01T00:00:00.000Z","level":"warning","logger":"danube.api","#,
            r#""event":"thing_happened","message":"for a person","#,
            r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","request_id":"r-1","#,
            r#""count":3,"share":0.5,"ok":true,"type":"x","negative":-1,"whole":2.0,"nan":null}"#
        )]
    );
}

#[test]
fn an_inner_span_wins_and_an_event_wins_over_both() {
    let lines = recorded(|| {
        let outer = info_span!(target: "danube.api", "outer", trace_id = "aa", span_id = "a1", request_id = "r");
        let _outer = outer.enter();
        let inner = info_span!(target: "danube.api", "inner", trace_id = "bb");
        let _inner = inner.enter();
        info!(target: "danube.api", event = "first");
        info!(target: "danube.api", event = "second", span_id = "b1");
        info!(target: "danube.api", event = "third", trace_id = "cc");
    });
    let ids = |line: &str| line.split_once(r#","trace_id"#).unwrap().1.to_owned();
    // The outer span's own id would be a lie about the trace `bb`.
    assert_eq!(ids(&lines[0]), r#"":"bb","request_id":"r"}"#);
    assert_eq!(ids(&lines[1]), r#"":"bb","span_id":"b1","request_id":"r"}"#);
    assert_eq!(ids(&lines[2]), r#"":"cc","request_id":"r"}"#);
}

#[test]
fn what_a_library_says_is_event_log_with_a_message() {
    let lines = recorded(|| {
        info!(target: "hyper::proto", "not worth a line");
        warn!(target: "hyper::proto", code = 7, "something {}", "odd");
    });
    assert_eq!(
        lines,
        [concat!(
            r#"{"timestamp":"1970-01-01T00:00:00.000Z","level":"warning","logger":"hyper::proto","#,
            r#""event":"log","message":"something odd","code":7}"#
        )]
    );
}

#[test]
fn a_value_can_not_forge_a_line_or_move_a_cursor() {
    let hostile = "a\"b\\\n{\"event\":\"x\"}\r\t\u{0}\u{1b}[2J\u{7f}\u{9b}\u{2028}é";
    let lines = recorded(|| {
        info!(target: "danube.api", event = "e", timestamp = "mine", value = hostile, debug = ?hostile);
    });
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].chars().all(|c| !c.is_control() && c != '\u{2028}'),
        "{}",
        lines[0]
    );
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(value["value"], hostile);
    assert_eq!(value["debug"], format!("{hostile:?}"));
    assert_eq!(value["field_timestamp"], "mine");
}

#[test]
fn a_huge_value_is_cut_and_says_so() {
    let lines = recorded(|| {
        info!(target: "danube.api", event = "e", value = %"é".repeat(100_000));
    });
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let value = value["value"].as_str().unwrap();
    assert!(
        value.len() < 17_000 && value.ends_with("é… (183616 bytes cut)"),
        "{}",
        value.len()
    );
}

#[test]
fn every_string_passes_the_redactor_with_the_name_of_its_field() {
    struct Leaky;
    impl fmt::Debug for Leaky {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Leaky { token: hunter22 }")
        }
    }
    let out = Memory::default();
    let mut options = options(out.clone());
    options.redact = Some(Box::new(|field, value| {
        if field != "user" && value.contains("hunter22") {
            Cow::Owned(value.replace("hunter22", "***"))
        } else {
            Cow::Borrowed(value)
        }
    }));
    let (subscriber, _handle, guard) = build(options).unwrap();
    let error = io::Error::other("bad hunter22");
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!(target: "danube.api", "s", request_id = "hunter22");
        let _in = span.enter();
        error!(target: "danube.api", event = "hunter22", text = "hunter22", debug = ?Leaky,
            display = %"hunter22", user = "hunter22", error = &error as &(dyn std::error::Error + 'static),
            "message {}", "hunter22");
    });
    assert!(guard.finish(Duration::from_secs(10)));
    let line = out.text();
    assert_eq!(line.matches("hunter22").count(), 1, "{line}");
    assert!(line.contains(r#""user":"hunter22""#), "{line}");
    assert_eq!(line.matches("***").count(), 7, "{line}");
}

#[test]
fn a_value_that_logs_while_it_is_written_spoils_neither_line() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info!(target: "danube.api", event = "inner");
            f.write_str("chatty")
        }
    }
    // `tracing` itself keeps an event within an event from reaching the layer, or not;
    // what comes out must be whole lines.
    let lines = recorded(|| info!(target: "danube.api", event = "outer", value = ?Chatty));
    for line in &lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(
        lines
            .last()
            .unwrap()
            .ends_with(r#""event":"outer","value":"chatty"}"#)
    );
}

#[test]
fn the_level_changes_while_running_and_spans_keep_their_ids_at_any_level() {
    let out = Memory::default();
    let mut options = options(out.clone());
    options.filter = Filter::parse("error").unwrap();
    let (subscriber, handle, guard) = build(options).unwrap();
    // One callsite for each round, so that a stale cache would show.
    let tell = |round: u64| {
        let span = info_span!(target: "danube.api", "s", request_id = "r");
        let _in = span.enter();
        error!(target: "danube.api", event = "error", round);
        debug!(target: "danube.api", event = "debug", round);
        trace!(target: "danube.store", event = "trace", round);
        info!(target: "hyper", round, "info");
    };
    tracing::subscriber::with_default(subscriber, || {
        tell(1);
        handle.set_filter("debug,danube.store=TRACE").unwrap();
        tell(2);
        assert!(handle.set_filter("loud").is_err());
        assert_eq!(handle.filter().to_string(), "debug,danube.store=trace");
        handle.set_filter("off,hyper=info").unwrap();
        tell(3);
    });
    assert!(guard.finish(Duration::from_secs(10)));
    let seen: Vec<String> = out
        .text()
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["request_id"], "r");
            format!("{} {} {}", line["round"], line["logger"], line["level"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        seen,
        [
            "1 danube.api error",
            "2 danube.api error",
            "2 danube.api debug",
            "2 danube.store trace",
            "3 hyper info"
        ]
    );
}

#[test]
fn text_is_for_a_person_and_has_no_colours_off_a_terminal() {
    let out = Memory::default();
    let mut options = options(out.clone());
    options.format = Some(LogFormat::Text);
    let (subscriber, _handle, guard) = build(options).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        warn!(target: "danube.api", event = "thing_happened", job_id = "7", name = "two words", n = 3,
            "careful\u{1b}[2J");
    });
    assert!(guard.finish(Duration::from_secs(10)));
    let line = out.text();
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(time.len(), "1970-01-01T00:00:00.000Z".len());
    assert_eq!(
        rest,
        "WARNING danube.api thing_happened: careful\\u{1b}[2J job_id=7 name=\"two words\" n=3\n"
    );
}

#[test]
fn the_tap_is_told_each_line_as_json_whatever_the_log_looks_like() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let out = Memory::default();
        let tapped = Arc::new(Mutex::new(Vec::new()));
        let mut options = options(out.clone());
        options.format = Some(format);
        options.redact = Some(Box::new(|_, value| {
            Cow::Owned(value.replace("hunter22", "***"))
        }));
        options.suspects = Some(Box::new(|line| line.contains("hunter22")));
        let tap = Arc::clone(&tapped);
        options.tap = Some(Arc::new(move |line, level| {
            tap.lock().unwrap().push((line.to_owned(), level));
        }));
        let (subscriber, _handle, guard) = build(options).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span = info_span!(target: "danube.api", "s", request_id = "r");
            let _in = span.enter();
            warn!(target: "danube.api", event = "first", n = 1, text = "a hunter22 b");
            info!(target: "danube.api", event = "second", "c\nd");
            debug!(target: "danube.api", event = "not wanted");
        });
        assert!(guard.finish(Duration::from_secs(10)));
        let tapped = tapped.lock().unwrap();
        let after_time: Vec<(&str, Level)> = tapped
            .iter()
            .map(|(line, level)| (line.split_once(',').unwrap().1, *level))
            .collect();
        assert_eq!(
            after_time,
            [
                (
                    concat!(
                        r#""level":"warning","logger":"danube.api","event":"first","request_id":"r","#,
                        r#""n":1,"text":"a *** b"}"#
                    ),
                    Level::WARN
                ),
                (
                    concat!(
                        r#""level":"info","logger":"danube.api","event":"second","message":"c\nd","#,
                        r#""request_id":"r"}"#
                    ),
                    Level::INFO
                ),
            ]
        );
        let lines: Vec<String> = out.text().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|it| !it.contains("hunter22")), "{lines:?}");
        assert_eq!(
            lines[0].starts_with('{'),
            format == LogFormat::Json,
            "{lines:?}"
        );
    }
}

#[test]
fn numbers_come_back_as_they_were() {
    let floats = [
        0.0,
        -0.0,
        0.1,
        1e-7,
        1.5e300,
        123_456_789.25,
        f64::MAX,
        f64::MIN_POSITIVE,
    ];
    let lines = recorded(|| {
        for value in floats {
            info!(target: "danube.api", event = "e", value);
        }
        info!(target: "danube.api", event = "e", a = u64::MAX, b = i64::MIN, c = u128::MAX);
    });
    for (value, line) in floats.iter().zip(&lines) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["value"].as_f64(), Some(*value), "{line}");
    }
    let all = format!(r#""a":{},"b":{},"c":{}}}"#, u64::MAX, i64::MIN, u128::MAX);
    assert!(lines[8].ends_with(&all), "{}", lines[8]);
}
