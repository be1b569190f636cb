//! Redis answers, and what waits is listed there. Without it workers elsewhere ask the
//! master itself, so it is never more than degraded.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use danube_signals::Check;

use super::super::check::{Answer, CHEAP_DEADLINE, CHEAP_EVERY, Heal, HealthCheck};
use crate::app::Shared;
use crate::feed::{Desk, Status};

/// How long an attempt waits for what fills Redis, which asks it every half a second while
/// it is away.
const RECONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How often an attempt looks whether it is there again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An attempt is made at most this often. The feed goes on in between.
const HEAL_EVERY: Duration = Duration::from_secs(30);

pub(super) fn check(app: &Shared) -> HealthCheck {
    let (asked, healed) = (Arc::clone(&app.feed), Arc::clone(&app.feed));
    HealthCheck {
        name: Check::Queue,
        period: CHEAP_EVERY,
        deadline: CHEAP_DEADLINE,
        gates: false,
        run: Box::new(move || look(&asked)),
        heal: Some(Heal {
            action: "reconnect",
            every: HEAL_EVERY,
            run: Box::new(move || reconnect(&healed)),
        }),
    }
}

fn look(feed: &Desk) -> Answer {
    match feed.status() {
        Status::Unknown => Answer::disabled("queue.url names no Redis"),
        Status::Fine => Answer::ok(),
        Status::Away(error) => {
            Answer::degraded(format!("{error}; workers ask the master meanwhile"))
        }
    }
}

/// Connects anew, makes the streams and their groups, and lists what waits.
fn reconnect(feed: &Desk) -> Result<String, String> {
    feed.bell.ring();
    let until = Instant::now() + RECONNECT_WITHIN;
    loop {
        match feed.status() {
            Status::Away(error) if Instant::now() >= until => return Err(error),
            Status::Away(_) => thread::sleep(LOOK_EVERY),
            Status::Fine | Status::Unknown => {
                return Ok(
                    "connected anew; streams and groups are there, and what waits is listed"
                        .to_owned(),
                );
            }
        }
    }
}
