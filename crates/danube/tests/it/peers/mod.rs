//! Danube beside the real programs that read what it tells: Prometheus and
//! promtool, Alertmanager, an OpenTelemetry collector, and Python packages that
//! know the formats, and Go's own pprof. `make deps` installs them.
//!
//! Everything runs on loopback, in directories of its own, on ports that the
//! system chooses, and ends with the test that started it. What each program said
//! is shown when its test fails.

mod alerting;
mod around;
mod collector;
mod contract;
mod deploy_files;
mod exemplars;
mod exposition;
mod hostile;
mod jobs;
mod live;
mod many;
mod otlp;
mod profiles;
mod program;
mod prometheus;
mod pushed;
mod python;
mod receiver;
mod remote_write;
mod rotel;
mod same_numbers;
mod scrape;
mod traces;
mod units;
mod watched;
mod webhooks;

pub(crate) use alerting::Alertmanager;
pub(crate) use program::find;
pub(crate) use python::judge_schemas;
