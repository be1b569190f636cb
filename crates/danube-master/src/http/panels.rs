//! What is drawn of the server's metrics, and the alerts that fire.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use danube_api::{
    AlertList, Code, FieldProblem, PanelData, PanelLine, PanelList, PanelQuery, PanelView, Problem,
};
use danube_model::Timestamp;
use danube_signals::{Panel, State as Declared, panel, panels};
use danube_telemetry::metric::SERIES_MAX;
use danube_telemetry::query::{History, KEPT, TICK, Times, TooLarge, answer};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::answer::Answer;
use super::caller::Reader;
use super::incoming::Id;
use crate::app::{Shared, blocking};

/// Steps of one answer: a screen has fewer columns.
const STEPS_MAX: usize = 2_000;

/// Steps when the caller doesn't say how many.
const STEPS_DEFAULT: u64 = 240;

/// Points of one answer, all lines together: some 6 MiB.
const POINTS_MAX: usize = 250_000;

// A line for each of as many pipelines as there may be, and one for the others, as they
// are drawn when the caller says nothing.
const _: () = assert!((SERIES_MAX as u64 + 1) * (STEPS_DEFAULT + 1) <= POINTS_MAX as u64);

/// How long a panel waits for those before it: a dashboard opens its five at once, and
/// each takes some milliseconds.
const TURN_WAIT_MAX: Duration = Duration::from_secs(8);

/// How far back it reaches when the caller doesn't say.
const RANGE_DEFAULT: Duration = Duration::from_secs(3_600);

/// What part of the history to draw.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeQuery {
    /// First time: RFC 3339, or Unix time in seconds. An hour before `to` when absent.
    from: Option<String>,
    /// Last time, in the same form. Now when absent.
    to: Option<String>,
    /// Seconds between two points, at least 1. When absent, what makes 240 points.
    #[param(minimum = 1, maximum = 86400)]
    step: Option<u64>,
}

/// Lists the panels.
#[utoipa::path(get, path = "/api/v1/panels", tag = "panels",
    responses((status = 200, description = "Every panel, with its questions", body = PanelList)))]
pub(crate) async fn list(State(app): State<Shared>, _: Reader) -> Json<PanelList> {
    Json(PanelList {
        panels: panels().iter().map(view).collect(),
        history: app.watch.held(),
    })
}

/// The data of a panel, from the last day.
#[utoipa::path(get, path = "/api/v1/panels/{name}", tag = "panels", params(("name" = String, Path, description = "Name of the panel"), RangeQuery),
    responses((status = 200, description = "The panel and its lines", body = PanelData),
        (status = 404, description = "There is no such panel", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The times are wrong, or make too many points", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many panels are being drawn; try again in a second", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn data(
    State(app): State<Shared>,
    _: Reader,
    Id(name): Id,
    query: Result<Query<RangeQuery>, QueryRejection>,
) -> Answer<Json<PanelData>> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let Some(panel) = panel(&name) else {
        let detail = "there is no panel of this name; `GET /api/v1/panels` lists them";
        return Err(Problem::new(Code::NotFound, detail).into());
    };
    let times = times(&query, Timestamp::now())?;
    Ok(Json(drawn(&app, panel, times).await?))
}

/// A panel with its lines at these times.
pub(crate) async fn drawn(
    app: &Shared,
    panel: &'static Panel,
    times: Times,
) -> Result<PanelData, Problem> {
    let series = in_turn(app, move |history| lines(history, panel, times)).await??;
    Ok(PanelData {
        series,
        ..undrawn(panel, times)
    })
}

/// What is asked of the history, when it is one's turn.
pub(crate) async fn in_turn<T: Send + 'static>(
    app: &Shared,
    ask: impl FnOnce(&History) -> T + Send + 'static,
) -> Result<T, Problem> {
    let turn = turn(&app.turns.panels, TURN_WAIT_MAX).await?;
    let asked = app.clone();
    let answer = blocking(move || {
        // Held by the drawing, which goes on when the caller leaves.
        let _turn = turn;
        ask(&asked.watch.history)
    });
    answer.await
}

/// A panel without its lines.
pub(crate) fn undrawn(panel: &Panel, times: Times) -> PanelData {
    PanelData {
        panel: view(panel),
        from: Timestamp::from_millis(times.from).to_string(),
        to: Timestamp::from_millis(times.to).to_string(),
        step_seconds: times.step.as_secs(),
        window_seconds: times.panel.as_secs(),
        series: Vec::new(),
    }
}

/// A turn at drawing; waits for it so long at most.
async fn turn(turns: &Arc<Semaphore>, wait: Duration) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = timeout(wait, Arc::clone(turns).acquire_owned()).await;
    let turn = turn.ok().and_then(Result::ok);
    turn.ok_or_else(|| {
        let detail = format!("no panel could be drawn within {} s", wait.as_secs());
        Problem::new(Code::TooMany, detail)
    })
}

/// Lists the alerts that fire or are about to.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "panels",
    responses((status = 200, description = "What fires, then what is about to", body = AlertList)))]
pub(crate) async fn alerts(State(app): State<Shared>, _: Reader) -> Json<AlertList> {
    Json(AlertList {
        alerts: app.watch.alerts(),
    })
}

fn view(panel: &Panel) -> PanelView {
    let (state, waits_for) = match panel.state() {
        Declared::Live => ("live", None),
        Declared::NotYet(part) => ("not_yet", Some(part.to_owned())),
    };
    PanelView {
        name: panel.name.to_owned(),
        dashboard: panel.dashboard.as_str().to_owned(),
        title: panel.title.to_owned(),
        description: panel.description.to_owned(),
        unit: panel.unit.as_str().to_owned(),
        state: state.to_owned(),
        waits_for,
        queries: panel
            .queries
            .iter()
            .map(|it| PanelQuery {
                legend: it.legend.to_owned(),
                promql: it.grafana(),
            })
            .collect(),
    }
}

/// All mistakes together.
fn times(query: &RangeQuery, now: Timestamp) -> Result<Times, Problem> {
    let mut wrong = Vec::new();
    let mut say = |pointer: &str, message: String| {
        wrong.push(FieldProblem {
            pointer: pointer.to_owned(),
            message,
        });
    };
    let mut time = |name: &str, text: &Option<String>, default: i64| match text {
        None => default,
        Some(text) => moment(text).unwrap_or_else(|| {
            let form = "must be a time as in RFC 3339 or Unix time in seconds";
            say(name, form.to_owned());
            default
        }),
    };
    let to = time("to", &query.to, now.as_millis());
    let range = i64::try_from(RANGE_DEFAULT.as_millis()).unwrap_or(i64::MAX);
    let from = time("from", &query.from, to.saturating_sub(range));
    if from > to {
        say("from", "must not be after `to`".to_owned());
    }
    let step = query.step.unwrap_or_else(|| {
        let seconds = u64::try_from(to.saturating_sub(from).max(0) / 1_000).unwrap_or_default();
        let tick = TICK.as_secs();
        (seconds / STEPS_DEFAULT).next_multiple_of(tick).max(tick)
    });
    let step_is_right = (1..=KEPT.as_secs()).contains(&step);
    if !step_is_right {
        say("step", format!("must be 1 to {} seconds", KEPT.as_secs()));
    }
    let step = Duration::from_secs(step.clamp(1, KEPT.as_secs()));
    let times = Times {
        from,
        to,
        step,
        panel: Times::panel_window(step),
    };
    if step_is_right && from <= to && times.count() > STEPS_MAX {
        let least = (to.saturating_sub(from) / 1_000)
            .unsigned_abs()
            .div_ceil(STEPS_MAX as u64 - 1);
        say(
            "step",
            format!(
                "makes {} points and {STEPS_MAX} are allowed; from {least} seconds on it fits",
                times.count()
            ),
        );
    }
    if wrong.is_empty() {
        return Ok(times);
    }
    let problem = Problem::new(Code::Invalid, "the range can't be drawn");
    Err(Problem {
        errors: wrong,
        ..problem
    })
}

/// A time in one of the two forms, in Unix milliseconds.
fn moment(text: &str) -> Option<i64> {
    if let Some(at) = Timestamp::parse(text) {
        return Some(at.as_millis());
    }
    text.parse::<i64>().ok()?.checked_mul(1_000)
}

fn lines(history: &History, panel: &Panel, times: Times) -> Result<Vec<PanelLine>, Problem> {
    let mut out = Vec::new();
    let mut points_left = POINTS_MAX;
    for query in &panel.queries {
        let lines = answer(&query.expr, history, times);
        for line in lines.map_err(|TooLarge| too_large())? {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds have 45 bits")]
            let at = |step: usize| {
                (times.from as f64 + step as f64 * times.step.as_secs_f64() * 1e3) / 1e3
            };
            let values = line.values.iter().enumerate();
            // JSON has no NaN: a quantile of nothing is no point.
            let points: Vec<_> = values
                .filter_map(|(step, value)| Some((at(step), value.filter(|it| it.is_finite())?)))
                .collect();
            if points.is_empty() {
                continue;
            }
            points_left = points_left
                .checked_sub(points.len())
                .ok_or_else(too_large)?;
            out.push(PanelLine {
                legend: query.legend_of(&line.labels),
                labels: line.labels.into_iter().collect(),
                points,
            });
        }
    }
    Ok(out)
}

fn too_large() -> Problem {
    let detail = format!(
        "the panel has more than {POINTS_MAX} points; ask for a shorter range or a longer `step`"
    );
    Problem::new(Code::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use danube_signals::{BuildInfo, JobResult, Limits, Signals};
    use danube_telemetry::query::Bounds;

    use super::*;

    fn check(
        from: Option<&str>,
        to: Option<&str>,
        step: Option<u64>,
    ) -> Result<(i64, i64, u64), String> {
        let query = RangeQuery {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            step,
        };
        let now = Timestamp::from_millis(1_768_048_496_000);
        match times(&query, now) {
            Ok(it) => Ok((it.from / 1_000, it.to / 1_000, it.step.as_secs())),
            Err(problem) => Err(problem
                .errors
                .iter()
                .map(|it| format!("{}: {}", it.pointer, it.message))
                .collect::<Vec<_>>()
                .join("; ")),
        }
    }

    /// Series of the panel `failed_jobs` for a thousand pipelines, of which `failing` fail.
    fn failed_jobs(failing: usize) -> Result<Vec<PanelLine>, Problem> {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        let panel = panel("failed_jobs").unwrap();
        let mut asked = Vec::new();
        panel.queries[0].expr.selectors(&mut |it| asked.push(it));
        let history = History::new(asked, Bounds::default());
        let names: Vec<String> = (0..SERIES_MAX).map(|it| format!("p{it}")).collect();
        names.iter().for_each(|it| signals.expect_runs(it));
        let begin = 1_768_000_000;
        history.sample(signals.registry(), begin * 1_000);
        for name in &names[..failing] {
            signals
                .jobs_total
                .with([name.as_str()])
                .at(JobResult::Failure)
                .inc();
        }
        // Both samples lie in the window of every later step.
        history.sample(signals.registry(), (begin + 15) * 1_000);
        let (from, to) = ((begin + 15).to_string(), (begin + 3_600).to_string());
        let query = RangeQuery {
            from: Some(from),
            to: Some(to),
            step: None,
        };
        let times = times(&query, Timestamp::now()).unwrap();
        assert!(times.count() >= 240);
        lines(&history, panel, times)
    }

    #[test]
    fn a_thousand_pipelines_can_be_drawn_whether_they_fail_or_not() {
        let drawn = failed_jobs(3).unwrap();
        let legends: Vec<&str> = drawn.iter().map(|it| it.legend.as_str()).collect();
        assert_eq!(legends, ["p0", "p1", "p2"]);
        assert_eq!(failed_jobs(SERIES_MAX).unwrap().len(), SERIES_MAX);
    }

    #[tokio::test]
    async fn a_panel_waits_for_its_turn_but_not_for_ever() {
        const LONG: Duration = Duration::from_secs(3_600);
        let turns = Arc::new(Semaphore::new(1));
        let first = turn(&turns, LONG).await.unwrap();
        let refused = turn(&turns, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.code, Code::TooMany);
        let waiting = turn(&turns, LONG);
        let leaves = async move { drop(first) };
        let (second, ()) = tokio::join!(waiting, leaves);
        assert!(second.is_ok());
    }

    #[test]
    fn times_are_read_in_both_forms_and_the_step_follows() {
        let now = 1_768_048_496;
        assert_eq!(check(None, None, None), Ok((now - 3_600, now, 15)));
        assert_eq!(
            check(Some("1768000000"), Some("2026-01-10T12:34:56Z"), Some(60)),
            Ok((1_768_000_000, now, 60))
        );
        let day = (now - 86_400).to_string();
        assert_eq!(check(Some(&day), None, None), Ok((now - 86_400, now, 360)));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        assert_eq!(
            check(Some("yesterday"), Some("1"), Some(0)).unwrap_err(),
            "from: must be a time as in RFC 3339 or Unix time in seconds; step: must be 1 to 86400 seconds"
        );
        assert_eq!(
            check(Some("2"), Some("1"), None).unwrap_err(),
            "from: must not be after `to`"
        );
        assert_eq!(
            check(Some("0"), Some("86400"), Some(1)).unwrap_err(),
            "step: makes 86401 points and 2000 are allowed; from 44 seconds on it fits"
        );
        let far = i64::MAX.to_string();
        assert!(check(Some("0"), Some(&far), None).is_err());
    }
}
