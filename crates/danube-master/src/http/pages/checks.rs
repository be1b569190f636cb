//! The health of the server, with the last day of each check.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use danube_api::Problem;
use danube_model::Timestamp;
use danube_pages::checks::{CheckHistory, HealthPage};
use danube_signals::family;
use danube_telemetry::query::{History, KEPT, Times, TooLarge, answer, series};

use super::frame::Visit;
use crate::app::Shared;
use crate::http::panels::in_turn;

/// Between two looks at the history of a check: what was in trouble for longer is seen.
const STEP: Duration = Duration::from_secs(60);

/// Each check with what it found last, how it went, and what was tried.
pub(super) async fn checks(State(app): State<Shared>, visit: Visit) -> Response {
    let page = made(&app).await;
    visit.show(&app, page)
}

async fn made(app: &Shared) -> Result<HealthPage, Problem> {
    let to = Timestamp::now();
    let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    let from = Timestamp::from_millis(to.as_millis().saturating_sub(kept));
    let times = Times {
        from: from.as_millis(),
        to: to.as_millis(),
        step: STEP,
        panel: Times::panel_window(STEP),
    };
    Ok(HealthPage {
        report: app.health.view(),
        histories: in_turn(app, move |history| histories(history, times)).await?,
        from,
        to,
    })
}

/// How each check went. A history that can't be asked is none: what is known now is shown anyway.
fn histories(history: &History, times: Times) -> Vec<CheckHistory> {
    let failures = series(&family::health_check_consecutive_failures).now();
    let lines = answer(&failures, history, times).unwrap_or_else(|TooLarge| Vec::new());
    let seconds = |step: usize| {
        let offset = step as f64 * times.step.as_secs_f64();
        times.from as f64 / 1e3 + offset
    };
    let of = |(name, check): &(String, String)| (name == "check").then(|| check.clone());
    lines
        .into_iter()
        .filter_map(|line| {
            let check = line.labels.iter().find_map(of)?;
            let values = line.values.iter().enumerate();
            let points = values.filter_map(|(step, value)| Some((seconds(step), (*value)?)));
            Some(CheckHistory {
                check,
                points: points.collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use danube_signals::{BuildInfo, Check, Limits, Signals};
    use danube_telemetry::query::Bounds;

    use super::*;

    #[test]
    fn a_check_that_failed_is_seen_in_its_history() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        let failures = series(&family::health_check_consecutive_failures).now();
        let mut asked = Vec::new();
        failures.selectors(&mut |it| asked.push(it));
        let history = History::new(asked, Bounds::default());
        let begin = 1_768_000_000_000;
        for (minute, failed) in [(0, 0), (1, 4), (2, 0)] {
            let cell = signals.health_check_consecutive_failures.at(Check::Disk);
            cell.set(failed);
            history.sample(signals.registry(), begin + minute * 60_000);
        }
        let times = Times {
            from: begin,
            to: begin + 120_000,
            step: STEP,
            panel: Times::panel_window(STEP),
        };
        let found = histories(&history, times);
        let disk = found.iter().find(|it| it.check == "disk").unwrap();
        let values: Vec<f64> = disk.points.iter().map(|it| it.1).collect();
        assert_eq!(values, [0.0, 4.0, 0.0]);
        assert!((disk.points[1].0 - 1_768_000_060.0).abs() < 1e-6);
    }
}
