//! As much of a browser as signing in takes: cookies and redirects.

use std::collections::BTreeMap;

use ureq::Agent;
use ureq::http::Request;

use crate::master::DEADLINE;

/// Redirects in a row: a sign-in has some eight.
const REDIRECTS_MAX: usize = 20;

/// Keeps cookies, by origin.
#[derive(Default)]
pub(crate) struct Browser {
    jar: BTreeMap<String, BTreeMap<String, String>>,
}

/// What it shows.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) location: Option<String>,
}

impl Browser {
    /// A server is at another address now.
    pub(crate) fn moved(&mut self, from: &str, to: &str) {
        let cookies = self.jar.remove(from).unwrap_or_default();
        self.jar.insert(to.to_owned(), cookies);
    }

    /// Goes there, and wherever that leads.
    #[track_caller]
    pub(crate) fn get(&mut self, url: &str) -> Page {
        let mut page = self.get_once(url);
        for _ in 0..REDIRECTS_MAX {
            let Some(to) = page.location.clone() else {
                return page;
            };
            page = self.get_once(&absolute(&page.url, &to));
        }
        panic!("{url} leads round and round: {page:?}")
    }

    /// Goes there, and on until it would be led to this address; that, with its query.
    #[track_caller]
    pub(crate) fn led_to(&mut self, url: &str, wanted: &str) -> String {
        let mut page = self.get_once(url);
        for _ in 0..REDIRECTS_MAX {
            let to = page.location.clone();
            let to = absolute(&page.url, &to.unwrap_or_else(|| panic!("{page:?}")));
            if to.starts_with(wanted) {
                return to;
            }
            page = self.get_once(&to);
        }
        panic!("{url} doesn't lead to {wanted}: {page:?}")
    }

    /// Goes there.
    #[track_caller]
    pub(crate) fn get_once(&mut self, url: &str) -> Page {
        self.send(url, None)
    }

    /// Sends a form from a page of the same server.
    #[track_caller]
    pub(crate) fn post(&mut self, url: &str, form: &str) -> Page {
        self.send(url, Some(form))
    }

    #[track_caller]
    fn send(&mut self, url: &str, form: Option<&str>) -> Page {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(DEADLINE))
            .build()
            .new_agent();
        let own = self.jar.entry(origin(url)).or_default();
        let cookies: Vec<String> = own
            .iter()
            .map(|(name, it)| format!("{name}={it}"))
            .collect();
        let method = if form.is_some() { "POST" } else { "GET" };
        let mut request = Request::builder().method(method).uri(url);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if form.is_some() {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .header("sec-fetch-site", "same-origin");
        }
        let request = request.body(form.unwrap_or_default().to_owned()).unwrap();
        let mut answer = agent
            .run(request)
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        for set in answer.headers().get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                own.remove(name);
            } else {
                own.insert(name.to_owned(), value.to_owned());
            }
        }
        let location = answer.headers().get("location");
        let location = location.map(|it| it.to_str().unwrap().to_owned());
        Page {
            url: url.to_owned(),
            status: answer.status().as_u16(),
            text: answer.body_mut().read_to_string().unwrap(),
            location,
        }
    }
}

fn origin(url: &str) -> String {
    url.split('/').take(3).collect::<Vec<_>>().join("/")
}

fn absolute(from: &str, to: &str) -> String {
    match to.starts_with('/') {
        true => format!("{}{to}", origin(from)),
        false => to.to_owned(),
    }
}
