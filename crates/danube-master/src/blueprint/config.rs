//! What the blueprint's settings make of the server's own. Flags, environment and file go
//! before them, defaults after; what they say no more is as it was.

use danube_api::{BlueprintSetting, ConfigView, SettingOrigin, SettingView};
use danube_blueprint::{Config, Keep};
use danube_joblog::Retention;
use danube_model::spec::Limits;
use danube_model::{Order, Task};
use serde_json::{Value, json};

use crate::app::App;
use crate::settings::{ArtifactSettings, Settings};

const LOGS_DAYS: &str = "retention.logs_days";
const LOGS_MAX_BYTES: &str = "retention.logs_max_bytes";
const ARTIFACTS_DAYS: &str = "retention.artifacts_days";
const ARTIFACTS_MAX_BYTES: &str = "retention.artifacts_max_bytes";
const DISK_FREE_PERCENT: &str = "retention.disk_free_percent";
const LOG_LEVEL: &str = "observability.log_level";
const EMAIL: &str = "redaction.email";
const ARTIFACT_BYTES: &str = "artifacts.file_max_bytes";
const ARTIFACTS_BYTES: &str = "artifacts.job_max_bytes";
const MEMORY: &str = "steps.memory_bytes";
const CORES: &str = "steps.cpu_cores";
const PROCESSES: &str = "steps.processes";
const OPEN_FILES: &str = "steps.open_files";

/// The blueprint's names for what no setting of the server has.
const DURATION: &str = "limits.max_duration_seconds";
const KEEP: &str = "retention.keep";

/// What each step may use: the lower of what the blueprint and the server say holds.
const OF_STEPS: [&str; 4] = [MEMORY, CORES, PROCESSES, OPEN_FILES];

/// What the blueprint says of each, by the server's name for it.
pub(super) fn settings(config: &Config, own: &Settings) -> Vec<BlueprintSetting> {
    let (keep, limits) = (&config.retention, &config.limits);
    let number = |it: Option<u64>| it.map(|it| json!(it));
    let kept = Some(&keep.keep).filter(|it| !it.is_empty());
    let all: [(&str, Option<Value>); 15] = [
        (LOGS_DAYS, number(keep.logs_days)),
        (LOGS_MAX_BYTES, number(keep.logs_max_bytes)),
        (ARTIFACTS_DAYS, number(keep.artifacts_days)),
        (ARTIFACTS_MAX_BYTES, number(keep.artifacts_max_bytes)),
        (DISK_FREE_PERCENT, number(keep.disk_free_percent)),
        (KEEP, kept.map(|it| json!(it))),
        (
            LOG_LEVEL,
            config.observability.log_level.as_ref().map(|it| json!(it)),
        ),
        (EMAIL, config.redaction.email.map(|it| json!(it))),
        (ARTIFACT_BYTES, number(limits.artifact_file_max_bytes)),
        (ARTIFACTS_BYTES, number(limits.artifact_job_max_bytes)),
        (DURATION, number(limits.max_duration_seconds)),
        (MEMORY, number(limits.step.memory_bytes)),
        (CORES, limits.step.cpu_cores.map(|it| json!(it))),
        (PROCESSES, number(limits.step.processes)),
        (OPEN_FILES, number(limits.step.open_files)),
    ];
    let said = all.into_iter().filter_map(|(key, value)| {
        Some(BlueprintSetting {
            key: key.to_owned(),
            value: value?,
            in_force: !own.said.contains(key),
        })
    });
    said.collect()
}

/// Days and bytes, where 0 is none.
fn some<T: TryFrom<u64> + Default + PartialEq>(number: u64) -> Option<T> {
    T::try_from(number).ok().filter(|it| *it != T::default())
}

/// The lower one, where there are two.
fn lower<T: PartialOrd + Copy>(own: &mut Option<T>, other: Option<T>) {
    if let Some(other) = other
        && own.is_none_or(|it| other < it)
    {
        *own = Some(other);
    }
}

impl App {
    /// What the blueprint says, where the operator says nothing.
    fn declared<T>(&self, key: &str, of: impl FnOnce(&Config) -> Option<T>) -> Option<T> {
        if self.settings.said.contains(key) {
            return None;
        }
        self.blueprint.get().and_then(|it| of(&it.config))
    }

    /// Which logs of ended jobs are kept.
    pub(crate) fn retention(&self) -> Retention {
        let own = self.settings.retention;
        let days = self.declared(LOGS_DAYS, |it| it.retention.logs_days);
        let bytes = self.declared(LOGS_MAX_BYTES, |it| it.retention.logs_max_bytes);
        Retention {
            days: days.map_or(own.days, some),
            total_bytes: bytes.map_or(own.total_bytes, some),
            ..own
        }
    }

    /// The share of the disk that stays free.
    pub(crate) fn disk_free_percent(&self) -> Option<u32> {
        let said = self.declared(DISK_FREE_PERCENT, |it| it.retention.disk_free_percent);
        said.map_or(self.settings.disk_free_percent, some)
    }

    /// What jobs may leave, and how long it is kept.
    pub(crate) fn artifact_limits(&self) -> ArtifactSettings {
        let own = self.settings.artifacts;
        let one = self.declared(ARTIFACT_BYTES, |it| it.limits.artifact_file_max_bytes);
        let all = self.declared(ARTIFACTS_BYTES, |it| it.limits.artifact_job_max_bytes);
        let days = self.declared(ARTIFACTS_DAYS, |it| it.retention.artifacts_days);
        let total = self.declared(ARTIFACTS_MAX_BYTES, |it| it.retention.artifacts_max_bytes);
        ArtifactSettings {
            file_bytes_max: one.unwrap_or(own.file_bytes_max),
            job_bytes_max: all.unwrap_or(own.job_bytes_max),
            days: days.map_or(own.days, some),
            total_bytes_max: total.map_or(own.total_bytes_max, some),
        }
    }

    /// Jobs of which all is kept, whatever the settings say.
    pub(crate) fn keep(&self) -> Vec<Keep> {
        let said = self.declared(KEEP, |it| Some(it.retention.keep.clone()));
        said.unwrap_or_default()
    }

    /// The settings that hold now, each with who said it.
    pub(crate) fn config(&self) -> ConfigView {
        let mut view = self.settings.shown.clone();
        let stands = self.blueprint.view(&self.settings);
        for setting in stands.settings.into_iter().filter(|it| it.in_force) {
            let own = view.options.get(&setting.key);
            let own = own.and_then(|it| it.value.as_ref()?.as_f64());
            let is_higher = own.is_some_and(|own| setting.value.as_f64() >= Some(own));
            if is_higher && OF_STEPS.contains(&setting.key.as_str()) {
                continue;
            }
            let commit = stands.commit.clone();
            let said = SettingView {
                value: Some(setting.value),
                origin: SettingOrigin::Blueprint { commit },
            };
            view.options.insert(setting.key, said);
        }
        let (level, changed) = self.log_level.origin();
        if let Some(it) = view.options.get_mut(LOG_LEVEL) {
            it.value = Some(json!(level));
            it.origin = changed.unwrap_or_else(|| it.origin.clone());
        }
        view
    }

    /// Lowers what a job may take to what the blueprint allows.
    pub(crate) fn lower(&self, order: &mut Order) {
        let most = self.declared(DURATION, |it| it.limits.max_duration_seconds);
        let seconds = order.task.max_duration_seconds();
        let seconds = most.map_or(seconds, |it| it.min(seconds));
        match &mut order.task {
            Task::Pipeline(it) => {
                it.max_duration_seconds = seconds;
                self.lower_steps(&mut it.limits);
            }
            Task::Playbook(it) if most.is_some() => it.options.timeout_seconds = Some(seconds),
            Task::Playbook(_) => {}
        }
    }

    fn lower_steps(&self, own: &mut Limits) {
        lower(
            &mut own.memory_bytes,
            self.declared(MEMORY, |it| it.limits.step.memory_bytes),
        );
        lower(
            &mut own.cpu_cores,
            self.declared(CORES, |it| it.limits.step.cpu_cores),
        );
        lower(
            &mut own.processes,
            self.declared(PROCESSES, |it| it.limits.step.processes),
        );
        lower(
            &mut own.open_files,
            self.declared(OPEN_FILES, |it| it.limits.step.open_files),
        );
    }

    /// Tells those who keep a setting for themselves what the blueprint says now.
    pub(crate) fn adopt(&self) {
        let level = self.declared(LOG_LEVEL, |it| it.observability.log_level.clone());
        self.log_level.declare(level.as_deref());
        self.artifacts.limit_to(self.artifact_limits());
        let email = self.declared(EMAIL, |it| it.redaction.email);
        if let Some(rules) = &self.blueprint.rules {
            let own = rules.own.clone();
            rules.live.set(match email {
                Some(true) => own.with_email(),
                _ => own,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_only_lowers() {
        let lowered = |own: Option<u64>, other: Option<u64>| {
            let mut own = own;
            lower(&mut own, other);
            own
        };
        assert_eq!(lowered(None, Some(3)), Some(3));
        assert_eq!(lowered(Some(2), Some(3)), Some(2));
        assert_eq!(lowered(Some(4), Some(3)), Some(3));
        assert_eq!(lowered(Some(4), None), Some(4));
        assert_eq!((some::<u32>(0), some::<u32>(7)), (None, Some(7)));
    }
}
