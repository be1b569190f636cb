//! The blueprint: what was last taken whole from the repository that is followed, and how
//! that goes.
//!
//! ```text
//! repository ──▶ fetch.rs ──▶ danube_blueprint::read ──▶ sync.rs: one transaction ──▶ Current
//! ```

mod clock;
mod config;
pub(crate) mod dir;
mod fetch;
mod mistakes;
mod sync;
mod timetable;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use danube_api::{BlueprintError, BlueprintView};
use danube_blueprint::Blueprint;
use danube_model::Timestamp;
use danube_redact::{LiveRules, Rules};
use danube_signals::Signals;
use danube_store::{Store, StoredBlueprint};
use tokio::sync::Notify;

use crate::settings::Settings;
pub(crate) use clock::start_in_time;
use fetch::Follower;
pub(crate) use mistakes::{sentence, short};
pub(crate) use sync::{NotSynced, run, sync};

/// What is declared now; whoever reads it keeps what it was at that moment.
#[derive(Default)]
pub(crate) struct Current {
    now: ArcSwapOption<Blueprint>,
    /// None where none is followed.
    follower: Option<Arc<Follower>>,
    told: Mutex<Told>,
    /// Held by the one sync that is under way.
    turn: tokio::sync::Mutex<()>,
    /// Rings when another is in force.
    changed: Notify,
    /// Rings when the repository is to be looked at before its time.
    look_now: Notify,
    rules: Option<Redaction>,
}

/// What is taken out of the logs of jobs.
struct Redaction {
    /// As the settings say it.
    own: Rules,
    /// As it is now.
    live: LiveRules,
}

/// What is known beside what is declared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// The commit that is in force, and when it was taken.
    pub(crate) taken: Option<(String, Timestamp)>,
    /// The last sync that was good, on both clocks; none in this process.
    pub(crate) success: Option<(Instant, Timestamp)>,
    /// Why the last sync took nothing.
    pub(crate) error: Option<BlueprintError>,
    /// Pipelines that couldn't be started when their time had come, and why.
    pub(crate) unstarted: BTreeMap<String, String>,
    /// Whether a sync has ended in this process.
    pub(crate) has_looked: bool,
}

impl Current {
    /// Follows what the settings say, with what the store has of it in force.
    pub(crate) fn open(settings: &Settings, store: &Store, signals: &Signals) -> io::Result<Self> {
        let rules = Some(Redaction {
            own: settings.rules.clone(),
            live: settings.rules.clone().into(),
        });
        let Some(follow) = &settings.blueprint else {
            return Ok(Self {
                rules,
                ..Self::default()
            });
        };
        let follower = Follower::open(follow, settings)?;
        let stored = store.blueprint(follower.location());
        let current = Self {
            follower: Some(Arc::new(follower)),
            rules,
            ..Self::default()
        };
        // A database that can't be read is told by its health check; the first sync is near.
        if let Ok(Some(stored)) = stored {
            current.remember(stored, signals);
        }
        Ok(current)
    }

    /// Puts in force what the store has. What a newer program wrote and this one can't read
    /// is nothing: the repository has it.
    fn remember(&self, stored: StoredBlueprint, signals: &Signals) {
        let mut told = self.told();
        let read = |text: &str| serde_json::from_str::<Blueprint>(text).ok();
        if let Some(taken) = stored.taken
            && let Some(blueprint) = read(&taken.content)
        {
            let seconds = taken.at.as_millis() / 1_000;
            signals.blueprint_sync_last_success.set(seconds);
            told.taken = Some((taken.commit, taken.at));
            self.now.store(Some(Arc::new(blueprint)));
        }
        let error = stored.failure.map(|it| serde_json::from_str(&it));
        told.error = error.and_then(Result::ok);
    }

    /// What is taken out of the logs of jobs that begin.
    pub(crate) fn rules(&self) -> LiveRules {
        let rules = self.rules.as_ref().map(|it| it.live.clone());
        rules.unwrap_or_else(|| Rules::builtin().into())
    }

    /// What is in force; `None` where no blueprint is followed, or none was ever taken.
    pub(crate) fn get(&self) -> Option<Arc<Blueprint>> {
        self.now.load_full()
    }

    /// Puts another in force.
    pub(crate) fn set(&self, blueprint: Arc<Blueprint>) {
        self.now.store(Some(blueprint));
        self.told().unstarted.clear();
        self.changed.notify_one();
    }

    /// A pipeline was started in its time, or not, for this reason.
    fn started(&self, pipeline: &str, why_not: Option<String>) {
        let mut told = self.told();
        match why_not {
            Some(why) => told.unstarted.insert(pipeline.to_owned(), why),
            None => told.unstarted.remove(pipeline),
        };
    }

    /// How often the repository is looked at; none where none is followed.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.follower.as_ref().map(|it| it.settings().interval)
    }

    /// The repository that is followed, and its branch.
    pub(crate) fn followed(&self) -> Option<(&str, &str)> {
        let settings = self.follower.as_ref()?.settings();
        Some((&settings.url, &settings.branch))
    }

    /// Has the repository be looked at now; whoever asks doesn't wait.
    pub(crate) fn look_now(&self) {
        self.look_now.notify_one();
    }

    /// How it went last.
    pub(crate) fn how(&self) -> Told {
        self.told().clone()
    }

    /// The same for readers.
    pub(crate) fn view(&self, own: &Settings) -> BlueprintView {
        let follow = self.follower.as_ref().map(|it| it.settings());
        let (told, now) = (self.told().clone(), self.get());
        let names = |of: fn(&Blueprint) -> Vec<String>| now.as_deref().map(of).unwrap_or_default();
        BlueprintView {
            url: follow.map(|it| it.url.clone()),
            branch: follow.map(|it| it.branch.clone()),
            commit: told.taken.as_ref().map(|it| it.0.clone()),
            synced_at: told.taken.as_ref().map(|it| it.1),
            last_success: told.success.map(|it| it.1),
            error: told.error,
            pipelines: names(|it| it.pipelines.keys().cloned().collect()),
            users: names(|it| it.users.keys().cloned().collect()),
            teams: names(|it| it.teams.keys().cloned().collect()),
            settings: now
                .map(|it| config::settings(&it.config, own))
                .unwrap_or_default(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Whole after every line that changes it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
