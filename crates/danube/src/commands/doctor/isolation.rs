//! The walls around jobs, found out by building some.

use std::io;

use danube_executor::{Capabilities, Controller, Isolation, probe, probe_by};

use super::found::Found;
use crate::config::Config;
use crate::serve::NURSERY_HINT;

/// What keeps a job from the rest of the machine.
pub(super) fn walls(config: &Config) -> Found {
    let steps = &config.settings.steps;
    if steps.nursery_socket.is_some() && config.settings.jobs_at_once == 0 {
        return Found::unused(
            "queue.jobs_at_once is 0, so nothing is asked of steps.nursery_socket",
        );
    }
    let found = match look(config) {
        Ok(found) => found,
        Err(error) => return Found::wrong(error.to_string(), NURSERY_HINT),
    };
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
    if config.settings.steps.nursery_socket.is_some() {
        return Found::unused("the unit behind steps.nursery_socket bounds them");
    }
    let found = match look(config) {
        Ok(found) => found,
        Err(error) => return Found::wrong(error.to_string(), NURSERY_HINT),
    };
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

/// By whoever will start the steps; a nursery behind a socket may be allowed more than we are.
fn look(config: &Config) -> io::Result<Capabilities> {
    let steps = &config.settings.steps;
    if steps.nursery_socket.is_some() {
        return probe_by(&steps.nursery(), None, Some(steps.uid_base));
    }
    let is_root = rustix::process::geteuid().is_root();
    Ok(probe(is_root.then_some(steps.uid_base)))
}
