//! Ctrl-C while a job is followed: the job goes on, and we say so.

use std::io::{IsTerminal, Write};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Screen;

/// From now on an interrupt says `message` and `hint` and ends the program.
pub(crate) fn says(screen: &Screen, message: String, hint: String) -> Result<(), Failure> {
    let failure = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            "signals",
            format!("watch for interrupts: {error}"),
        )
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failure)?;
    // Registered here, so that no interrupt is missed once this returns.
    let mut interrupts = {
        let _inside = runtime.enter();
        signal(SignalKind::interrupt()).map_err(failure)?
    };
    let screen = screen.clone();
    let wait = move || {
        runtime.block_on(interrupts.recv());
        if std::io::stdout().is_terminal() {
            // The log may have left a colour on.
            let _ = std::io::stdout().write_all(b"\x1b[0m\n");
        }
        Failure::new(Exit::Interrupted, "interrupted", message)
            .hint(hint)
            .tell(&screen);
        std::process::exit(i32::from(Exit::Interrupted.number()));
    };
    let started = thread::Builder::new().name("interrupts".into()).spawn(wait);
    started.map(drop).map_err(failure)
}
