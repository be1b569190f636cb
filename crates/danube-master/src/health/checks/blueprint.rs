//! The blueprint is followed: its repository was looked at a short time ago, and was good.

use std::time::{Duration, Instant};

use danube_api::BlueprintError;
use danube_signals::Check;
use tokio::runtime::Handle;

use super::super::check::{Answer, CHEAP_DEADLINE, Heal, HealthCheck};
use super::shown;
use crate::app::Shared;
use crate::blueprint::{NotSynced, Told, sentence, short, sync};

/// How often what is known is looked at; each sync asks for a look, too.
const PERIOD: Duration = Duration::from_secs(10);

/// How long ago the last good sync may be, unless the repository is looked at less often.
const FRESH: Duration = Duration::from_secs(300);

/// How often a sync is forced: it comes by itself, too.
const FORCE_EVERY: Duration = Duration::from_secs(60);

pub(super) fn check(app: &Shared) -> HealthCheck {
    let (asked, heals) = (app.clone(), app.clone());
    let began = Instant::now();
    HealthCheck {
        name: Check::BlueprintSync,
        period: PERIOD,
        deadline: CHEAP_DEADLINE,
        // What was last taken goes on.
        gates: false,
        run: Box::new(move || look(&asked, began)),
        heal: Some(Heal {
            action: "force_sync",
            every: FORCE_EVERY,
            run: Box::new(move || force(&heals)),
        }),
    }
}

fn look(app: &Shared, began: Instant) -> Answer {
    let told = app.blueprint.how();
    let Some(interval) = app.blueprint.interval() else {
        // One in a directory is taken at the start; its pipelines have their time all the same.
        return match told.unstarted.is_empty() {
            true => Answer::disabled("blueprint.url names no repository"),
            false => started(&told),
        };
    };
    let since = told.success.map_or(began, |it| it.0);
    answer(&told, since.elapsed(), FRESH.max(2 * interval))
}

/// `age` is that of the last good sync, or of the server.
fn answer(told: &Told, age: Duration, fresh: Duration) -> Answer {
    let in_force = match &told.taken {
        Some((commit, _)) => format!("commit {} is in force", short(commit)),
        None => "none is in force".to_owned(),
    };
    let message = match &told.error {
        Some(error) => format!("{in_force}; {}", sentence(error)),
        None => in_force,
    };
    let can_heal = told.error.as_ref().is_none_or(|it| !is_wrong(it));
    let answer = if age > fresh {
        Answer::stale(format!("no sync was good for {}; {message}", shown(age)))
    } else if told.error.is_none() && (told.has_looked || told.taken.is_some()) {
        return started(told);
    } else if told.taken.is_none() && told.has_looked {
        Answer::failed(message)
    } else {
        Answer::degraded(message)
    };
    if can_heal && told.has_looked {
        answer
    } else {
        // The commit is wrong, or the first sync is under way.
        answer.beyond_healing()
    }
}

/// All is well, but where a pipeline wasn't started in its time.
fn started(told: &Told) -> Answer {
    let Some((_, why)) = told.unstarted.first_key_value() else {
        return Answer::ok();
    };
    let more = match told.unstarted.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let message = format!("not started in its time: {why}{more}");
    Answer::degraded(message).beyond_healing()
}

/// Whether somebody has to correct it first.
fn is_wrong(error: &BlueprintError) -> bool {
    !error.mistakes.is_empty()
}

fn force(app: &Shared) -> Result<String, String> {
    match Handle::current().block_on(sync(app, true)) {
        Ok(synced) => Ok(format!("commit {} is in force", short(&synced.commit))),
        Err(NotSynced::Failed(error)) => Err(sentence(&error)),
        Err(NotSynced::Problem(problem)) => Err(problem.detail),
        Err(NotSynced::NotFollowed) => Err("blueprint.url names no repository".to_owned()),
        Err(NotSynced::Stopped) => Err("the server stops".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use danube_api::BlueprintMistake;
    use danube_model::Timestamp;
    use danube_signals::HealthStatus;

    use super::*;

    fn error(is_wrong: bool) -> BlueprintError {
        let mistake = BlueprintMistake {
            file: "teams/a.yaml".to_owned(),
            line: Some(3),
            column: Some(7),
            code: "x".to_owned(),
            message: "is nobody".to_owned(),
        };
        BlueprintError {
            at: Timestamp::now(),
            commit: None,
            message: "it went wrong".to_owned(),
            mistakes: is_wrong.then_some(mistake).into_iter().collect(),
        }
    }

    #[test]
    fn it_says_what_is_in_force_what_is_wrong_and_whether_a_sync_would_help() {
        let taken = Some(("0123456789abcdef".to_owned(), Timestamp::now()));
        let (now, old) = (Duration::ZERO, FRESH + Duration::from_secs(1));
        let look = |taken: &Option<_>, error: Option<BlueprintError>, has_looked, age| {
            let told = Told {
                taken: taken.clone(),
                success: None,
                error,
                unstarted: BTreeMap::new(),
                has_looked,
            };
            let answer = answer(&told, age, FRESH);
            (answer.status, answer.can_heal, answer.message)
        };
        use HealthStatus::{Degraded, Failed, Ok, Stale};
        for (taken, error, has_looked, age, status, can_heal) in [
            (&taken, None, true, now, Ok, true),
            // Just started, with what the store had.
            (&taken, None, false, now, Ok, true),
            (&None, None, false, now, Degraded, false),
            (&taken, Some(error(true)), true, now, Degraded, false),
            (&taken, Some(error(false)), true, now, Degraded, true),
            (&None, Some(error(false)), true, now, Failed, true),
            (&taken, Some(error(true)), true, old, Stale, false),
            (&taken, None, true, old, Stale, true),
        ] {
            let found = look(taken, error.clone(), has_looked, age);
            assert_eq!((found.0, found.1), (status, can_heal), "{error:?}");
        }
        let (_, _, message) = look(&taken, Some(error(true)), true, now);
        assert_eq!(
            message,
            "commit 0123456789ab is in force; it went wrong; teams/a.yaml:3:7: is nobody"
        );
    }
}
