//! A collector in the test's own process: real gRPC (tonic's server with the generated
//! services) or plain HTTP, on loopback, that keeps what it is sent and answers as it
//! is told to.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// How long anything may take to come: far more than it does.
const DEADLINE: Duration = Duration::from_secs(60);

/// How the collector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It takes everything.
    Ok,
    /// UNAVAILABLE or 503, and whether it says to wait a second.
    Unavailable {
        /// Names a wait of a second.
        waits: bool,
    },
    /// INVALID_ARGUMENT or 400.
    Invalid,
    /// It takes all but this many items of each message.
    Partly(i64),
    /// RESOURCE_EXHAUSTED or 413 without a wait.
    TooLarge,
    /// It takes the connection and never says anything.
    Never,
    /// It takes everything, but says so only when it has another answer.
    Held,
}

/// What was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    pub(crate) logs: Vec<ExportLogsServiceRequest>,
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
    /// Requests, also those that were refused.
    pub(crate) requests: usize,
    /// Of the last request: its header lines, lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Sent {
    /// Every log record with the name of its scope.
    pub(crate) fn records(&self) -> Vec<(String, LogRecord)> {
        let scopes = self
            .logs
            .iter()
            .flat_map(|it| &it.resource_logs)
            .flat_map(|it| &it.scope_logs);
        scopes
            .flat_map(|scope| {
                let name = scope.scope.clone().unwrap_or_default().name;
                scope
                    .log_records
                    .iter()
                    .map(move |it| (name.clone(), it.clone()))
            })
            .collect()
    }

    /// Every span.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.traces.iter().flat_map(|it| &it.resource_spans);
        let scopes = resources.flat_map(|it| &it.scope_spans);
        scopes.flat_map(|it| it.spans.clone()).collect()
    }

    /// Every metric of that name, in the order in which they came.
    pub(crate) fn metric(&self, name: &str) -> Vec<Metric> {
        let resources = self.metrics.iter().flat_map(|it| &it.resource_metrics);
        let scopes = resources.flat_map(|it| &it.scope_metrics);
        scopes
            .flat_map(|it| &it.metrics)
            .filter(|it| it.name == name)
            .cloned()
            .collect()
    }
}

/// The text of an attribute, or the number as text; empty where there is none.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|it| it.key == key);
    found
        .and_then(|it| it.value.as_ref())
        .map(shown)
        .unwrap_or_default()
}

/// A value as text.
pub(crate) fn shown(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(it)) => it.clone(),
        Some(Value::IntValue(it)) => it.to_string(),
        Some(Value::DoubleValue(it)) => it.to_string(),
        Some(Value::BoolValue(it)) => it.to_string(),
        other => format!("{other:?}"),
    }
}

struct State {
    answer: Answer,
    sent: Sent,
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<State>, Condvar)>);

impl Shared {
    /// Also after a test has failed with it: a panic in `drop` would hide why.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request if it will be taken; tells how to answer it.
    fn arrived(&self, keep: impl FnOnce(&mut Sent), headers: Vec<(String, String)>) -> Answer {
        let mut state = self.lock();
        state.sent.requests += 1;
        state.sent.headers = headers;
        if matches!(state.answer, Answer::Ok | Answer::Partly(_) | Answer::Held) {
            keep(&mut state.sent);
        }
        let answer = state.answer;
        drop(state);
        self.0.1.notify_all();
        answer
    }

    /// Waits until answers aren't held any more.
    fn let_go(&self) {
        let state = self.lock();
        let held = |it: &mut State| it.answer == Answer::Held;
        let waited = self.0.1.wait_timeout_while(state, DEADLINE, held);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

enum Server {
    Grpc(Option<oneshot::Sender<()>>),
    Http(Arc<AtomicBool>),
}

/// A collector that runs until it is dropped.
pub(crate) struct Collector {
    shared: Shared,
    address: SocketAddr,
    server: Server,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// One that speaks gRPC, at any free port.
    pub(crate) fn grpc() -> Self {
        Self::grpc_at("127.0.0.1:0".parse().unwrap())
    }

    /// One that speaks gRPC, at this address.
    pub(crate) fn grpc_at(address: SocketAddr) -> Self {
        let listener = listen(address);
        let address = listener.local_addr().unwrap();
        let shared = shared();
        let (end, ended) = oneshot::channel();
        let services = Services(shared.clone());
        let thread = thread::spawn(move || serve_grpc(listener, services, ended));
        Self {
            shared,
            address,
            server: Server::Grpc(Some(end)),
            thread: Some(thread),
        }
    }

    /// One that speaks HTTP, at any free port.
    pub(crate) fn http() -> Self {
        Self::http_at("127.0.0.1:0".parse().unwrap())
    }

    /// One that speaks HTTP, at this address.
    pub(crate) fn http_at(address: SocketAddr) -> Self {
        let listener = listen(address);
        let address = listener.local_addr().unwrap();
        let shared = shared();
        let end = Arc::new(AtomicBool::new(false));
        let thread = {
            let (shared, end) = (shared.clone(), Arc::clone(&end));
            thread::spawn(move || serve_http(&listener, &shared, &end))
        };
        Self {
            shared,
            address,
            server: Server::Http(end),
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers like this from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        self.shared.lock().answer = answer;
        self.shared.0.1.notify_all();
    }

    /// What was sent and taken so far.
    pub(crate) fn sent(&self) -> Sent {
        self.shared.lock().sent.clone()
    }

    /// Waits until what was sent has what is looked for.
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Sent) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = look(&state.sent) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} didn't come within {DEADLINE:?}");
            state = self.shared.0.1.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Whoever waits for an answer that never comes is let go.
        self.answer(Answer::Invalid);
        match &mut self.server {
            Server::Grpc(end) => drop(end.take()),
            Server::Http(end) => {
                end.store(true, Ordering::SeqCst);
                // Wakes the thread that waits for a connection.
                let _ = TcpStream::connect(self.address);
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn shared() -> Shared {
    let state = State {
        answer: Answer::Ok,
        sent: Sent::default(),
    };
    Shared(Arc::new((Mutex::new(state), Condvar::new())))
}

/// The port of a collector that has gone may take a moment to be free.
fn listen(address: SocketAddr) -> TcpListener {
    let end = Instant::now() + DEADLINE;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                thread::yield_now();
            }
            Err(error) => panic!("listen on {address}: {error}"),
        }
    }
}

#[derive(Clone)]
struct Services(Shared);

fn serve_grpc(listener: TcpListener, services: Services, ended: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let gzip = CompressionEncoding::Gzip;
        let served = tonic::transport::Server::builder()
            .add_service(MetricsServiceServer::new(services.clone()).accept_compressed(gzip))
            .add_service(LogsServiceServer::new(services.clone()).accept_compressed(gzip))
            .add_service(TraceServiceServer::new(services).accept_compressed(gzip))
            .serve_with_incoming(incoming);
        // Connections are cut as well: the runtime ends with this function.
        tokio::select! {
            served = served => served.unwrap(),
            _ = ended => {}
        }
    });
    runtime.shutdown_background();
}

/// What is answered in place of "yes", or how many items weren't taken.
async fn verdict(answer: Answer, shared: &Shared) -> Result<i64, Status> {
    match answer {
        Answer::Ok => Ok(0),
        Answer::Held => {
            let shared = shared.clone();
            let held = tokio::task::spawn_blocking(move || shared.let_go());
            held.await
                .map_or_else(|error| Err(Status::internal(error.to_string())), |()| Ok(0))
        }
        Answer::Partly(rejected) => Ok(rejected),
        Answer::Unavailable { waits: false } => Err(Status::unavailable("too busy")),
        Answer::Unavailable { waits: true } => Err(Status::with_details(
            tonic::Code::Unavailable,
            "too busy",
            RETRY_IN_A_SECOND.into(),
        )),
        Answer::Invalid => Err(Status::invalid_argument("not like this")),
        Answer::TooLarge => Err(Status::resource_exhausted("too large")),
        Answer::Never => std::future::pending().await,
    }
}

/// `google.rpc.Status` with a `RetryInfo` of one second, as bytes.
const RETRY_IN_A_SECOND: &[u8] =
    b"\x1a\x30\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x04\x0a\x02\x08\x01";

const WHY: &str = "some are bad";

fn headers<T>(request: &Request<T>) -> Vec<(String, String)> {
    let all = request.metadata().as_ref().iter();
    all.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    })
    .collect()
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let headers = headers(&request);
        let message = request.into_inner();
        let answer = self.0.arrived(|it| it.metrics.push(message), headers);
        let rejected = verdict(answer, &self.0).await?;
        Ok(Response::new(metrics_answer(rejected)))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let headers = headers(&request);
        let message = request.into_inner();
        let answer = self.0.arrived(|it| it.logs.push(message), headers);
        let rejected = verdict(answer, &self.0).await?;
        Ok(Response::new(logs_answer(rejected)))
    }
}

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = headers(&request);
        let message = request.into_inner();
        let answer = self.0.arrived(|it| it.traces.push(message), headers);
        let rejected = verdict(answer, &self.0).await?;
        Ok(Response::new(traces_answer(rejected)))
    }
}

fn metrics_answer(rejected: i64) -> ExportMetricsServiceResponse {
    let partial_success = (rejected > 0).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: rejected,
        error_message: WHY.into(),
    });
    ExportMetricsServiceResponse { partial_success }
}

fn logs_answer(rejected: i64) -> ExportLogsServiceResponse {
    let partial_success = (rejected > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: rejected,
        error_message: WHY.into(),
    });
    ExportLogsServiceResponse { partial_success }
}

fn traces_answer(rejected: i64) -> ExportTraceServiceResponse {
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected,
        error_message: WHY.into(),
    });
    ExportTraceServiceResponse { partial_success }
}

fn serve_http(listener: &TcpListener, shared: &Shared, end: &Arc<AtomicBool>) {
    for stream in listener.incoming() {
        if end.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (shared, end) = (shared.clone(), Arc::clone(end));
        // Ends with its connection, or soon after the collector.
        thread::spawn(move || drop(speak_http(stream, &shared, &end)));
    }
}

fn speak_http(stream: TcpStream, shared: &Shared, end: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut answers = stream.try_clone()?;
    let mut from = BufReader::new(stream);
    while !end.load(Ordering::SeqCst) {
        let mut line = String::new();
        // A collector that has gone answers nothing, also where a connection was kept.
        if from.read_line(&mut line)? == 0 || end.load(Ordering::SeqCst) {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("").to_owned();
        let headers = read_headers(&mut from)?;
        let header = |name: &str| headers.iter().find(|(it, _)| it == name).map(|it| &it.1);
        let length = header("content-length").and_then(|it| it.parse().ok());
        let mut body = vec![0; length.expect("a body says how long it is")];
        from.read_exact(&mut body)?;
        assert_eq!(header("content-type").unwrap(), "application/x-protobuf");
        if header("content-encoding").is_some_and(|it| it == "gzip") {
            let packed = std::mem::take(&mut body);
            GzDecoder::new(&packed[..]).read_to_end(&mut body)?;
        }
        if !answer_http(&mut answers, &path, &body, headers, shared)? {
            // Silent until the other end gives up and closes the connection.
            from.read_to_end(&mut body)?;
        }
    }
    Ok(())
}

fn read_headers(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok(headers);
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
}

/// `false` when nothing was answered.
fn answer_http(
    to: &mut impl Write,
    path: &str,
    body: &[u8],
    headers: Vec<(String, String)>,
    shared: &Shared,
) -> io::Result<bool> {
    let keep = |sent: &mut Sent| match path {
        "/v1/metrics" => sent.metrics.push(Message::decode(body).unwrap()),
        "/v1/logs" => sent.logs.push(Message::decode(body).unwrap()),
        "/v1/traces" => sent.traces.push(Message::decode(body).unwrap()),
        other => panic!("nothing is sent to {other}"),
    };
    let yes = |rejected| match path {
        "/v1/metrics" => metrics_answer(rejected).encode_to_vec(),
        "/v1/logs" => logs_answer(rejected).encode_to_vec(),
        _ => traces_answer(rejected).encode_to_vec(),
    };
    let (status, extra, answer) = match shared.arrived(keep, headers) {
        Answer::Ok => ("200 OK", "", yes(0)),
        Answer::Partly(rejected) => ("200 OK", "", yes(rejected)),
        Answer::Unavailable { waits } => {
            let extra = if waits { "retry-after: 1\r\n" } else { "" };
            ("503 Service Unavailable", extra, b"too busy".to_vec())
        }
        Answer::Invalid => ("400 Bad Request", "", b"not like this".to_vec()),
        Answer::TooLarge => ("413 Content Too Large", "", b"too large".to_vec()),
        Answer::Never => return Ok(false),
        Answer::Held => {
            shared.let_go();
            ("200 OK", "", yes(0))
        }
    };
    let length = answer.len();
    write!(
        to,
        "HTTP/1.1 {status}\r\n{extra}content-length: {length}\r\n\r\n"
    )?;
    to.write_all(&answer)?;
    Ok(true)
}
