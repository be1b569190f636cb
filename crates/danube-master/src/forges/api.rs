//! Where a forge's API is, and how it is asked.

use std::time::Duration;

use danube_model::ForgeKind;
use danube_outgoing::{Answer, Ask, Client, Limits};

use super::Forge;

/// How it is told who asks: a header that hides its value from logs.
pub(super) type Header = (&'static str, String);

/// The API of a forge, and who asks. Holds a token: there is no `Debug`.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) kind: ForgeKind,
    base: String,
    /// None where the forge has no token.
    pub(super) authorization: Option<Header>,
}

impl Api {
    pub(super) fn of(forge: &Forge) -> Self {
        let url = forge.url.trim_end_matches('/');
        let base = match forge.kind {
            ForgeKind::GitHub if url.eq_ignore_ascii_case("https://github.com") => {
                "https://api.github.com".to_owned()
            }
            ForgeKind::GitHub => format!("{url}/api/v3"),
            ForgeKind::GitLab => format!("{url}/api/v4"),
            ForgeKind::Gitea => format!("{url}/api/v1"),
        };
        let authorization = forge.token.as_ref().map(|token| {
            let token = token.reveal();
            match forge.kind {
                ForgeKind::GitHub => ("authorization", format!("Bearer {token}")),
                ForgeKind::GitLab => ("private-token", token.to_owned()),
                ForgeKind::Gitea => ("authorization", format!("token {token}")),
            }
        });
        Self {
            kind: forge.kind,
            base,
            authorization,
        }
    }

    /// An address below it.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// The path of a repository.
    pub(super) fn repository(&self, name: &str) -> String {
        match self.kind {
            ForgeKind::GitHub | ForgeKind::Gitea => format!("repos/{name}"),
            // The whole name is one part of the path.
            ForgeKind::GitLab => format!("projects/{}", name.replace('/', "%2F")),
        }
    }

    /// What goes along with every call.
    pub(super) fn ask(&self, limits: Limits) -> Ask {
        Ask {
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("accept", "application/json".to_owned()),
            ],
            credentials: self.authorization.iter().cloned().collect(),
            limits,
        }
    }

    /// Asks for what lies there. Blocks.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn get(
        &self,
        client: &Client,
        path: &str,
        (total, body_bytes): (Duration, u64),
    ) -> Result<Answer, String> {
        let checked = client.policy().check(&self.at(path));
        let target = checked.map_err(|why| format!("its address {why}"))?;
        let limits = Limits {
            total,
            body_bytes,
            ..Limits::default()
        };
        let done = client.get(&target, &self.ask(limits));
        done.outcome.map_err(|failure| failure.to_string())
    }
}
