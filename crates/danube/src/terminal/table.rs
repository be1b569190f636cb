//! Tables that fit the terminal.

use unicode_width::UnicodeWidthChar;

use super::{Colour, Screen, clean};

/// Columns between two columns of a table.
const GAP: usize = 2;

/// A column is not cut below this width: an ellipsis alone says nothing.
const CUT_MIN: usize = 8;

/// One cell: text from anywhere, made safe, and a colour.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
    /// Stands at the right of its column.
    is_number: bool,
}

impl Cell {
    /// A cell without colour; empty text shows as `-`.
    pub(crate) fn new(text: &str) -> Self {
        let text = if text.is_empty() {
            "-".to_owned()
        } else {
            clean(text)
        };
        Self {
            text,
            colour: None,
            is_number: false,
        }
    }

    /// A cell that stands at the right, so that numbers can be compared.
    pub(crate) fn number(text: &str) -> Self {
        Self {
            is_number: true,
            ..Self::new(text)
        }
    }

    /// The same with a colour.
    pub(crate) fn coloured(self, colour: Colour) -> Self {
        Self {
            colour: Some(colour),
            ..self
        }
    }

    /// A cell with the colour of a status.
    pub(crate) fn status(status: &str) -> Self {
        Self {
            colour: Some(Colour::of_status(status)),
            ..Self::new(status)
        }
    }
}

/// Rows below a head.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// Columns that give way when the terminal is narrow, the first first.
    give_way: &'static [usize],
}

impl Table {
    /// A table with these heads; the columns in `give_way` may be cut.
    pub(crate) fn new(head: &[&'static str], give_way: &'static [usize]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
            give_way,
        }
    }

    /// Adds a row of as many cells as there are heads.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.head.len());
        self.rows.push(cells);
    }

    /// The table as text, as wide as the terminal or as it needs.
    pub(crate) fn render(&self, screen: &Screen, with_head: bool) -> String {
        let widths = self.widths(screen.out_columns());
        let mut text = String::new();
        if with_head {
            line(&mut text, &self.heads(), &widths, &|_, it| {
                screen.paint(Colour::Dim, it)
            });
        }
        for row in &self.rows {
            line(&mut text, row, &widths, &|cell, it| match cell.colour {
                Some(colour) => screen.paint(colour, it),
                None => it.to_owned(),
            });
        }
        text
    }

    /// The heads, each above what stands in its column.
    fn heads(&self) -> Vec<Cell> {
        let head = |(at, text): (usize, &&str)| Cell {
            is_number: self.rows.first().is_some_and(|it| it[at].is_number),
            ..Cell::new(text)
        };
        self.head.iter().enumerate().map(head).collect()
    }

    /// The widths of its columns where so many are there.
    pub(crate) fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|it| width(it)).collect();
        for row in &self.rows {
            for (have, cell) in widths.iter_mut().zip(row) {
                *have = (*have).max(width(&cell.text));
            }
        }
        let Some(columns) = columns else {
            return widths;
        };
        for &column in self.give_way {
            let all = widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
            let over = all.saturating_sub(columns);
            let least = widths[column].min(CUT_MIN);
            widths[column] = widths[column].saturating_sub(over).max(least);
        }
        widths
    }
}

fn line(
    text: &mut String,
    cells: &[Cell],
    widths: &[usize],
    paint: &dyn Fn(&Cell, &str) -> String,
) {
    for (at, (cell, &wide)) in cells.iter().zip(widths).enumerate() {
        let shown = cut(&cell.text, wide);
        let blank = wide - width(&shown);
        let (before, after) = if cell.is_number {
            (blank, 0)
        } else {
            (0, blank)
        };
        text.push_str(&" ".repeat(before));
        text.push_str(&paint(cell, &shown));
        // No blanks behind the last column: they wrap on narrow terminals.
        if at + 1 < cells.len() {
            text.push_str(&" ".repeat(after + GAP));
        }
    }
    text.push('\n');
}

fn width(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// `text` in at most `wide` columns, with an ellipsis when it is longer.
pub(super) fn cut(text: &str, wide: usize) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let mut left = wide.saturating_sub(1);
    let mut short: String = text
        .chars()
        .take_while(|it| {
            let needs = it.width().unwrap_or(0);
            let fits = needs <= left;
            left = left.saturating_sub(needs);
            fits
        })
        .collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "PIPELINE", "REF"], &[1, 2]);
        table.row(vec![
            Cell::new("abc"),
            Cell::new("a-long-pipeline-name"),
            Cell::new("main"),
        ]);
        table.row(vec![Cell::new("def"), Cell::new("流水线"), Cell::new("")]);
        table
    }

    #[test]
    fn in_a_pipe_nothing_is_cut() {
        let text = table().render(&Screen::plain(), true);
        assert_eq!(
            text,
            "ID   PIPELINE              REF\n\
             abc  a-long-pipeline-name  main\n\
             def  流水线                -\n"
        );
    }

    #[test]
    fn numbers_stand_at_the_right_below_their_head() {
        let mut table = Table::new(&["STEP", "TIME"], &[]);
        table.row(vec![Cell::new("build"), Cell::number("7 ms")]);
        table.row(vec![Cell::new("test"), Cell::number("1 m 03 s")]);
        assert_eq!(
            table.render(&Screen::plain(), true),
            "STEP       TIME\n\
             build      7 ms\n\
             test   1 m 03 s\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_columns_that_give_way() {
        assert_eq!(table().widths(Some(25)), [3, 14, 4]);
        assert_eq!(table().widths(Some(5)), [3, 8, 4]);
        assert_eq!(table().widths(Some(200)), [3, 20, 4]);
        assert_eq!(cut("a-long-pipeline-name", 8), "a-long-…");
        assert_eq!(cut("流水线", 5), "流水…");
        assert_eq!(cut("流水线", 4), "流…");
    }
}
