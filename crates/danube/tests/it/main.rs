//! The whole program, from outside: real processes, real HTTP.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod api;
mod artifacts;
mod attacks;
mod audit;
mod auth;
#[path = "../../../danube-source/tests/support/backend.rs"]
mod backend;
mod backup;
mod blueprint;
mod cli;
#[path = "../../../danube-telemetry/tests/support/collector.rs"]
mod collector;
mod coordinator;
mod credentials;
mod elsewhere;
mod events;
mod faults;
mod forges;
mod golden;
mod health;
mod here;
mod isolation;
mod keys;
mod leaks;
mod life;
mod log_format;
mod log_level;
mod logs;
mod master;
mod metrics;
mod nursery;
mod otlp;
mod pages;
mod parameters;
mod peers;
mod playbooks;
mod processes;
mod profile;
mod queues;
mod receiver;
mod redis;
mod registry;
mod rights;
mod secrets;
mod signin;
mod stop;
mod stream;
mod systemd;
mod traces;
mod turns;
mod watch;
mod watchdog;
mod webhooks;
mod wire;
mod workers;
