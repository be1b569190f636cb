//! A real OpenTelemetry collector: takes OTLP over gRPC and HTTP with its default
//! limits, and hands on what it understood.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use tempfile::TempDir;

use super::program::Program;
use super::python::environment;
use super::receiver::Receiver;

/// How often a start is tried: the ports are free when they are chosen, and
/// somebody else may be quicker.
const STARTS_MAX: usize = 5;

/// A running collector. Ended when dropped.
pub(crate) struct Rotel {
    program: Program,
    /// `http://127.0.0.1:PORT`, for OTLP over gRPC.
    pub(crate) grpc: String,
    /// The same for OTLP over HTTP.
    pub(crate) http: String,
}

impl Rotel {
    /// Hands on over HTTP, uncompressed, to `receiver`.
    #[track_caller]
    pub(crate) fn handing_on_to(receiver: &Receiver) -> Self {
        for _ in 0..STARTS_MAX {
            let [grpc, http] = free_addresses();
            if let Some(program) = start(&grpc, &http, receiver) {
                return Self {
                    program,
                    grpc: format!("http://{grpc}"),
                    http: format!("http://{http}"),
                };
            }
        }
        panic!("no ports for rotel in {STARTS_MAX} tries");
    }

    /// Where it takes what is sent in this way: `grpc` or `http/protobuf`.
    pub(crate) fn endpoint(&self, protocol: &str) -> &str {
        match protocol {
            "grpc" => &self.grpc,
            _ => &self.http,
        }
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        self.program.output()
    }
}

/// Two addresses that nobody listens at. It can't be told to take any port: it
/// wouldn't say which.
fn free_addresses() -> [String; 2] {
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Both at once, or they could be one.
    [listen(), listen()].map(|it| it.local_addr().expect("its address").to_string())
}

/// A collector that is ready, or `None` when an address was taken meanwhile.
#[track_caller]
fn start(grpc: &str, http: &str, receiver: &Receiver) -> Option<Program> {
    let dir = TempDir::new().expect("make a directory");
    let arguments = [
        "start",
        "--otlp-grpc-endpoint",
        grpc,
        "--otlp-http-endpoint",
        http,
        "--exporter",
        "otlp",
        "--otlp-exporter-endpoint",
        &receiver.url,
        "--otlp-exporter-protocol",
        "http",
        "--otlp-exporter-compression",
        "none",
        "--pid-file",
        "rotel.pid",
        "--log-file",
        "rotel.log",
    ];
    let mut program = Program::start("rotel", &agent(), &arguments, dir);
    let is_ready = program.wait("it listens", |it| {
        if it.output().contains("unable to bind") {
            return Some(false);
        }
        let listens = |address| TcpStream::connect(address).is_ok();
        // Of somebody else's server it wouldn't say that it starts.
        (it.output().contains("Starting Rotel") && listens(grpc) && listens(http)).then_some(true)
    });
    is_ready.then_some(program)
}

fn agent() -> PathBuf {
    let lib = environment().join("lib");
    let versions = lib.read_dir().expect("the environment's packages");
    let agents = versions
        .flatten()
        .map(|it| it.path().join("site-packages/rotel/rotel-agent"));
    let found = agents.into_iter().find(|it| it.is_file());
    found.expect("rotel's wheel holds its program")
}
