//! How often an address may show what isn't right, before it hears no more than that.
//!
//! It isn't what keeps keys from being guessed: they have 256 bits, and a right one passes however
//! many wrong ones came before it, or whoever shares an address with a guesser (behind a proxy,
//! everybody does) would be kept out by them. It bounds what a guesser costs others, and tells
//! them from a person who slipped.

use std::time::Instant;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use danube_api::{Code, Problem};

use super::answer::Refusal;
use super::caller::{is_private, key};
use super::pages::login_page;
use super::rights::{Right, Row};
use super::serve::Peer;
use crate::app::App;
use crate::rates::{Network, Rate};

/// Wrong keys, links and tokens of one address.
pub(crate) const RATE: Rate = Rate {
    burst: 60,
    per_second: 1.0,
};

/// Where one signs in: what is tried there stands in the address or in the body.
const LOGIN: &str = "/login";

const TOO_MANY: &str = "Too many wrong keys came from this address. A valid one is taken; try others again in a minute.";

/// Who tries, where a wrong answer would be one more try.
pub(crate) struct Try {
    network: Network,
    /// In a browser, which is answered with a page.
    is_login: bool,
}

impl Try {
    /// None where nothing is tried, or by nobody but this machine's own.
    pub(crate) fn of(app: &App, request: &Request, row: &Row) -> Option<Self> {
        if is_private(app) {
            return None;
        }
        let Peer(peer) = request.extensions().get::<Peer>()?;
        // Those of jobs die with them, while tools of theirs still send: that's nobody who tries.
        let is_of_jobs = matches!(row.right, Right::Token("job" | "coordinator"));
        let is_login = row.path == LOGIN;
        let tries = is_login || key(request.headers()).is_some();
        (tries && !is_of_jobs).then(|| Self {
            network: Network::of(*peer),
            is_login,
        })
    }

    /// The answer, if what was shown is right or there were few wrong ones.
    pub(crate) fn answered(self, app: &App, response: Response) -> Response {
        let is_wrong = response.status() == StatusCode::UNAUTHORIZED;
        if !is_wrong || app.tries.take(self.network, Instant::now()) {
            return response;
        }
        if self.is_login {
            return login_page(app, StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
        }
        Refusal(Problem::new(Code::TooMany, TOO_MANY)).into_response()
    }
}
