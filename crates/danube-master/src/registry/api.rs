//! Calls of a registry's HTTP API, version 2. Each may block for [`CALL_DEADLINE`].
//!
//! Whatever the registry answers is checked before it stands in an address: names, tags and
//! digests have the forms that the specification of OCI's distribution gives them.

use std::time::{Duration, Instant};

use danube_telemetry::outgoing::{self, NoRoots};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::http::header::{ACCEPT, AUTHORIZATION, LINK};
use ureq::{Agent, Body};

use super::names::{is_digest, is_image_name, is_tag};
use crate::settings::RegistryAddress;

/// How long a call may take: a registry that is asked for little answers in milliseconds.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// Bytes of an answer: a manifest has 4 MiB at most, and lists come in pages.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Names that are asked for at once.
const PAGE: usize = 1_000;

/// Who calls. The registry tells it in its notifications, where our own looks don't count.
pub(super) const USER_AGENT: &str = concat!("danube/", env!("CARGO_PKG_VERSION"));

/// The header in which a registry says what a manifest hashes to.
const DIGEST: &str = "docker-content-digest";

/// Every form of manifest, so that an image is given as it was pushed.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry that can be called.
#[derive(Clone)]
pub(crate) struct Api {
    address: RegistryAddress,
    /// Or why there is none.
    agent: Result<Agent, NoRoots>,
    /// When all that is asked for has to be answered; none for a single call.
    until: Option<Instant>,
}

/// What an image consists of.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) config: Option<Part>,
    #[serde(default)]
    pub(super) layers: Vec<Part>,
    /// Of an index: the images of which it is one.
    #[serde(default)]
    pub(super) manifests: Vec<Part>,
}

/// Something that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Part {
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Api {
    pub(crate) fn new(address: &RegistryAddress) -> Self {
        Self {
            agent: outgoing::agent(&address.url, USER_AGENT),
            address: address.clone(),
            until: None,
        }
    }

    /// For many calls, which together may take so long: what is called later fails at once.
    pub(super) fn within(self, time: Duration) -> Self {
        Self {
            until: Some(Instant::now() + time),
            ..self
        }
    }

    /// Whether it is there: `GET /v2/`. One that wants a login which nobody gave us is there.
    pub(crate) fn answers(&self) -> Result<(), String> {
        match self.call("GET", "")?.status().as_u16() {
            200 => Ok(()),
            401 if self.address.authorization.is_none() => Ok(()),
            other => Err(self.refused("GET", "", other)),
        }
    }

    /// The repositories, as many as there may be; more are an error.
    pub(super) fn repositories(&self, max: usize) -> Result<Vec<String>, String> {
        let mut all: Vec<String> = Vec::new();
        loop {
            // The page after the last: the address of its own that the registry gives isn't
            // followed, since it may lead anywhere.
            let last = all
                .last()
                .map_or_else(String::new, |it| format!("&last={it}"));
            let path = format!("_catalog?n={PAGE}{last}");
            let answer = self.call("GET", &path)?;
            let has_more = answer.headers().contains_key(LINK);
            let page: Catalog = self.read(answer, "GET", &path)?;
            let page = page.repositories.unwrap_or_default();
            let is_over = page.is_empty() || !has_more;
            all.extend(page.into_iter().filter(|it| is_image_name(it)));
            if all.len() > max {
                return Err(format!(
                    "{} has more than {max} repositories",
                    self.address.url
                ));
            }
            if is_over {
                return Ok(all);
            }
        }
    }

    /// The tags of a repository; none of one that has just gone.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>, String> {
        let path = format!("{repository}/tags/list");
        let answer = self.call("GET", &path)?;
        if answer.status() == 404 {
            return Ok(Vec::new());
        }
        let tags: Tags = self.read(answer, "GET", &path)?;
        let tags = tags.tags.unwrap_or_default();
        Ok(tags.into_iter().filter(|it| is_tag(it)).collect())
    }

    /// What a tag stands for now; none when it has just gone.
    pub(super) fn digest(&self, repository: &str, tag: &str) -> Result<Option<String>, String> {
        let path = format!("{repository}/manifests/{tag}");
        let answer = self.call("HEAD", &path)?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            other => return Err(self.refused("HEAD", &path, other)),
        }
        let digest = answer.headers().get(DIGEST);
        let digest = digest.and_then(|it| it.to_str().ok());
        match digest.filter(|it| is_digest(it)) {
            Some(it) => Ok(Some(it.to_owned())),
            None => Err(format!("{}: {path} has no digest", self.address.url)),
        }
    }

    /// A manifest; none when it has just gone.
    pub(super) fn manifest(
        &self,
        repository: &str,
        digest: &str,
    ) -> Result<Option<Manifest>, String> {
        let path = format!("{repository}/manifests/{digest}");
        let answer = self.call("GET", &path)?;
        if answer.status() == 404 {
            return Ok(None);
        }
        self.read(answer, "GET", &path).map(Some)
    }

    /// Deletes an image with all of its tags; whether it was there.
    pub(super) fn delete(&self, repository: &str, digest: &str) -> Result<bool, String> {
        let path = format!("{repository}/manifests/{digest}");
        match self.call("DELETE", &path)?.status().as_u16() {
            202 => Ok(true),
            404 => Ok(false),
            405 => Err(format!(
                "{} deletes nothing: set storage.delete.enabled in its configuration",
                self.address.url
            )),
            other => Err(self.refused("DELETE", &path, other)),
        }
    }

    fn call(&self, method: &str, path: &str) -> Result<Response<Body>, String> {
        let url = &self.address.url;
        let agent = self.agent.as_ref().map_err(ToString::to_string)?;
        let left = self
            .until
            .map(|it| it.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(format!("{url} doesn't answer all that it is asked in time"));
        }
        let deadline = left.map_or(CALL_DEADLINE, |it| it.min(CALL_DEADLINE));
        let address = format!("{url}/v2/{path}");
        let mut request = match method {
            "HEAD" => agent.head(address),
            "DELETE" => agent.delete(address),
            _ => agent.get(address),
        };
        request = request.header(ACCEPT, MANIFESTS);
        if let Some(login) = &self.address.authorization {
            request = request.header(AUTHORIZATION, login);
        }
        let asked = request
            .config()
            .timeout_global(Some(deadline))
            .build()
            .call();
        asked.map_err(|error| format!("{url}: {error}"))
    }

    fn read<T: DeserializeOwned>(
        &self,
        mut answer: Response<Body>,
        method: &str,
        path: &str,
    ) -> Result<T, String> {
        if answer.status() != 200 {
            return Err(self.refused(method, path, answer.status().as_u16()));
        }
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let url = &self.address.url;
        let body = body
            .read_to_vec()
            .map_err(|it| format!("{url}: {path}: {it}"))?;
        serde_json::from_slice(&body).map_err(|it| format!("{url}: {path}: {it}"))
    }

    fn refused(&self, method: &str, path: &str, status: u16) -> String {
        let url = &self.address.url;
        match status {
            401 if self.address.authorization.is_none() => {
                format!("{url} wants a login for {method} /v2/{path}; put it into registry.url")
            }
            401 | 403 => format!("{url} refuses the login of registry.url for {method} /v2/{path}"),
            other => {
                format!("{url} answers {method} /v2/{path} with status {other}; is it a registry?")
            }
        }
    }
}
