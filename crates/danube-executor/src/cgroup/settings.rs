//! Limits as the files of a cgroup.

use super::{Branch, Controller};
use crate::plan::Limits;

/// The period over which the kernel deals out processor time: its default.
const CPU_PERIOD_MICROS: u32 = 100_000;

/// The least quota the kernel accepts.
const CPU_QUOTA_MICROS_MIN: f64 = 1_000.0;

/// One file to write. Some exist only with certain kernel options.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    pub(super) needed: bool,
}

pub(super) fn settings(branch: &Branch, limits: &Limits) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut set = |file, value, needed| {
        all.push(Setting {
            file,
            value,
            needed,
        });
    };
    for controller in &branch.controllers {
        match (controller, branch.version) {
            (Controller::Memory, 2) => {
                if let Some(bytes) = limits.memory_bytes {
                    set("memory.max", bytes.to_string(), true);
                    set("memory.swap.max", "0".into(), false);
                }
            }
            (Controller::Memory, _) => {
                if let Some(bytes) = limits.memory_bytes {
                    set("memory.limit_in_bytes", bytes.to_string(), true);
                    set("memory.memsw.limit_in_bytes", bytes.to_string(), false);
                }
            }
            (Controller::Processes, _) => {
                if let Some(most) = limits.processes {
                    set("pids.max", most.to_string(), true);
                }
            }
            (Controller::Cpu, version) => {
                if let Some(cores) = limits.cpu_cores {
                    let quota = (cores * f64::from(CPU_PERIOD_MICROS)).max(CPU_QUOTA_MICROS_MIN);
                    if version == 2 {
                        set("cpu.max", format!("{quota:.0} {CPU_PERIOD_MICROS}"), true);
                    } else {
                        set("cpu.cfs_period_us", CPU_PERIOD_MICROS.to_string(), true);
                        set("cpu.cfs_quota_us", format!("{quota:.0}"), true);
                    }
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::CONTROLLERS;
    use super::*;

    #[test]
    fn limits_become_the_files_of_each_version() {
        let limits = Limits {
            memory_bytes: Some(64),
            processes: Some(9),
            cpu_cores: Some(1.5),
            open_files: None,
        };
        let all = CONTROLLERS.map(|(controller, _)| controller).to_vec();
        let files = |version, limits: &Limits| -> Vec<String> {
            let branch = Branch {
                version,
                directory: "/".into(),
                controllers: all.clone(),
            };
            let settings = settings(&branch, limits);
            settings
                .into_iter()
                .map(|it| format!("{}={}", it.file, it.value))
                .collect()
        };
        assert_eq!(
            files(2, &limits),
            [
                "memory.max=64",
                "memory.swap.max=0",
                "pids.max=9",
                "cpu.max=150000 100000"
            ]
        );
        assert_eq!(
            files(1, &limits),
            [
                "memory.limit_in_bytes=64",
                "memory.memsw.limit_in_bytes=64",
                "pids.max=9",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000"
            ]
        );
        assert_eq!(files(2, &Limits::default()), [""; 0]);
    }
}
