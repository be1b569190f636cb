//! A line on standard error that says what we wait for, and how long already.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Screen;
use super::table::cut;

/// How often the line is drawn again.
const TICK: Duration = Duration::from_millis(120);

/// A wait shorter than this isn't worth a line.
const SHOWN_AFTER: Duration = Duration::from_millis(400);

/// Columns of a frame, the gap behind it, and the last of a line, which some terminals wrap at.
const FRAME_COLUMNS: usize = 3;

const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Shown on a terminal only, and gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    wanted: bool,
    since: Instant,
    frame: usize,
    /// The terminal's width: a line that is longer would stay when it is drawn again.
    columns: usize,
}

impl Progress {
    /// Nothing is drawn before the first tick.
    pub(crate) fn new(screen: &Screen) -> Self {
        Self {
            shown: false,
            wanted: screen.err_is_terminal && !screen.is_json(),
            since: Instant::now(),
            frame: 0,
            columns: screen.err_columns(),
        }
    }

    /// Draws the line.
    pub(crate) fn tick(&mut self, what: &str) {
        let elapsed = self.since.elapsed();
        if !self.wanted || elapsed < SHOWN_AFTER {
            return;
        }
        self.frame = (self.frame + 1) % FRAMES.len();
        let (frame, seconds) = (FRAMES[self.frame], elapsed.as_secs());
        let time = format!("  {seconds} s");
        let room = self.columns.saturating_sub(time.len() + FRAME_COLUMNS);
        let what = cut(what, room);
        let _ = write!(std::io::stderr(), "\r{frame} {what}{time}\x1b[K");
        self.shown = true;
    }

    /// How long to wait for something else before the next tick; `otherwise`
    /// when there is nothing to draw.
    pub(crate) fn tick_every(&self, otherwise: Duration) -> Duration {
        if self.wanted {
            TICK.min(otherwise)
        } else {
            otherwise
        }
    }

    /// Takes the line away, before something else is written.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
