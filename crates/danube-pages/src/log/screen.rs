//! One line as a terminal shows it: characters in columns, which later ones overwrite.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthChar;

use super::pen::Pen;
use super::row::Run;

/// Columns of a line that are kept. A line that is read on a screen has a hundred; the rest of a
/// longer one is counted, and one click away.
pub const COLUMNS_MAX: usize = 4_096;

/// Pieces of a line with a class of their own. What comes after has none: the text stays, and no
/// line makes a page heavy by a colour for each letter.
const RUNS_MAX: usize = 400;

/// Marks that one character may carry. Nothing written needs more.
const MARKS_MAX: usize = 4;

/// The class of what stands for a character that can't be seen.
const UNSEEN: &str = "c";

/// One line.
#[derive(Debug, Default)]
pub(super) struct Screen {
    cells: Vec<Cell>,
    /// Marks over and under characters, by column.
    marks: BTreeMap<usize, Vec<char>>,
    column: usize,
    /// Bytes of text past the last column, and of them those since the cursor came there last.
    left_out_bytes: u64,
    pass_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    glyph: Glyph,
    pen: Pen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glyph {
    Char(char),
    /// A character that can't be seen, or moves others: its number is shown.
    Unseen(char),
    /// The second column of a wide character.
    Rest,
}

const BLANK: Glyph = Glyph::Char(' ');

impl Screen {
    /// Where the next character goes, counted from 0.
    pub(super) fn column(&self) -> usize {
        self.column
    }

    /// Moves there; no further than what is kept.
    pub(super) fn go(&mut self, column: usize) {
        self.column = column.min(COLUMNS_MAX);
        self.pass_bytes = 0;
    }

    /// Writes a character.
    pub(super) fn write(&mut self, char: char, pen: Pen) {
        if is_unseen(char) {
            self.put(Glyph::Unseen(char), 1, (char, pen));
            return;
        }
        match char.width() {
            Some(0) => self.mark(char, pen),
            width => self.put(Glyph::Char(char), width.unwrap_or(1), (char, pen)),
        }
    }

    fn put(&mut self, glyph: Glyph, width: usize, (char, pen): (char, Pen)) {
        let after = self.column + width;
        if after > COLUMNS_MAX {
            self.column = COLUMNS_MAX;
            self.leave_out(char);
            return;
        }
        while self.cells.len() < after {
            let pen = Pen::default();
            self.cells.push(Cell { glyph: BLANK, pen });
        }
        self.split(self.column);
        self.split(after);
        self.cells[self.column] = Cell { glyph, pen };
        self.marks.remove(&self.column);
        for column in self.column + 1..after {
            let glyph = Glyph::Rest;
            self.cells[column] = Cell { glyph, pen };
            self.marks.remove(&column);
        }
        self.column = after;
    }

    fn leave_out(&mut self, char: char) {
        self.pass_bytes += char.len_utf8() as u64;
        self.left_out_bytes = self.left_out_bytes.max(self.pass_bytes);
    }

    /// A wide character of which only a half would stay goes as a whole.
    fn split(&mut self, column: usize) {
        if self
            .cells
            .get(column)
            .is_some_and(|it| it.glyph == Glyph::Rest)
        {
            self.cells[column - 1].glyph = BLANK;
            self.cells[column].glyph = BLANK;
            self.marks.remove(&(column - 1));
        }
    }

    /// Puts a mark on the character before.
    fn mark(&mut self, char: char, pen: Pen) {
        if self.pass_bytes > 0 {
            return self.leave_out(char);
        }
        let glyph = |column: usize| self.cells.get(column).map(|it| it.glyph);
        let before = self.column.checked_sub(1);
        let before = before.map(|it| {
            if glyph(it) == Some(Glyph::Rest) {
                it - 1
            } else {
                it
            }
        });
        match before {
            Some(column) if matches!(glyph(column), Some(Glyph::Char(_))) => {
                let marks = self.marks.entry(column).or_default();
                if marks.len() < MARKS_MAX {
                    marks.push(char);
                }
            }
            // There is nothing that could carry it.
            _ => self.put(Glyph::Unseen(char), 1, (char, pen)),
        }
    }

    /// Erases from the cursor to the end.
    pub(super) fn erase_after(&mut self) {
        self.split(self.column);
        self.cells.truncate(self.column);
        let _ = self.marks.split_off(&self.column);
        (self.left_out_bytes, self.pass_bytes) = (0, 0);
    }

    /// Erases from the beginning to the cursor.
    pub(super) fn erase_before(&mut self) {
        let end = (self.column + 1).min(self.cells.len());
        self.split(end);
        let pen = Pen::default();
        self.cells[..end].fill(Cell { glyph: BLANK, pen });
        self.marks = self.marks.split_off(&end);
    }

    /// Erases all; the cursor stays.
    pub(super) fn erase(&mut self) {
        let column = self.column;
        self.clear();
        self.column = column;
    }

    /// A new line.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.marks.clear();
        self.column = 0;
        (self.left_out_bytes, self.pass_bytes) = (0, 0);
    }

    /// Bytes of text that didn't fit.
    pub(super) fn left_out_bytes(&self) -> u64 {
        self.left_out_bytes
    }

    /// What stands there, in pieces that are written alike.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut last: Option<(Pen, bool)> = None;
        for (column, cell) in self.cells.iter().enumerate() {
            let (is_unseen, char) = match cell.glyph {
                Glyph::Rest => continue,
                Glyph::Char(char) => (false, char),
                Glyph::Unseen(char) => (true, char),
            };
            let of = (cell.pen, is_unseen);
            if last != Some(of) && runs.len() < RUNS_MAX {
                let class = if is_unseen {
                    UNSEEN.to_owned()
                } else {
                    cell.pen.class()
                };
                let is_rest = runs.len() + 1 == RUNS_MAX;
                runs.push(Run {
                    class: if is_rest { String::new() } else { class },
                    text: String::new(),
                });
            }
            last = Some(of);
            if let Some(run) = runs.last_mut() {
                if is_unseen {
                    run.text.push_str(&format!("<U+{:04X}>", u32::from(char)));
                } else {
                    run.text.push(char);
                }
                run.text
                    .extend(self.marks.get(&column).into_iter().flatten());
            }
        }
        runs
    }
}

/// Whether a character shows nothing, or moves others: controls, what turns the direction of a
/// text, separators of lines, and what only programs look at. Joiners stay, which the writing of
/// Persian and emoji is made of.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}
