//! There is room where everything is kept.

use std::path::Path;
use std::time::Duration;

use danube_signals::{Check, ReapReason};
use tokio::runtime::Handle;

use super::super::check::{Answer, CHEAP_DEADLINE, CHEAP_EVERY, Heal, HealthCheck};
use super::super::usage;
use crate::app::Shared;
use crate::reaper;

/// Free bytes under which no job can be accepted any more.
const FREE_BYTES_MIN: u64 = 1024 * 1024;

/// The reaper is sent early at most this often.
const HEAL_EVERY: Duration = Duration::from_secs(300);

pub(super) fn check(app: &Shared) -> HealthCheck {
    let (asked, healed) = (app.clone(), app.clone());
    HealthCheck {
        name: Check::Disk,
        period: CHEAP_EVERY,
        deadline: CHEAP_DEADLINE,
        gates: true,
        run: Box::new(move || look(&asked)),
        heal: Some(Heal {
            action: "reap",
            every: HEAL_EVERY,
            run: Box::new(move || reap(&healed)),
        }),
    }
}

fn look(app: &Shared) -> Answer {
    let room = match usage::room(&app.settings.data_dir) {
        Ok(room) => room,
        Err(error) => {
            // What was there before says nothing of now.
            app.signals.disk_free_ratio.clear();
            return Answer::failed(error.to_string()).beyond_healing();
        }
    };
    app.signals.disk_free_ratio.set(room.free_ratio());
    usage::database(&app.signals, &app.settings.data_dir);
    let low = f64::from(app.settings.health.disk_free_percent) / 100.0;
    let shown = shown(&app.settings.data_dir, room);
    if room.free_bytes < FREE_BYTES_MIN {
        Answer::failed(shown)
    } else if room.free_ratio() < low {
        Answer::degraded(shown)
    } else {
        Answer::ok()
    }
}

fn shown(dir: &Path, room: usage::Room) -> String {
    format!(
        "{} bytes are free where {} lies, {:.1} %",
        room.free_bytes,
        dir.display(),
        room.free_ratio() * 100.0
    )
}

/// Deletes what has expired now, and not in its time.
fn reap(app: &Shared) -> Result<String, String> {
    let reaped = Handle::current().block_on(reaper::reap(app, ReapReason::Disk));
    let free = usage::room(&app.settings.data_dir).map_err(|error| error.to_string())?;
    let free = shown(&app.settings.data_dir, free);
    if reaped.bytes_freed == 0 {
        return Err(format!(
            "nothing has expired; make room, or let retention.logs_days, retention.logs_max_bytes or \
             retention.disk_free_percent delete more: {free}"
        ));
    }
    Ok(format!("{reaped}; {free}"))
}
