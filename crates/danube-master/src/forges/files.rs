//! Which files a request changes. No forge lists them in its message, so its API is asked, as
//! far as that needs no patience: forges give a webhook ten seconds.
//!
//! The list counts only if it is whole and of the very commit. Otherwise nothing is known, and
//! the reason is told to whoever reads the answer: a run more is better than one that is missing.
//!
//! It isn't reckoned from git: no clone of a pipeline's repository outlives its job, and a base
//! that two branches have in common may lie any number of commits deep.

use std::io::BufReader;
use std::time::{Duration, Instant};

use danube_model::ForgeKind;
use danube_outgoing::{Answer, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Forge;
use super::api::Api;
use super::message::Request;
use crate::app::{Shared, blocking};

/// Lookups at once: each takes a thread.
pub(super) const AT_ONCE_MAX: usize = 8;

/// How long one waits for its turn.
const TURN_DEADLINE: Duration = Duration::from_secs(1);

/// How long all calls of one may take together.
const DEADLINE: Duration = Duration::from_secs(5);

/// Files that are looked at. Who changes more changes something everywhere.
const FILES_MAX: usize = 1_000;

/// Entries of one page: as many as each forge gives by default at most.
const PAGE_GITEA: usize = 50;

/// The same of GitHub and GitLab.
const PAGE: usize = 100;

/// Bytes of one page, which holds what changed in each file, too.
const PAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The files; why they aren't known, else.
pub(super) async fn of(
    app: &Shared,
    forge: &Forge,
    (repository, request): (&str, &Request),
) -> Result<Vec<String>, String> {
    let turn = timeout(TURN_DEADLINE, app.forges.asking.acquire()).await;
    let _turn = turn
        .ok()
        .and_then(Result::ok)
        .ok_or("too many requests came at once to look at the files of this one")?;
    let api = Api::of(forge);
    let path = match forge.kind {
        ForgeKind::GitLab => "merge_requests",
        ForgeKind::GitHub | ForgeKind::Gitea => "pulls",
    };
    let look = Look {
        path: format!("{}/{path}/{}", api.repository(repository), request.number),
        client: app.forges.client.clone(),
        until: Instant::now() + DEADLINE,
        commit: request.commit.clone(),
        api,
    };
    let found = blocking(move || look.files()).await;
    found.map_err(|problem| problem.detail)?
}

/// One lookup.
struct Look {
    api: Api,
    client: Client,
    until: Instant,
    /// The request at the forge.
    path: String,
    commit: String,
}

/// One file, in the words of each forge.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "new_path")]
    filename: String,
    /// Where it was before it was renamed.
    #[serde(alias = "old_path")]
    previous_filename: Option<String>,
}

/// The request as it is by now.
#[derive(Deserialize)]
struct Now {
    head: Option<Head>,
    /// GitLab's: the commit.
    sha: Option<String>,
    changed_files: Option<usize>,
    /// GitLab's: a number, or one with `+` where not all are listed.
    changes_count: Option<String>,
}

#[derive(Deserialize)]
struct Head {
    sha: String,
}

impl Look {
    fn files(&self) -> Result<Vec<String>, String> {
        let (list, size) = match self.api.kind {
            ForgeKind::GitHub => (format!("files?per_page={PAGE}"), PAGE),
            ForgeKind::GitLab => (format!("diffs?per_page={PAGE}"), PAGE),
            ForgeKind::Gitea => (format!("files?limit={PAGE_GITEA}"), PAGE_GITEA),
        };
        let (mut files, mut count) = (Vec::new(), 0);
        for page in 1.. {
            let answer = self.ask(&format!("{}/{list}&page={page}", self.path))?;
            let has_next = answer
                .header("link")
                .is_some_and(|it| it.contains("rel=\"next\""));
            let entries: Vec<Entry> = parsed(answer)?;
            let is_full = entries.len() >= size;
            count += entries.len();
            if count > FILES_MAX || (count == FILES_MAX && has_next) {
                return Err(format!("it changes more than {FILES_MAX} files"));
            }
            let is_end = entries.is_empty() || !(has_next || is_full);
            for it in entries {
                files.extend(it.previous_filename);
                files.push(it.filename);
            }
            if is_end {
                break;
            }
        }
        self.is_whole(count)?;
        Ok(files)
    }

    /// Whether the list was all of the very commit. Asked behind it: what the request is now,
    /// it was when it was listed, too.
    fn is_whole(&self, count: usize) -> Result<(), String> {
        let now: Now = parsed(self.ask(&self.path)?)?;
        let commit = now.head.map(|it| it.sha).or(now.sha);
        if commit.as_deref() != Some(self.commit.as_str()) {
            return Err("it has other commits by now".to_owned());
        }
        let said = match (now.changed_files, now.changes_count) {
            (Some(count), _) => Some(Some(count)),
            (None, Some(text)) => Some(text.parse().ok()),
            // GitLab says nothing until it has looked itself.
            (None, None) => (self.api.kind == ForgeKind::GitLab).then_some(None),
        };
        match said.is_none_or(|it| it == Some(count)) {
            true => Ok(()),
            false => Err("the forge doesn't list all of its files".to_owned()),
        }
    }

    fn ask(&self, path: &str) -> Result<Answer, String> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let seconds = DEADLINE.as_secs();
            return Err(format!(
                "the forge didn't list its files within {seconds} s"
            ));
        }
        let asked = self.api.get(&self.client, path, (left, PAGE_BYTES_MAX));
        let answer = asked.map_err(|why| format!("the forge wasn't asked for its files: {why}"))?;
        match answer.status {
            200 => Ok(answer),
            status @ (401 | 403 | 404) => Err(format!(
                "the forge was asked for its files and answered {status}: its credential needs a \
                 token that may read the repository"
            )),
            status => Err(format!(
                "the forge was asked for its files and answered {status}"
            )),
        }
    }
}

fn parsed<T: DeserializeOwned>(answer: Answer) -> Result<T, String> {
    let read = serde_json::from_reader(BufReader::new(answer.body));
    read.map_err(|_| "the forge's list of its files can't be read".to_owned())
}
