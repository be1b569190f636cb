//! The handle that every part holds: emits facts and stands for the families.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_telemetry::metric::{Clock, Context, process};
use danube_telemetry::otlp::{Lost, Signal, Told};
use danube_telemetry::span::mark_failed;
use danube_telemetry::{LogHandle, Registry};

use crate::fact::{Fact, OtlpExportFailed, OtlpExportRecovered};
use crate::families::{Families, OVERFLOW};
use crate::labels::{Check, DroppedSignal, HealthStatus, SystemError};
use crate::not_yet;

/// What the templates of the API's routes begin with.
const API_ROUTES: &str = "/api/";

/// What the routes of workers elsewhere begin with.
const RPC_ROUTES: &str = "/rpc/";

/// What build is running.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo<'a> {
    /// Version of the package.
    pub version: &'a str,
    /// Commit it was built from, or `unknown`.
    pub commit: &'a str,
}

impl Default for BuildInfo<'static> {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: "unknown",
        }
    }
}

/// Limits of the metrics, and their clock.
#[derive(Clone)]
pub struct Limits {
    /// Series of each family with open labels; 1,000 where nothing is said.
    pub series_max: Option<usize>,
    /// Where "now" comes from for series that expire; a test gives its own.
    pub clock: Clock,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series_max: None,
            clock: Arc::new(Instant::now),
        }
    }
}

struct Inner {
    registry: Registry,
    families: Families,
}

/// Everything Danube tells goes through this. Cloning it is cheap and gives the same
/// families; it stands for [`Families`]: `signals.active_jobs.set(3)`.
#[derive(Clone)]
pub struct Signals(Arc<Inner>);

impl Deref for Signals {
    type Target = Families;
    fn deref(&self) -> &Families {
        &self.0.families
    }
}

impl Signals {
    /// Makes all families, each at its start.
    pub fn new(build: BuildInfo<'_>, limits: Limits) -> Self {
        let Limits { series_max, clock } = limits;
        let registry = Registry::with(Context {
            clock,
            series_max,
            ..Context::default()
        });
        let families = Families::new(&registry);
        families
            .build_info
            .with([build.version, build.commit])
            .set(1);
        for error in SystemError::ALL {
            // Known values, so each is shown from the start.
            families.cicd_system_errors_total.with(error.labels());
        }
        registry.add_overflow(&OVERFLOW.0);
        process::register(&registry);
        for (decl, _) in not_yet::FAMILIES {
            registry.add_zeros(decl);
        }
        Self(Arc::new(Inner { registry, families }))
    }

    /// Tells a fact: moves its metrics, marks the current span, then writes its line.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a fact is made where it is told"
    )]
    pub fn emit(&self, fact: impl Fact) {
        fact.emit(self);
    }

    /// What a scrape reads.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Shows what was lost in `danube_telemetry_dropped_total`: the log's lines, and what
    /// an export couldn't send. Called once.
    pub fn watch_lost(&self, log: &LogHandle, export: Option<Lost>) {
        let dropped = self.telemetry_dropped_total.clone();
        let log = log.clone();
        let sent = move |signal| export.as_ref().map_or(0, |it| it.of(signal));
        self.registry().on_collect(move || {
            let lines = log.dropped() + sent(Signal::Log);
            dropped.at(DroppedSignal::Log).mirror(lines);
            dropped
                .at(DroppedSignal::Metric)
                .mirror(sent(Signal::Metric));
            dropped.at(DroppedSignal::Span).mirror(sent(Signal::Span));
        });
    }

    /// Tells what an export has to say.
    pub fn exporter_tells(&self, told: &Told<'_>) {
        match *told {
            Told::Failed {
                signal,
                error,
                dropped,
            } => self.emit(OtlpExportFailed {
                signal: dropped_signal(signal),
                error,
                dropped,
            }),
            Told::Recovered {
                signal,
                outage,
                dropped,
            } => self.emit(OtlpExportRecovered {
                signal: dropped_signal(signal),
                duration_seconds: outage,
                dropped,
            }),
        }
    }

    /// Records an HTTP request; one of the API in its own family too. `route` is the template
    /// (`/api/v1/jobs/{id}`), never the path; an unknown method counts as `OTHER`, an
    /// impossible status as `000`.
    pub fn http_request(&self, method: &str, route: &str, status: u16, time: Duration) {
        const METHODS: [&str; 9] = [
            "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE",
        ];
        let method = METHODS
            .into_iter()
            .find(|known| *known == method)
            .unwrap_or("OTHER");
        let status = if (100..=599).contains(&status) {
            status
        } else {
            0
        };
        // Three digits on the stack: this runs for every request.
        let digits = [status / 100, status / 10 % 10, status % 10]
            .map(|digit| b'0' + u8::try_from(digit).expect("one digit"));
        let status = std::str::from_utf8(&digits).expect("digits are ASCII");
        let labels = [method, route, status];
        self.http_request_duration_seconds
            .record(labels, (), |it| it.observe_duration(time));
        // Probes, scrapes and pages are quick and many: they would hide slow requests.
        if route.starts_with(API_ROUTES) {
            self.api_request_duration_seconds
                .record(labels, (), |it| it.observe_duration(time));
        }
        if let Some(call) = route.strip_prefix(RPC_ROUTES) {
            self.rpc_requests_total
                .record([call, labels[2]], (), danube_telemetry::Counter::inc);
            self.rpc_request_duration_seconds
                .record([call], (), |it| it.observe_duration(time));
        }
    }

    /// Counts an error of the system itself, and marks the span in which it happened with
    /// its kind.
    pub fn system_error(&self, error: SystemError) {
        let labels = error.labels();
        let [_, error_type] = labels;
        mark_failed(error_type);
        self.cicd_system_errors_total
            .record(labels, (), danube_telemetry::Counter::inc);
    }

    /// Shows what counts for a pipeline at 0 before its first job has ended, so that a rate
    /// sees that end, and the times of its first steps.
    pub fn expect_runs(&self, pipeline: &str) {
        self.jobs_total.with([pipeline]);
        self.job_duration_seconds.with([pipeline]);
        self.job_timeouts_total.with([pipeline]);
        self.step_duration_seconds.with([pipeline]);
        self.job_cpu_seconds_total.with([pipeline]);
        self.cicd_pipeline_run_active.with([pipeline]);
        self.cicd_pipeline_run_errors_total.with([pipeline]);
    }

    /// Records the result of a health check; one that is disabled isn't shown.
    pub fn health(&self, check: Check, status: HealthStatus, consecutive_failures: u64) {
        let shown = self.health_check_status.at(check);
        let failures = self.health_check_consecutive_failures.at(check);
        match status {
            HealthStatus::Ok => shown.set(1.0),
            HealthStatus::Degraded | HealthStatus::Stale => shown.set(0.5),
            HealthStatus::Failed => shown.set(0.0),
            HealthStatus::Disabled => {
                shown.clear();
                failures.clear();
                return;
            }
        }
        failures.set_u64(consecutive_failures);
    }
}

fn dropped_signal(signal: Signal) -> DroppedSignal {
    match signal {
        Signal::Log => DroppedSignal::Log,
        Signal::Metric => DroppedSignal::Metric,
        Signal::Span => DroppedSignal::Span,
    }
}
