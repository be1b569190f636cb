//! What every page is.

use serde::Serialize;

use crate::shell::{Shell, Tab};

/// A page's value. Its JSON is what programs get that ask for `application/json`.
pub trait Page: Serialize {
    /// What the window and the history of the browser show; without the product's name.
    fn title(&self) -> String;

    /// The entry of the navigation that it belongs to.
    fn tab(&self) -> Option<Tab>;

    /// The page, whole.
    ///
    /// # Errors
    /// Where a template can't be written, which no value of ours makes happen.
    fn html(&self, shell: &Shell) -> askama::Result<String>;

    /// Where the browser hears that it changed, below the base path; none of a page that doesn't.
    fn live(&self) -> Option<String> {
        None
    }
}
