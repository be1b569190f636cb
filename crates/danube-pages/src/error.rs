//! A page that can't be shown, and why.

use askama::Template;
use serde::Serialize;

use crate::{Page, Shell, Tab};

/// What went wrong, as the API says it.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorPage {
    /// The HTTP status.
    pub status: u16,
    /// In a few words: `Not found`.
    pub title: String,
    /// What, where and what to do.
    pub detail: String,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a ErrorPage,
}

impl Page for ErrorPage {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn tab(&self) -> Option<Tab> {
        None
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }
}
