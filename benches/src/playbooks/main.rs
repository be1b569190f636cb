//! Prints what playbooks cost: one beside bare `ansible-playbook`, and a thousand of
//! them on workers in processes of their own.
//!
//! `cargo run --release -p danube-bench --bin danube-bench-playbooks -- [OPTIONS]`

mod bare;
mod crowd;
mod feed;
mod options;
mod overhead;
mod quiet;

use std::process::ExitCode;

use options::Options;

/// A playbook with one play and nothing to do in it: all that is left is what it costs to
/// run one.
const EMPTY: &str = "- hosts: all\n  gather_facts: false\n  tasks: []\n";

/// The one host of its inventory.
const HOST: &str = "localhost";

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    if options.wants("overhead") {
        overhead::print(&options);
    }
    if options.wants("crowd") {
        crowd::print(&options);
    }
    ExitCode::SUCCESS
}

/// The submit of an empty playbook.
fn submit() -> String {
    let body = serde_json::json!({
        "source": {"type": "inline", "playbook": EMPTY},
        "inventory": {"type": "inline", "hosts": {HOST: {"ansible_connection": "local"}}},
    });
    body.to_string()
}
