//! The walls around jobs, found out by building some.

use danube_executor::{Capabilities, Controller, Isolation, probe};

use super::found::Found;
use crate::config::Config;

/// What keeps a job from the rest of the machine.
pub(super) fn walls(config: &Config) -> Found {
    let steps = &config.settings.steps;
    let found = look(config);
    if found.isolation == Isolation::ProcessGroup {
        let why = found.why_not.join("; ");
        let detail = format!("jobs can't have namespaces of their own here: {why}");
        if steps.allow_unisolated {
            return Found::weak(
                detail,
                "steps.allow_unisolated runs them all the same; each sees the others and this user's files",
            );
        }
        return Found::wrong(
            detail,
            "run the master as root, or let users make namespaces (sysctl user.max_user_namespaces, AppArmor)",
        );
    }
    if found.root && !found.other_users {
        return Found::wrong(
            format!(
                "jobs can't run under users of their own, from {} on",
                steps.uid_base
            ),
            "give the container these user ids, or choose others with steps.uid_base",
        );
    }
    if !steps.network && !found.network_namespace {
        return Found::wrong(
            "the network can't be taken from steps, as steps.network asks",
            "let the kernel make network namespaces, or allow the network",
        );
    }
    let users = match found.other_users {
        true => ", each under a user of its own",
        false => ", under this user",
    };
    Found::fine(format!("namespaces of their own{users}"))
}

/// What bounds all processes of a step together.
pub(super) fn limits(config: &Config) -> Found {
    let found = look(config);
    let version = |controller| {
        let found = found.cgroup.iter().find(|(it, _)| *it == controller);
        found.map(|(_, version)| *version)
    };
    let wanted = [
        (Controller::Memory, "memory"),
        (Controller::Processes, "processes"),
        (Controller::Cpu, "processors"),
    ];
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(controller, _)| version(*controller).is_none())
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        let version = version(Controller::Memory).unwrap_or_default();
        return Found::fine(format!(
            "memory, processes and processors by cgroup version {version}"
        ));
    }
    Found::weak(
        format!(
            "no cgroup bounds {} of a step: only each process is bounded, if at all",
            missing.join(", ")
        ),
        "run the master as root or as a service with Delegate=yes, with cgroup version 2 at /sys/fs/cgroup",
    )
}

fn look(config: &Config) -> Capabilities {
    let is_root = rustix::process::geteuid().is_root();
    probe(is_root.then_some(config.settings.steps.uid_base))
}
