//! What took the time of pipelines over their latest runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use danube_api::{Code, PipelineTiming, Problem, TimingList};
use danube_model::limits::{NAME_BYTES_MAX, TIMED_RUNS_DEFAULT, TIMED_RUNS_MAX};
use danube_model::spec::is_near;
use danube_store::{Filter, Store, StoreError};
use serde::Deserialize;

use super::answer::Answer;
use super::caller::Looker;
use super::incoming::Id;
use crate::app::{App, Shared, blocking};
use crate::auth::Caller;
use crate::pipelines::{NoPipeline, of_both};
use crate::timing::{list, table};

/// Over how many runs.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimingQuery {
    /// The latest so many runs, 1 to 500; 50 when absent. As many before them are compared
    /// with.
    #[param(minimum = 1, maximum = 500)]
    runs: Option<usize>,
}

/// Shows what took the time of a pipeline over its latest runs: the wait in the queue, each
/// stage and each step.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/timing", tag = "traces",
    params(("name" = String, Path, description = "Name of the pipeline"), TimingQuery),
    responses((status = 200, description = "The whole, then what took most of it", body = PipelineTiming),
        (status = 404, description = "There is no such pipeline", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Wrong runs, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pipeline(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(name): Id,
    query: Result<Query<TimingQuery>, QueryRejection>,
) -> Answer<Json<PipelineTiming>> {
    let wanted = wanted(query)?;
    Ok(Json(of_one(&app, &caller, name, wanted).await?))
}

/// What took the time of a pipeline over so many runs.
pub(super) async fn of_one(
    app: &Shared,
    caller: &Caller,
    name: String,
    wanted: usize,
) -> Result<PipelineTiming, Problem> {
    let permitted = app.permits(caller, (&name, None));
    permitted.map_err(|it| it.or(|| unknown(&name, &[])))?;
    let asked = name.clone();
    let past = read(app, move |store| store.past_runs(&asked, 2 * wanted)).await?;
    if past.runs.is_empty() {
        must_exist(app, caller, &name).await?;
    }
    Ok(table(name, &past, wanted))
}

/// Shows how long the latest runs of each pipeline took and waited.
#[utoipa::path(get, path = "/api/v1/pipelines/timing", tag = "traces", params(TimingQuery),
    responses((status = 200, description = "The slowest first", body = TimingList),
        (status = "4XX", description = "Wrong runs, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pipelines(
    State(app): State<Shared>,
    Looker(caller): Looker,
    query: Result<Query<TimingQuery>, QueryRejection>,
) -> Answer<Json<TimingList>> {
    let wanted = wanted(query)?;
    Ok(Json(of_all(&app, caller, wanted).await?))
}

/// How long the latest so many runs took and waited of each pipeline that the caller reaches.
pub(super) async fn of_all(
    app: &Shared,
    caller: Caller,
    wanted: usize,
) -> Result<TimingList, Problem> {
    let counts = move |name: &str| caller.reach.right(name, None).is_some();
    let all = read(app, move |store| store.past_runs_of_all(2 * wanted, counts)).await?;
    Ok(list(all, wanted))
}

fn wanted(query: Result<Query<TimingQuery>, QueryRejection>) -> Result<usize, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let runs = query.runs.unwrap_or(TIMED_RUNS_DEFAULT);
    if (1..=TIMED_RUNS_MAX).contains(&runs) {
        return Ok(runs);
    }
    let detail = format!("`runs` must be 1 to {TIMED_RUNS_MAX}");
    Err(Problem::new(Code::Malformed, detail))
}

/// Reads, if it is its turn. The turn lasts as long as the read does, also when nobody waits
/// for it any more.
async fn read<T: Send + 'static>(
    app: &Shared,
    read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let turn = Arc::clone(&app.turns.timings).try_acquire_owned();
    let turn = turn.map_err(|_| {
        let detail = "too many look at the history of pipelines; try again in a second";
        Problem::new(Code::TooMany, detail)
    })?;
    app.read(move |store| {
        let _turn = turn;
        read(store)
    })
    .await
}

/// A pipeline exists that has jobs or a file.
async fn must_exist(app: &Shared, caller: &Caller, name: &str) -> Result<(), Problem> {
    let filter = Filter {
        pipeline: Some(name.to_owned()),
        ..Filter::default()
    };
    let jobs = app.read(move |store| store.list(&filter, None, 1)).await?;
    if !jobs.items.is_empty() {
        return Ok(());
    }
    let (asked, wanted) = (Arc::clone(app), name.to_owned());
    match blocking(move || declared(&asked, &wanted)).await? {
        None => Ok(()),
        Some(declared) => {
            let mut names = read(app, Store::pipeline_names).await?;
            names.extend(declared);
            names.retain(|it| caller.reach.right(it, None).is_some());
            Err(unknown(name, &names))
        }
    }
}

/// The names of the pipelines that files declare; none when this is one, or may be one.
fn declared(app: &App, name: &str) -> Option<Vec<String>> {
    let blueprint = app.blueprint.get();
    match of_both(
        blueprint.as_deref(),
        app.pipelines.find(name),
        (name, false),
    ) {
        Err(NoPipeline::Unknown { known, .. }) => Some(known),
        Ok(_)
        | Err(NoPipeline::Twice(_) | NoPipeline::Unreadable(_) | NoPipeline::NotByHand(_)) => None,
    }
}

fn unknown(name: &str, names: &[String]) -> Problem {
    let near = names.iter().find(|it| is_near(it, name));
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    let mut detail = format!("there is no pipeline `{}`", name.escape_debug());
    if let Some(near) = near {
        detail.push_str(&format!("; did you mean `{near}`?"));
    }
    Problem::new(Code::NotFound, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_pipeline_leads_to_the_one_that_was_meant() {
        let names = ["deploy".to_owned(), "build".to_owned()];
        let detail = |name: &str| unknown(name, &names).detail;
        assert_eq!(
            detail("biuld"),
            "there is no pipeline `biuld`; did you mean `build`?"
        );
        assert_eq!(detail("x\n"), "there is no pipeline `x\\n`");
        let long = "x".repeat(2 * NAME_BYTES_MAX);
        assert!(detail(&long).len() < NAME_BYTES_MAX + 40);
    }
}
