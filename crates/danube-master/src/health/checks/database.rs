//! The database answers: a read, and a write that is rolled back.

use std::thread;
use std::time::{Duration, Instant};

use danube_signals::Check;
use danube_store::{Store, StoreError};

use super::super::check::{Answer, CHEAP_DEADLINE, CHEAP_EVERY, Heal, HealthCheck};
use crate::app::Shared;

/// How long a read and a write may take while all is well.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long the writer may be at one transaction without a sign of life. Waiting for
/// another process's lock is one.
const WRITER_SILENT_MAX: Duration = Duration::from_secs(5);

/// How often healing looks at the writer.
const WRITER_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Locks are cleared at most this often.
const HEAL_EVERY: Duration = Duration::from_secs(15);

pub(super) fn check(app: &Shared) -> HealthCheck {
    let (asked, healed) = (app.store.clone(), app.store.clone());
    HealthCheck {
        name: Check::Database,
        period: CHEAP_EVERY,
        deadline: CHEAP_DEADLINE,
        gates: true,
        run: Box::new(move || look(&asked)),
        heal: Some(Heal {
            action: "clear_locks",
            every: HEAL_EVERY,
            run: Box::new(move || clear_locks(&healed)),
        }),
    }
}

fn look(store: &Store) -> Answer {
    let asked = Instant::now();
    match store.ping().and_then(|()| store.write_probe().wait()) {
        // The probe itself needs no room and would go on saying ok.
        Ok(()) if store.is_out_of_space() => {
            let message = format!("{}; make room on its disk", StoreError::NoSpace);
            Answer::failed(message).beyond_healing()
        }
        Ok(()) if asked.elapsed() <= ANSWER_MAX => Answer::ok(),
        Ok(()) => Answer::degraded(format!(
            "a read and a write took {} ms",
            asked.elapsed().as_millis()
        ))
        .beyond_healing(),
        Err(error @ StoreError::Locked(_)) => Answer::failed(format!("{error}{}", holder(store))),
        Err(error) => Answer::failed(error.to_string()),
    }
}

/// Who has the lock, where the kernel tells.
fn holder(store: &Store) -> String {
    store.write_lock_holder().map_or_else(String::new, |it| {
        format!(
            "; process {} ({}) holds it: end that process",
            it.pid, it.program
        )
    })
}

/// Rolls a writer back that outlived its limit, writes SQLite's log back and opens the
/// connection anew.
fn clear_locks(store: &Store) -> Result<String, String> {
    let mut rolled_back = false;
    let until = Instant::now() + 2 * WRITER_SILENT_MAX;
    while !store.writer_silent_for().is_zero() && Instant::now() < until {
        rolled_back |= store.interrupt_writer(WRITER_SILENT_MAX);
        thread::sleep(WRITER_LOOK_EVERY);
    }
    match store.reopen().wait() {
        Ok(()) if rolled_back => Ok(
            "a write that took too long was rolled back, SQLite's log written back, the connection opened anew".to_owned(),
        ),
        Ok(()) => Ok("SQLite's log was written back and the connection opened anew".to_owned()),
        Err(error) => Err(format!("{error}{}", holder(store))),
    }
}
