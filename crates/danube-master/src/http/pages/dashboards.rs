//! The dashboards: panels, and jobs that were measured for them.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use danube_api::{Code, PanelData, Problem};
use danube_model::{Job, Timestamp};
use danube_pages::dashboards::{self as page, DashboardPanel, DashboardsPage, JobExemplar, Range};
use danube_signals::{Dashboard, Panel, State as Declared, panels};
use danube_store::Filter;
use danube_telemetry::FamilyDecl;
use danube_telemetry::metric::{Exemplar, Kind, Sample};
use danube_telemetry::query::{TICK, Times};
use danube_telemetry::trace::hex;
use serde::Deserialize;

use super::frame::Visit;
use crate::app::{App, Shared};
use crate::http::incoming::Id;
use crate::http::panels::{drawn, undrawn};

/// Steps of a chart: one for some points of its width on a large screen.
const STEPS: u64 = 120;

/// Jobs that a panel names.
const EXEMPLARS_SHOWN: usize = 3;

/// Latest jobs among which those of exemplars are looked for. The store finds no job by its trace;
/// what is older than these has scrolled away.
const JOBS_LOOKED_AT: usize = 200;

/// Which stretch of time, as a link says it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RangeQuery {
    #[serde(default)]
    range: String,
}

/// The first dashboard.
pub(super) async fn first(
    State(app): State<Shared>,
    visit: Visit,
    query: Result<Query<RangeQuery>, QueryRejection>,
) -> Response {
    show(&app, visit, Some(Dashboard::ALL[0]), query).await
}

/// The dashboard of this name.
pub(super) async fn one(
    State(app): State<Shared>,
    visit: Visit,
    Id(name): Id,
    query: Result<Query<RangeQuery>, QueryRejection>,
) -> Response {
    let found = Dashboard::ALL.into_iter().find(|it| it.as_str() == name);
    show(&app, visit, found, query).await
}

async fn show(
    app: &Shared,
    visit: Visit,
    dashboard: Option<Dashboard>,
    query: Result<Query<RangeQuery>, QueryRejection>,
) -> Response {
    let page = match (dashboard, query) {
        (Some(dashboard), Ok(Query(query))) => made(app, dashboard, &query.range).await,
        (None, _) => {
            let detail = "there is no dashboard of this name; `/dashboards` links to all";
            Err(Problem::new(Code::NotFound, detail))
        }
        (_, Err(error)) => Err(Problem::new(Code::Malformed, error.body_text())),
    };
    visit.show(app, page)
}

async fn made(app: &Shared, dashboard: Dashboard, range: &str) -> Result<DashboardsPage, Problem> {
    let range = page::range(range);
    let times = times(range, Timestamp::now());
    let mut shown = Vec::new();
    for panel in panels().iter().filter(|it| it.dashboard == dashboard) {
        let data = match panel.state() {
            Declared::Live => drawn(app, panel, times).await?,
            Declared::NotYet(_) => undrawn(panel, times),
        };
        shown.push((data, exemplars(app, panel, times.from)));
    }
    let named = Dashboard::ALL.map(|it| page::Dashboard {
        name: it.as_str().to_owned(),
        title: it.title().to_owned(),
    });
    Ok(DashboardsPage {
        dashboards: named.to_vec(),
        dashboard: dashboard.as_str().to_owned(),
        range: range.name.to_owned(),
        panels: with_jobs(app, shown).await?,
        history: app.watch.held(),
    })
}

fn times(range: Range, now: Timestamp) -> Times {
    let tick = TICK.as_secs();
    let step = (range.seconds / STEPS).next_multiple_of(tick).max(tick);
    let step = Duration::from_secs(step);
    let to = now.as_millis();
    let back = i64::try_from(range.seconds).unwrap_or_default() * 1_000;
    Times {
        from: to - back,
        to,
        step,
        panel: Times::panel_window(step),
    }
}

/// The traced observations of a panel's histograms since this time, the largest first.
fn exemplars(app: &App, panel: &Panel, since_millis: i64) -> Vec<Exemplar> {
    let asked: Vec<&FamilyDecl> = panel
        .queries
        .iter()
        .flat_map(|it| it.expr.families())
        .filter(|it| it.kind == Kind::Histogram)
        .collect();
    let since = u64::try_from(since_millis).unwrap_or_default() * 1_000_000;
    let mut found = Vec::new();
    if asked.is_empty() {
        return found;
    }
    app.signals.registry().collect(&mut |family| {
        if !asked.iter().any(|it| it.name() == family.decl().name()) {
            return;
        }
        family.visit(&mut |series| {
            let Sample::Histogram(sample) = &series.sample else {
                return;
            };
            let buckets = 0..sample.cumulative.len();
            let kept = buckets.filter_map(|it| sample.exemplar(it));
            found.extend(kept.filter(|it| it.time_unix_nanos >= since));
        });
    });
    found.sort_by(|one: &Exemplar, other| other.value.total_cmp(&one.value));
    found
}

/// The panels, with those of their exemplars that were measured in jobs.
async fn with_jobs(
    app: &Shared,
    shown: Vec<(PanelData, Vec<Exemplar>)>,
) -> Result<Vec<DashboardPanel>, Problem> {
    let is_asked = shown.iter().any(|(_, exemplars)| !exemplars.is_empty());
    let jobs = if is_asked {
        let list =
            |store: &danube_store::Store| store.list(&Filter::default(), None, JOBS_LOOKED_AT);
        app.read(list).await?.items
    } else {
        Vec::new()
    };
    let by_trace: HashMap<&str, &Job> = jobs.iter().map(|it| (it.trace_id.as_str(), it)).collect();
    let panels = shown.into_iter().map(|(data, exemplars)| DashboardPanel {
        exemplars: jobs_of(&exemplars, &by_trace),
        data,
    });
    Ok(panels.collect())
}

/// A few jobs, each with the largest value that was measured in it.
fn jobs_of(exemplars: &[Exemplar], by_trace: &HashMap<&str, &Job>) -> Vec<JobExemplar> {
    let mut shown: Vec<JobExemplar> = Vec::new();
    for it in exemplars {
        let Some(job) = by_trace.get(hex(&it.trace_id).as_str()) else {
            continue;
        };
        let job_id = job.id.to_string();
        if shown.len() == EXEMPLARS_SHOWN {
            break;
        }
        if shown.iter().any(|it| it.job_id == job_id) {
            continue;
        }
        let millis = i64::try_from(it.time_unix_nanos / 1_000_000).unwrap_or(i64::MAX);
        shown.push(JobExemplar {
            value: it.value,
            at: Timestamp::from_millis(millis),
            job_id,
            short_id: job.id.short(),
            pipeline: job.pipeline.clone(),
        });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_has_steps_of_whole_samples() {
        let now = Timestamp::from_millis(1_768_048_496_000);
        for (range, step) in page::RANGES.into_iter().zip([15, 30, 180, 720]) {
            let times = times(range, now);
            assert_eq!(times.step.as_secs(), step, "{}", range.name);
            assert_eq!(times.to, now.as_millis());
            assert!(times.count() <= 121, "{}", times.count());
        }
    }

    #[test]
    fn the_history_is_as_long_as_the_longest_range() {
        let longest = page::RANGES.map(|it| it.seconds).into_iter().max();
        assert_eq!(longest, Some(danube_telemetry::query::KEPT.as_secs()));
    }
}
