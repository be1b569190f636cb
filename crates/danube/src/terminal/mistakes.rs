//! Mistakes in what a person wrote, with the lines in which they stand.

use danube_model::{Mistake, Mistakes, Source};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};
use serde_json::{Value, json};

use super::{Screen, clean};

/// Lines longer than this are wrapped; narrower terminals wrap earlier.
const COLUMNS_MAX: usize = 100;

/// Every mistake: those in a text with the line, the others with their name.
pub(crate) fn as_text(mistakes: &Mistakes, screen: &Screen) -> String {
    let theme = if screen.err_colours() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_width(screen.err_columns().min(COLUMNS_MAX));
    let mut text = String::new();
    for mistake in &mistakes.list {
        match &mistakes.source {
            Some(source) if mistake.at.is_some() => {
                let located = Located::new(mistake, source);
                handler
                    .render_report(&mut text, &located)
                    .expect("writing to a String");
            }
            source => {
                let name = source.as_ref().filter(|_| mistake.pointer.is_empty());
                let name = name.map(|it| format!("{}: ", clean(&it.name)));
                text.push_str(&format!(
                    "  × {}{} [{}]\n",
                    name.unwrap_or_default(),
                    clean(&mistake.to_string()),
                    mistake.code
                ));
                if let Some(help) = &mistake.help {
                    text.push_str(&format!("  help: {}\n", clean(help)));
                }
            }
        }
    }
    text
}

/// The same for programs.
pub(crate) fn as_json(mistakes: &Mistakes) -> Vec<Value> {
    let file = mistakes.source.as_ref().map(|it| it.name.as_str());
    let one = |mistake: &Mistake| {
        json!({
            "code": mistake.code,
            "file": file.filter(|_| mistake.at.is_some() || mistake.pointer.is_empty()),
            "pointer": mistake.pointer,
            "line": mistake.at.map(|at| at.line),
            "column": mistake.at.map(|at| at.column),
            "message": mistake.message,
            "help": mistake.help,
        })
    };
    mistakes.list.iter().map(one).collect()
}

/// A mistake and the text in which it stands. The place is shown with the
/// text, so the message doesn't repeat it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Located<'a> {
    message: String,
    mistake: &'a Mistake,
    source_code: NamedSource<String>,
}

impl<'a> Located<'a> {
    fn new(mistake: &'a Mistake, source: &Source) -> Self {
        // What stands in a file may be meant for our terminal. As many bytes as
        // before, so that the places stay right.
        let mut text = String::with_capacity(source.text.len());
        for it in source.text.chars() {
            if it.is_control() && it != '\n' && it != '\t' {
                text.push_str(&"?".repeat(it.len_utf8()));
            } else {
                text.push(it);
            }
        }
        Self {
            message: format!("{} [{}]", clean(&mistake.message), mistake.code),
            mistake,
            source_code: NamedSource::new(clean(&source.name), text),
        }
    }
}

impl Diagnostic for Located<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let help = self.mistake.help.as_ref()?;
        Some(Box::new(clean(help)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source_code)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.mistake.labels()
    }
}
