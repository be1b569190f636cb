//! The pages of the sign-in and of the sign-out.

use askama::Template;
use serde::Serialize;

use crate::{Page, Shell, Tab};

/// Asks who somebody is.
#[derive(Debug, Clone, Serialize)]
pub struct LoginPage {
    /// Why they aren't signed in yet; empty before they have tried.
    pub message: String,
    /// Whether users sign in at a provider.
    pub is_oidc: bool,
    /// The page that they asked for, below the base path; empty for the first one.
    pub next: String,
}

/// Asks whether a program of this machine may act as who is signed in.
#[derive(Debug, Clone, Serialize)]
pub struct TerminalPage {
    /// Who is signed in.
    pub user: String,
    /// The port at which the program waits.
    pub port: u16,
    /// Its challenge (RFC 7636).
    pub challenge: String,
    /// What it recognises the answer by.
    pub state: String,
}

/// Says that nobody was signed out.
#[derive(Debug, Clone, Serialize)]
pub struct StayedPage {
    /// Why not.
    pub why: String,
}

macro_rules! page {
    ($page:ty, $html:ident, $path:literal, $title:literal) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $html<'a> {
            shell: &'a Shell,
            page: &'a $page,
        }

        impl Page for $page {
            fn title(&self) -> String {
                $title.to_owned()
            }

            fn tab(&self) -> Option<Tab> {
                None
            }

            fn html(&self, shell: &Shell) -> askama::Result<String> {
                $html { shell, page: self }.render()
            }
        }
    };
}

page!(LoginPage, LoginHtml, "login.html", "Log in");
page!(TerminalPage, TerminalHtml, "terminal.html", "Log in");
page!(StayedPage, StayedHtml, "logout.html", "Still signed in");
