//! The push to a collector, over both transports: what arrives, and what happens when
//! it doesn't.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use danube_telemetry::otlp::{
    self, Endpoint, Exporter, Options, Protocol, Record, RecordSource, Retry, Signal, Source, Told,
};
use danube_telemetry::{
    Closed, Counter, FamilyDecl, FloatGauge, Histogram, Open, Registry, Single, TraceContext,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

use tracing_subscriber::layer::SubscriberExt as _;

use crate::collector::{Answer, Collector, attribute, shown};

/// Long enough for whatever should happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Quick, so that a test sees the second try.
const RETRY: Retry = Retry {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(100),
    give_up: DEADLINE,
};

#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    fn wait_for(&self, what: &str) {
        let (lines, changed) = &*self.0;
        let lines = lines.lock().unwrap();
        let found = |it: &Vec<String>| it.iter().any(|it| it.contains(what));
        let (lines, _) = changed
            .wait_timeout_while(lines, DEADLINE, |it| !found(it))
            .unwrap();
        assert!(found(&lines), "{what} was not told: {lines:?}");
    }
}

/// An exporter of everything that is asked for, to this address.
pub(crate) struct Setting {
    pub(crate) options: Options,
    heard: Heard,
}

pub(crate) fn to(address: SocketAddr, protocol: Protocol) -> Setting {
    let heard = Heard::default();
    let tell = {
        let heard = heard.clone();
        Arc::new(move |it: &Told<'_>| {
            heard.0.0.lock().unwrap().push(format!("{it:?}"));
            heard.0.1.notify_all();
        })
    };
    let options = Options {
        endpoint: Endpoint {
            url: format!("http://{address}"),
            protocol,
            headers: vec![("X-Tenant".into(), "acme".into())],
        },
        source: Source {
            resource: vec![("service.name".into(), "danube".into())],
            scope: "danube",
            version: "1.2.3",
        },
        metrics: None,
        lines: false,
        records: false,
        spans: false,
        redact: None,
        retry: RETRY,
        tell,
    };
    Setting { options, heard }
}

pub(crate) fn start(setting: Setting) -> (Exporter, Heard) {
    (otlp::start(setting.options).unwrap(), setting.heard)
}

/// The same over both transports.
fn each(run: impl Fn(Collector, Protocol)) {
    run(Collector::grpc(), Protocol::Grpc);
    run(Collector::http(), Protocol::HttpProtobuf);
}

fn line(event: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-11-21T10:11:12.345Z","level":"info","logger":"danube.api","event":"{event}","user":"eve"}}"#
    )
}

fn tell(exporter: &Exporter, event: &str) {
    exporter.line_tap().unwrap()(&line(event), tracing::Level::INFO);
}

fn events(sent: &crate::collector::Sent) -> Vec<String> {
    sent.records()
        .into_iter()
        .map(|it| it.1.event_name)
        .collect()
}

danube_telemetry::label_enum! {
    enum Outcome { Good = "good", Bad = "bad" }
}

static RUNS: FamilyDecl = FamilyDecl::counter("test.runs", "Runs.")
    .unit("{run}")
    .closed::<Outcome>("test.outcome");
static TIMES: FamilyDecl =
    FamilyDecl::histogram("test.time", "Times.", &[0.5, 2.0]).bounded("cicd.pipeline.name");
static LOAD: FamilyDecl = FamilyDecl::gauge("test.load", "Load.").unit("1");

#[test]
fn metrics_arrive_with_names_units_and_keys_of_opentelemetry() {
    each(|collector, protocol| {
        let registry = Registry::new();
        let runs: Closed<Outcome, Counter> = registry.add(&RUNS);
        let times: Open<1, (), Histogram> = registry.add(&TIMES);
        let load: Single<FloatGauge> = registry.add(&LOAD);
        runs.at(Outcome::Bad).add(3);
        load.set(0.25);
        let cell = times.with(["a \"b\""]);
        for time in [0.25, 1.0, 1.0, 9.0] {
            cell.observe(time);
        }

        let mut setting = to(collector.address(), protocol);
        setting.options.metrics = Some((registry, Duration::from_secs(1)));
        let (exporter, heard) = start(setting);
        collector.wait_for("a push", |it| (!it.metrics.is_empty()).then_some(()));
        assert!(exporter.finish(DEADLINE));

        let sent = collector.sent();
        assert!(sent.headers.contains(&("x-tenant".into(), "acme".into())));
        let resource = &sent.metrics[0].resource_metrics[0];
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        assert_eq!(attribute(attributes, "service.name"), "danube");
        let scope = resource.scope_metrics[0].scope.clone().unwrap();
        assert_eq!((&*scope.name, &*scope.version), ("danube", "1.2.3"));

        let runs = sent.metric("test.runs").pop().unwrap();
        assert_eq!((&*runs.unit, &*runs.description), ("{run}", "Runs."));
        let Some(Data::Sum(sum)) = runs.data else {
            panic!("a counter is a sum")
        };
        assert_eq!((sum.is_monotonic, sum.aggregation_temporality), (true, 2));
        let points: BTreeMap<_, _> = sum
            .data_points
            .iter()
            .map(|it| (attribute(&it.attributes, "test.outcome"), it.value))
            .collect();
        assert_eq!(points["bad"], Some(Value::AsInt(3)));
        assert_eq!(points["good"], Some(Value::AsInt(0)));
        for point in &sum.data_points {
            assert!(point.start_time_unix_nano > 0);
            assert!(point.time_unix_nano >= point.start_time_unix_nano);
        }

        let load = sent.metric("test.load").pop().unwrap();
        let Some(Data::Gauge(load)) = load.data else {
            panic!("a gauge is a gauge")
        };
        assert_eq!(load.data_points[0].value, Some(Value::AsDouble(0.25)));

        let times = sent.metric("test.time").pop().unwrap();
        assert_eq!(times.unit, "s");
        let Some(Data::Histogram(times)) = times.data else {
            panic!("a histogram is a histogram")
        };
        let point = &times.data_points[0];
        assert_eq!(times.aggregation_temporality, 2);
        assert_eq!(
            attribute(&point.attributes, "cicd.pipeline.name"),
            "a \"b\""
        );
        assert_eq!(point.explicit_bounds, [0.5, 2.0]);
        assert_eq!(point.bucket_counts, [1, 2, 1]);
        assert_eq!((point.count, point.sum), (4, Some(11.25)));
        assert!(point.exemplars.is_empty());
        assert_eq!(heard.all(), Vec::<String>::new());
    });
}

#[test]
fn an_exemplar_says_in_which_trace_it_was_seen() {
    let collector = Collector::grpc();
    let registry = Registry::new();
    let times: Open<1, (), Histogram> = registry.add(&TIMES);
    let trace = TraceContext::random();
    times.with(["a"]).observe_in(1.5, Some(&trace));
    let mut setting = to(collector.address(), Protocol::Grpc);
    setting.options.metrics = Some((registry, Duration::from_secs(1)));
    let (exporter, _) = start(setting);
    let metric = collector.wait_for("a push", |it| it.metric("test.time").pop());
    assert!(exporter.finish(DEADLINE));
    let Some(Data::Histogram(times)) = metric.data else {
        panic!("a histogram is a histogram")
    };
    let [exemplar] = &times.data_points[0].exemplars[..] else {
        panic!("one bucket has one")
    };
    assert_eq!(exemplar.trace_id, trace.trace_id);
    assert_eq!(exemplar.span_id, trace.span_id);
    assert!(exemplar.time_unix_nano > 0);
}

static MANY: FamilyDecl = FamilyDecl::counter("test.many", "Many.")
    .series_max(12_000)
    .bounded("name");

#[test]
fn many_series_travel_in_messages_that_a_collector_takes_by_default() {
    const SERIES: usize = 12_000;
    let registry = Registry::new();
    let many: Open<1, (), Counter> = registry.add(&MANY);
    for name in 0..SERIES {
        many.with([&format!("a name that is as long as names are {name}")])
            .inc();
    }
    each(|collector, protocol| {
        let registry = registry.clone();
        let mut setting = to(collector.address(), protocol);
        setting.options.metrics = Some((registry, Duration::from_secs(30)));
        let (exporter, heard) = start(setting);
        // The last push, which nobody has to wait an interval for.
        assert!(exporter.finish(DEADLINE));
        let sizes: Vec<usize> = collector
            .sent()
            .metric("test.many")
            .into_iter()
            .map(|it| match it.data {
                Some(Data::Sum(it)) => it.data_points.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(sizes.iter().sum::<usize>() % SERIES, 0, "{sizes:?}");
        assert!(sizes.len() >= 2 && sizes.iter().all(|it| *it <= 10_000));
        assert_eq!(heard.all(), Vec::<String>::new());
    });
}

#[test]
fn lines_arrive_as_records_and_the_last_ones_with_the_end() {
    each(|collector, protocol| {
        let mut setting = to(collector.address(), protocol);
        setting.options.lines = true;
        let (exporter, heard) = start(setting);
        tell(&exporter, "first");
        collector.wait_for("a line", |it| (!it.logs.is_empty()).then_some(()));
        tell(&exporter, "last");
        assert!(exporter.finish(DEADLINE));
        let records = collector.sent().records();
        let told: Vec<_> = records
            .iter()
            .map(|(scope, it)| (scope.as_str(), it.event_name.as_str()))
            .collect();
        assert_eq!(told, [("danube.api", "first"), ("danube.api", "last")]);
        assert_eq!(attribute(&records[0].1.attributes, "user"), "eve");
        assert_eq!(heard.all(), Vec::<String>::new());
    });
}

#[test]
fn records_of_other_logs_keep_their_trace_and_attributes() {
    let collector = Collector::grpc();
    let mut setting = to(collector.address(), Protocol::Grpc);
    setting.options.records = true;
    let (exporter, _) = start(setting);
    let context = TraceContext::random();
    let source = Arc::new(RecordSource {
        scope: "danube.job",
        context,
        attributes: vec![("job.id".into(), "j1".into())],
    });
    let record = Record {
        source,
        time_unix_nanos: 5,
        body: "hello".into(),
        attributes: vec![("danube.log.offset".into(), 7.into())],
    };
    exporter.records().unwrap().push(record).unwrap();
    assert!(exporter.finish(DEADLINE));
    let (scope, record) = collector.sent().records().pop().unwrap();
    assert_eq!(scope, "danube.job");
    assert_eq!(shown(&record.body.unwrap()), "hello");
    assert_eq!(attribute(&record.attributes, "job.id"), "j1");
    assert_eq!(attribute(&record.attributes, "danube.log.offset"), "7");
    assert_eq!(record.trace_id, context.trace_id);
    assert_eq!(record.span_id, context.span_id);
    assert_eq!(record.flags, 1);
}

#[test]
fn spans_arrive_under_the_ids_they_were_given_redacted_and_only_if_wanted() {
    let collector = Collector::grpc();
    let mut setting = to(collector.address(), Protocol::Grpc);
    setting.options.spans = true;
    setting.options.redact = Some(Box::new(|_, text| text.replace("s3cret", "***").into()));
    let (exporter, _) = start(setting);
    let subscriber = tracing_subscriber::registry().with(exporter.span_layer().unwrap());
    let context = TraceContext::random();
    let span = |name: &str, sampled: bool| {
        tracing::info_span!(
            "any",
            trace_id = context.trace_hex(),
            span_id = context.span_hex(),
            parent_span_id = "00f067aa0ba902b7",
            sampled,
            request_id = "r",
            "otel.kind" = "server",
            "otel.name" = name,
            text = "a s3cret",
            long = format!("{}s3cret", "x".repeat(4_093)),
            number = 7_u64,
            late = tracing::field::Empty,
            "error.type" = tracing::field::Empty,
            "otel.status_code" = tracing::field::Empty,
        )
    };
    tracing::subscriber::with_default(subscriber, || {
        let wanted = span("GET /x", true);
        wanted.record("late", false);
        wanted.record("late", true);
        wanted.record("error.type", "database");
        wanted.record("error.type", "503");
        wanted.record("otel.status_code", "ERROR");
        drop(wanted);
        drop(span("unwanted", false));
        drop(tracing::info_span!("plain", trace_id = context.trace_hex()));
    });
    assert!(exporter.finish(DEADLINE));
    let sent = collector.sent().spans();
    let [span] = &sent[..] else {
        panic!("one span: {sent:?}")
    };
    assert_eq!(span.name, "GET /x");
    assert_eq!(span.trace_id, context.trace_id);
    assert_eq!(span.span_id, context.span_id);
    assert_eq!(span.parent_span_id[..2], [0x00, 0xf0]);
    // Sampled, and the parent is another process's.
    assert_eq!((span.kind, span.flags), (2, 0x301));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let attributes: Vec<String> = span
        .attributes
        .iter()
        .map(|it| format!("{}={}", it.key, shown(it.value.as_ref().unwrap())))
        .collect();
    // What is too long is cut, but no secret in halves.
    let long = format!("long={}***", "x".repeat(4_093));
    let rest = ["number=7", "late=true", "error.type=database"];
    assert_eq!(attributes, [&["text=a ***", &long], &rest[..]].concat());
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
}

#[test]
fn spans_that_find_no_room_are_counted() {
    let collector = Collector::grpc();
    collector.answer(Answer::Never);
    let mut setting = to(collector.address(), Protocol::Grpc);
    setting.options.spans = true;
    let (exporter, _) = start(setting);
    let subscriber = tracing_subscriber::registry().with(exporter.span_layer().unwrap());
    let context = TraceContext::random();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..20_000 {
            drop(tracing::info_span!(
                "any",
                trace_id = context.trace_hex(),
                span_id = context.span_hex(),
                "otel.kind" = "internal",
            ));
        }
    });
    assert_eq!(exporter.lost().of(Signal::Span), 20_000 - 16_384);
}

#[test]
fn what_a_collector_that_was_away_missed_comes_when_it_is_back() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let open = |address| match protocol {
            Protocol::Grpc => Collector::grpc_at(address),
            Protocol::HttpProtobuf => Collector::http_at(address),
        };
        let first = open("127.0.0.1:0".parse().unwrap());
        let address = first.address();
        let mut setting = to(address, protocol);
        setting.options.lines = true;
        let (exporter, heard) = start(setting);
        tell(&exporter, "before");
        first.wait_for("a line", |it| events(it).pop());
        drop(first);
        tell(&exporter, "meanwhile");
        heard.wait_for("Failed");
        let second = open(address);
        assert_eq!(
            second.wait_for("a line", |it| events(it).pop()),
            "meanwhile"
        );
        heard.wait_for("Recovered");
        assert_eq!(exporter.lost().of(Signal::Log), 0, "{:?}", heard.all());
        assert!(exporter.finish(DEADLINE));
    }
}

#[test]
fn what_a_busy_collector_refuses_is_sent_again() {
    for waits in [false, true] {
        each(|collector, protocol| {
            collector.answer(Answer::Unavailable { waits });
            let mut setting = to(collector.address(), protocol);
            setting.options.lines = true;
            let (exporter, heard) = start(setting);
            tell(&exporter, "late");
            heard.wait_for("too busy");
            collector.answer(Answer::Ok);
            assert_eq!(collector.wait_for("a line", |it| events(it).pop()), "late");
            assert_eq!(exporter.lost().of(Signal::Log), 0);
            assert!(exporter.finish(DEADLINE));
        });
    }
}

#[test]
fn what_a_collector_will_never_take_is_lost_once_and_the_next_goes_on() {
    for answer in [Answer::Invalid, Answer::TooLarge] {
        each(|collector, protocol| {
            collector.answer(answer);
            let mut setting = to(collector.address(), protocol);
            setting.options.lines = true;
            let (exporter, heard) = start(setting);
            tell(&exporter, "bad");
            heard.wait_for("Failed");
            assert_eq!(exporter.lost().of(Signal::Log), 1);
            assert_eq!(collector.sent().requests, 1);
            collector.answer(Answer::Ok);
            tell(&exporter, "good");
            assert_eq!(collector.wait_for("a line", |it| events(it).pop()), "good");
            heard.wait_for("Recovered");
            assert!(exporter.finish(DEADLINE));
        });
    }
}

#[test]
fn what_finds_no_room_behind_a_slow_collector_is_told_though_it_takes_everything() {
    each(|collector, protocol| {
        collector.answer(Answer::Held);
        let mut setting = to(collector.address(), protocol);
        setting.options.lines = true;
        let (exporter, heard) = start(setting);
        tell(&exporter, "first");
        collector.wait_for("a line", |it| events(it).pop());
        for _ in 0..17_000 {
            tell(&exporter, "flood");
        }
        let lost = exporter.lost().of(Signal::Log);
        assert!(lost > 0);
        collector.answer(Answer::Ok);
        let told = format!(
            "Failed {{ signal: Log, error: \"there was more to send than the collector took \
             in time\", dropped: {lost} }}"
        );
        heard.wait_for(&told);
        assert!(exporter.finish(DEADLINE));
        assert_eq!(heard.all(), [told]);
    });
}

#[test]
fn records_whose_log_waits_are_sent_again_where_a_line_is_given_up() {
    each(|collector, protocol| {
        collector.answer(Answer::Unavailable { waits: false });
        let mut setting = to(collector.address(), protocol);
        setting.options.lines = true;
        setting.options.records = true;
        setting.options.retry.give_up = Duration::ZERO;
        let (exporter, heard) = start(setting);
        tell(&exporter, "a line");
        heard.wait_for("Failed");
        assert_eq!(exporter.lost().of(Signal::Log), 1);
        let source = Arc::new(RecordSource {
            scope: "danube.job",
            context: TraceContext::random(),
            attributes: Vec::new(),
        });
        let record = Record {
            source,
            time_unix_nanos: 5,
            body: "a record".into(),
            attributes: Vec::new(),
        };
        exporter.records().unwrap().push(record).unwrap();
        // The first was the line's.
        collector.wait_for("tries", |it| (it.requests >= 4).then_some(()));
        collector.answer(Answer::Ok);
        let taken = collector.wait_for("the record", |it| it.records().pop());
        assert_eq!(shown(&taken.1.body.unwrap()), "a record");
        assert!(exporter.finish(DEADLINE));
    });
}

#[test]
fn items_that_a_collector_left_out_count_as_lost() {
    each(|collector, protocol| {
        collector.answer(Answer::Partly(2));
        let registry = Registry::new();
        let _runs: Closed<Outcome, Counter> = registry.add(&RUNS);
        let mut setting = to(collector.address(), protocol);
        setting.options.lines = true;
        setting.options.metrics = Some((registry, Duration::from_secs(30)));
        let (exporter, heard) = start(setting);
        tell(&exporter, "one");
        heard.wait_for("the collector took a part: some are bad");
        let lost = exporter.lost();
        assert!(exporter.finish(DEADLINE));
        assert_eq!(lost.of(Signal::Log), 2);
        assert!(lost.of(Signal::Metric) >= 2);
    });
}

#[test]
fn a_collector_that_never_answers_costs_a_bounded_buffer_and_no_caller_waits() {
    each(|collector, protocol| {
        collector.answer(Answer::Never);
        let mut setting = to(collector.address(), protocol);
        setting.options.lines = true;
        let (exporter, _) = start(setting);
        let tap = exporter.line_tap().unwrap();
        let line = line("flood");
        // Without a bound this would take some 20 MB; with it, 4 MiB at most.
        for _ in 0..150_000 {
            tap(&line, tracing::Level::INFO);
        }
        let lost = exporter.lost();
        let before = lost.of(Signal::Log);
        assert!(before > 130_000, "{before}");
        // Errors have room of their own.
        tap(&line, tracing::Level::ERROR);
        assert_eq!(lost.of(Signal::Log), before);
        let since = Instant::now();
        assert!(!exporter.finish(Duration::from_millis(200)));
        assert!(since.elapsed() < DEADLINE);
    });
}

#[test]
fn an_address_or_header_that_cannot_be_used_is_said_and_a_value_is_not() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let mut setting = to("127.0.0.1:1".parse().unwrap(), protocol);
        setting.options.endpoint.headers = vec![("X-Key".into(), "s3cret\nvalue".into())];
        let shown = format!("{:?}", setting.options.endpoint);
        let error = otlp::start(setting.options).err().unwrap().to_string();
        assert_eq!(error, "use the header X-Key: it can't be sent as it is");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
