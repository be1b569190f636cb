//! The log of a job: a window of its lines as a terminal shows them, folded, and searched.

mod outline;
mod page;
#[cfg(test)]
mod page_tests;
mod pen;
mod row;
mod screen;
mod terminal;
#[cfg(test)]
mod tests;
mod times;

pub(crate) use outline::Item;
pub use outline::{FoldKind, LogFold};
pub use page::{Find, LINES_MAX, LINES_SHOWN, LogPage, LogView, LogWindow, WINDOW_BYTES_MAX};
pub use row::{Gap, GapReason, Group, Row, Run, Stream};
pub use screen::COLUMNS_MAX;
pub use terminal::{LineAt, Terminal};
pub use times::Times;

/// A text as one line shows it, without its looks.
#[must_use]
pub fn plain(bytes: &[u8]) -> String {
    let mut terminal = Terminal::new();
    terminal.push(bytes);
    let at = LineAt {
        line: 1,
        continues: false,
        offset: 0,
        time_us: None,
        stream: Stream::default(),
    };
    terminal.end_line(at, 0).text()
}
