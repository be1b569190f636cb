//! Pushes what there is to tell to an OpenTelemetry collector: metrics, the server's
//! log, other logs and spans, over gRPC or HTTP.
//!
//! ```text
//! registry ── every interval ──▶ metrics.rs ─┐
//! log lines ──▶ queue ──▶ logs.rs ───────────┤ each on a thread      ┌▶ grpc.rs
//! records  ──▶ queue ──▶ logs.rs ────────────┼──▶ courier.rs ────────┤
//! spans    ──▶ queue ──▶ spans.rs ───────────┘ (tries again, counts) └▶ http.rs
//! ```
//!
//! Whoever tells something never waits: queues are bounded, and what finds no room
//! is counted. A collector that is away, slow or refuses costs a bounded amount of
//! memory and one warning a minute (`account.rs`).

mod account;
mod courier;
mod grpc;
mod http;
mod logs;
mod metrics;
mod queue;
mod spans;
mod transport;
mod value;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use crate::log::{Redact, Tap};
use crate::metric::Registry;
use crate::tasks::{self, Task};

pub use account::{Signal, Tell, Told};
pub use courier::Retry;
pub use logs::{Record, RecordSource};
pub(crate) use metrics::nanos;
pub use spans::SpanLayer;
pub(crate) use value::pair;
pub use value::{Attribute, Source, Value};

use account::{Account, Stream};
use courier::{Courier, Office, Stop};
use queue::{Bounds, LINGER, Queue};
use spans::{Origin, Outgoing};
use transport::{Service, Transport};

/// Time between two pushes of the metrics where nothing is said.
pub const METRICS_EVERY: Duration = Duration::from_secs(60);

const MIB: usize = 1024 * 1024;

/// The server's log: some seconds of the busiest one, and all the memory that a
/// collector which is away can cost. The reserve is for errors.
const LINES: Bounds = Bounds {
    items: 16_384,
    bytes: 4 * MIB,
    reserve_items: 1_024,
    reserve_bytes: MIB / 4,
    batch_items: 1_000,
    batch_bytes: MIB / 2,
};

/// Other logs. Whoever hands them over can wait, so this only has to be enough for
/// full messages.
const RECORDS: Bounds = Bounds {
    items: 8_192,
    bytes: 4 * MIB,
    reserve_items: 0,
    reserve_bytes: 0,
    batch_items: 1_000,
    batch_bytes: MIB,
};

/// Spans: some seconds of the busiest server.
const SPANS: Bounds = Bounds {
    items: 16_384,
    bytes: 16 * MIB,
    reserve_items: 0,
    reserve_bytes: 0,
    batch_items: 1_000,
    batch_bytes: MIB,
};

/// Beside its text, what a waiting line takes.
const LINE_OVERHEAD_BYTES: usize = 32;

/// How a message is put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, by convention on port 4317.
    Grpc,
    /// HTTP with protobuf bodies, by convention on port 4318.
    HttpProtobuf,
}

/// A collector.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://…` or `https://…`; over HTTP `/v1/metrics` and so on are appended.
    pub url: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Names and values of headers for each request; values may be secrets.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("protocol", &self.protocol)
            .field("headers", &names)
            .finish()
    }
}

/// What is exported, and where to.
pub struct Options {
    /// The collector.
    pub endpoint: Endpoint,
    /// Who sends.
    pub source: Source,
    /// The metrics and how often they are pushed.
    pub metrics: Option<(Registry, Duration)>,
    /// The server's log.
    pub lines: bool,
    /// Other logs.
    pub records: bool,
    /// Spans that say so, see [`SpanLayer`].
    pub spans: bool,
    /// Takes secrets out of what spans say; lines and records come without.
    pub redact: Option<Box<Redact>>,
    /// How what failed is sent again.
    pub retry: Retry,
    /// Hears what there is to say.
    pub tell: Tell,
}

/// Why the exporter can't start.
#[derive(Debug)]
pub enum StartError {
    /// The address can't be used.
    Endpoint(String),
    /// This header can't be sent; the value isn't shown.
    Header(String),
    /// The system refused a thread or what a thread needs.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(why) => write!(f, "use the collector's address: {why}"),
            Self::Header(name) => write!(f, "use the header {name}: it can't be sent as it is"),
            Self::System(error) => write!(f, "start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running exporter; ask it to end with [`Exporter::finish`].
pub struct Exporter {
    account: Arc<Account>,
    stop: Arc<Stop>,
    lines: Option<Arc<Queue<Box<str>>>>,
    records: Option<Arc<Queue<Record>>>,
    spans: Option<Arc<Queue<Outgoing>>>,
    /// Hears from each thread that it has ended, by the end of the channel.
    ended: Receiver<()>,
}

/// Takes records of other logs.
#[derive(Clone)]
pub struct Records {
    queue: Arc<Queue<Record>>,
    account: Arc<Account>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}

impl Records {
    /// Hands one over; it comes back when there is no room now. Never waits.
    ///
    /// # Errors
    /// The record itself.
    pub fn push(&self, record: Record) -> Result<(), Box<Record>> {
        let mut record = Some(record);
        let bytes = record.as_ref().map_or(0, Record::bytes);
        let make = || record.take().expect("it is taken once");
        if self.queue.push(bytes, false, make) {
            return Ok(());
        }
        Err(Box::new(record.expect("it was not taken")))
    }

    /// Counts records that nobody will hand over any more.
    pub fn lose(&self, records: u64) {
        self.account.lose(Signal::Log, records);
    }
}

/// Takes spans that are whole and without secrets.
#[derive(Clone)]
pub struct Spans {
    queue: Arc<Queue<Outgoing>>,
    account: Arc<Account>,
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spans")
    }
}

impl Spans {
    /// Hands over spans of this process. Never waits; what finds no room is counted.
    pub fn push_own<'a>(&self, spans: impl IntoIterator<Item = &'a Span>) {
        self.push(spans, &Arc::new(None), 0);
    }

    /// Hands over spans of others, with where they come from: of its attributes as many as
    /// there is room for in a message beside its spans.
    pub fn push_others(&self, all: Vec<ResourceSpans>) {
        for it in all {
            for scope in it.scope_spans {
                let (origin, bytes) = spans::origin(it.resource.clone(), scope.scope);
                self.push(&scope.spans, &Arc::new(origin), bytes);
            }
        }
    }

    /// The first one that finds room takes it for where they come from too.
    fn push<'a>(
        &self,
        all: impl IntoIterator<Item = &'a Span>,
        origin: &Arc<Origin>,
        mut shared: usize,
    ) {
        for span in all {
            let span = span.encode_to_vec().into_boxed_slice();
            let bytes = size_of::<Outgoing>() + span.len() + shared;
            let outgoing = || Outgoing::Made(span, Arc::clone(origin));
            if self.queue.push(bytes, false, outgoing) {
                shared = 0;
            } else {
                self.account.lose(Signal::Span, 1);
            }
        }
    }
}

/// How much was lost so far. Cloning it is cheap.
#[derive(Clone)]
pub struct Lost(Arc<Account>);

impl Lost {
    /// Items of a signal.
    pub fn of(&self, signal: Signal) -> u64 {
        self.0.lost(signal)
    }
}

/// The messages of one push of the metrics, as they are sent but for compression: to
/// measure what a push costs.
pub fn encode_metrics(registry: &Registry, source: &Source) -> Vec<Bytes> {
    let chunks = metrics::encode(registry, source, SystemTime::now(), metrics::POINTS_MAX);
    chunks.into_iter().map(|it| it.body).collect()
}

/// Starts the threads; nothing is connected yet.
///
/// # Errors
/// When the address or a header can't be used, or the system gives no thread.
pub fn start(options: Options) -> Result<Exporter, StartError> {
    let Options {
        endpoint,
        source,
        metrics,
        lines,
        records,
        spans,
        redact,
        retry,
        tell,
    } = options;
    let agent = format!("{}/{}", source.scope, source.version);
    let source = Arc::new(source);
    let (alive, ended) = sync_channel(0);
    let office = Office {
        transport: Arc::new(Transport::new(&endpoint, &agent)?),
        account: Arc::new(Account::new(tell)),
        stop: Arc::default(),
        retry,
    };
    let mut exporter = Exporter {
        account: Arc::clone(&office.account),
        stop: Arc::clone(&office.stop),
        lines: None,
        records: None,
        spans: None,
        ended,
    };
    let courier = |service, signal, bit| Courier {
        office: office.clone(),
        service,
        stream: Stream { signal, bit },
    };
    if let Some((registry, interval)) = metrics {
        let courier = courier(Service::Metrics, Signal::Metric, 1);
        let source = Arc::clone(&source);
        let push = move |task: &Task| metrics::push(task, &courier, &registry, &source, interval);
        spawn("otlp-metrics", alive.clone(), push)?;
    }
    if lines {
        let queue = Arc::new(Queue::new(LINES, LINGER));
        exporter.lines = Some(Arc::clone(&queue));
        let courier = courier(Service::Logs, Signal::Log, 2);
        let source = Arc::clone(&source);
        let encode = move |lines: &[Box<str>]| logs::encode_lines(lines, &source, now());
        spawn("otlp-log", alive.clone(), move |task| {
            pump(task, &queue, &courier, Some(retry.give_up), encode);
        })?;
    }
    if records {
        let queue = Arc::new(Queue::new(RECORDS, LINGER));
        exporter.records = Some(Arc::clone(&queue));
        let courier = courier(Service::Logs, Signal::Log, 4);
        let source = Arc::clone(&source);
        let encode = move |records: &[Record]| logs::encode_records(records, &source, now());
        spawn("otlp-records", alive.clone(), move |task| {
            // Their files wait: to give one up would only make room for the next.
            pump(task, &queue, &courier, None, encode);
        })?;
    }
    if spans {
        let queue = Arc::new(Queue::new(SPANS, LINGER));
        exporter.spans = Some(Arc::clone(&queue));
        let courier = courier(Service::Traces, Signal::Span, 8);
        let encode = move |spans: &[Outgoing]| spans::encode(spans, &source, redact.as_deref());
        spawn("otlp-spans", alive, move |task| {
            pump(task, &queue, &courier, Some(retry.give_up), encode);
        })?;
    }
    Ok(exporter)
}

fn now() -> u64 {
    metrics::nanos(SystemTime::now())
}

fn spawn(
    name: &'static str,
    alive: SyncSender<()>,
    work: impl FnOnce(&Task) + Send + 'static,
) -> Result<(), StartError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread
        .spawn(move || {
            work(&tasks::thread(name));
            drop(alive);
        })
        .map(drop)
        .map_err(StartError::System)
}

/// Sends what comes through a queue until it is closed and empty. A message is given up
/// after `give_up`, if that is set.
fn pump<T>(
    task: &Task,
    queue: &Queue<T>,
    courier: &Courier,
    give_up: Option<Duration>,
    encode: impl Fn(&[T]) -> Bytes,
) {
    while let Some(batch) = queue.take() {
        task.beat();
        let body = encode(&batch.items);
        let give_up = give_up.map(|it| Instant::now() + it);
        courier.deliver(&body, batch.items.len() as u64, give_up);
        queue.done(&batch);
        task.rest();
    }
}

impl Exporter {
    /// Where the server's log goes, if it is exported.
    pub fn line_tap(&self) -> Option<Tap> {
        let queue = Arc::clone(self.lines.as_ref()?);
        let account = Arc::clone(&self.account);
        Some(Arc::new(move |line, level| {
            if !logs::may_be_exported(line) {
                return;
            }
            let urgent = level == tracing::Level::ERROR;
            let bytes = line.len() + LINE_OVERHEAD_BYTES;
            if !queue.push(bytes, urgent, || line.into()) {
                account.lose(Signal::Log, 1);
            }
        }))
    }

    /// Where other logs go, if they are exported.
    pub fn records(&self) -> Option<Records> {
        Some(Records {
            queue: Arc::clone(self.records.as_ref()?),
            account: Arc::clone(&self.account),
        })
    }

    /// Where spans go that are whole, if they are exported.
    pub fn spans(&self) -> Option<Spans> {
        Some(Spans {
            queue: Arc::clone(self.spans.as_ref()?),
            account: Arc::clone(&self.account),
        })
    }

    /// Records spans, if they are exported.
    pub fn span_layer(&self) -> Option<SpanLayer> {
        Some(SpanLayer {
            queue: Arc::clone(self.spans.as_ref()?),
            account: Arc::clone(&self.account),
        })
    }

    /// What was lost so far.
    pub fn lost(&self) -> Lost {
        Lost(Arc::clone(&self.account))
    }

    /// Sends what waits and the metrics once more, and ends; `false` when that took
    /// longer than `deadline`, after which nobody waits for it any more.
    pub fn finish(self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        self.stop.ask(until);
        if let Some(queue) = &self.lines {
            queue.close();
        }
        if let Some(queue) = &self.records {
            queue.close();
        }
        if let Some(queue) = &self.spans {
            queue.close();
        }
        // Nothing is ever sent: the channel ends with the last thread.
        let left = until.saturating_duration_since(Instant::now());
        let all = self.ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected);
        if !all {
            let left = |queue: Option<usize>| queue.unwrap_or(0) as u64;
            let lines = left(self.lines.as_ref().map(|it| it.items()));
            let records = left(self.records.as_ref().map(|it| it.items()));
            self.account.lose(Signal::Log, lines + records);
            let spans = left(self.spans.as_ref().map(|it| it.items()));
            self.account.lose(Signal::Span, spans);
        }
        self.account.ended();
        all
    }
}
