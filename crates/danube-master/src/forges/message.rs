//! What a webhook says, in the words of each forge. Only what is needed is read; whatever else
//! is in it is nobody's business here.

use axum::http::HeaderMap;
use danube_model::ForgeKind;
use serde::Deserialize;

/// Characters of a user's name that are kept; GitHub's have 39 at most.
const USER_CHARS_MAX: usize = 64;

/// Commits that GitHub lists of a push at most: with as many there may be more.
const GITHUB_COMMITS_MAX: usize = 2_048;

/// Why the files of a request aren't known before somebody looks.
const UNASKED: &str = "nobody asked for them";

/// What the refs of tags begin with.
const TAGS: &str = "refs/tags/";

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The repository that it happened to, as the forge calls it.
    pub(crate) repository: String,
    /// Who did it, in harmless characters.
    pub(crate) user: String,
    pub(crate) what: What,
}

/// What happened to the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A branch or a tag is at another commit.
    Push(Push),
    /// Somebody asks that a commit be merged.
    Request(Request),
    /// Nothing that starts anything; why.
    Nothing(&'static str),
}

/// A branch or a tag is at another commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    pub(crate) what: Pushed,
    /// Also of a tag with a message: the commit, not the tag's own object.
    pub(crate) commit: String,
    /// The files that changed; none where the message doesn't tell all of them.
    pub(crate) paths: Option<Vec<String>>,
}

/// What was pushed, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pushed {
    Branch(String),
    Tag(String),
}

impl Pushed {
    /// What a job has as its ref: a tag is written out, so that no branch is taken for it.
    pub(crate) fn git_ref(&self) -> String {
        match self {
            Self::Branch(name) => name.clone(),
            Self::Tag(name) => format!("{TAGS}{name}"),
        }
    }
}

/// Somebody asks that a commit be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) number: u64,
    /// Where its commit is in the repository that it is for.
    pub(crate) git_ref: String,
    /// The branch that it is to be merged into.
    pub(crate) base: String,
    pub(crate) commit: String,
    /// It comes from a repository that others write to.
    pub(crate) is_fork: bool,
    /// The files that it changes, which no forge lists in its message; else why they aren't
    /// known.
    pub(crate) files: Result<Vec<String>, String>,
}

/// What came of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// The forge only tries whether it is heard.
    Ping,
    /// An event that starts nothing.
    Other,
    /// This.
    Message(Message),
}

/// Reads a body that was found to be the forge's.
///
/// # Errors
/// What is wrong with it, without its content.
pub(crate) fn read(kind: ForgeKind, headers: &HeaderMap, body: &[u8]) -> Result<Read, String> {
    let event = |names: &[&str]| {
        let found = names.iter().find_map(|it| headers.get(*it));
        found
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let message = match kind {
        ForgeKind::GitHub | ForgeKind::Gitea => {
            let names: &[&str] = match kind {
                ForgeKind::GitHub => &["x-github-event"],
                _ => &["x-forgejo-event", "x-gitea-event"],
            };
            match event(names).as_str() {
                "ping" => return Ok(Read::Ping),
                "push" => of_hub_push(parse(body)?, kind),
                "pull_request" | "pull_request_sync" => of_hub_request(parse(body)?),
                _ => return Ok(Read::Other),
            }
        }
        ForgeKind::GitLab => {
            let Kind { object_kind } = parse(body)?;
            match object_kind.as_str() {
                "push" | "tag_push" => of_lab_push(parse(body)?),
                "merge_request" => of_lab_request(parse(body)?),
                _ => return Ok(Read::Other),
            }
        }
    };
    let commit = match &message.what {
        What::Push(it) => &it.commit,
        What::Request(it) => &it.commit,
        What::Nothing(_) => return Ok(Read::Message(message)),
    };
    if !is_commit(commit) {
        return Err("its commit isn't one".to_owned());
    }
    Ok(Read::Message(message))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        // The parser's own text may repeat what stands there.
        let (line, column) = (error.line(), error.column());
        format!("the body isn't what this forge documents, at line {line}, column {column}")
    })
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// No commit: what a branch is at that was deleted.
fn is_none(commit: &str) -> bool {
    commit.bytes().all(|it| it == b'0')
}

fn user(text: Option<&str>) -> String {
    let plain = |it: char| match it {
        it if it.is_ascii_alphanumeric() || "-_.[]".contains(it) => it,
        _ => '_',
    };
    let name: String = text
        .unwrap_or_default()
        .chars()
        .take(USER_CHARS_MAX)
        .map(plain)
        .collect();
    if name.is_empty() {
        "somebody".to_owned()
    } else {
        name
    }
}

/// A push of a branch or a tag, or why it is none. Where a tag has a message, `after` is the
/// tag's own object, and `head` the commit.
fn pushed(
    git_ref: &str,
    (after, head): (String, Option<String>),
    paths: Option<Vec<String>>,
) -> What {
    let (what, commit) = if let Some(branch) = git_ref.strip_prefix("refs/heads/") {
        (Pushed::Branch(branch.to_owned()), after)
    } else if let Some(tag) = git_ref.strip_prefix(TAGS) {
        let head = head.filter(|_| !is_none(&after));
        (Pushed::Tag(tag.to_owned()), head.unwrap_or(after))
    } else {
        return What::Nothing("it is neither a branch nor a tag");
    };
    match (is_none(&commit), &what) {
        (true, Pushed::Branch(_)) => What::Nothing("the branch was deleted"),
        (true, Pushed::Tag(_)) => What::Nothing("the tag was deleted"),
        (false, _) => What::Push(Push {
            what,
            commit,
            paths,
        }),
    }
}

#[derive(Deserialize)]
struct Commit {
    added: Option<Vec<String>>,
    removed: Option<Vec<String>>,
    modified: Option<Vec<String>>,
}

/// All files of these commits; none where one doesn't tell. A push without commits (a new
/// branch, or one set back) tells nothing of what is different.
fn paths(commits: Vec<Commit>, are_all: bool) -> Option<Vec<String>> {
    if commits.is_empty() || !are_all {
        return None;
    }
    let mut paths = Vec::new();
    for it in commits {
        let known = [it.added, it.removed, it.modified];
        if known.iter().all(Option::is_none) {
            return None;
        }
        paths.extend(known.into_iter().flatten().flatten());
    }
    Some(paths)
}

#[derive(Deserialize)]
struct HubPush {
    r#ref: String,
    after: String,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    /// Gitea's: how many there are.
    total_commits: Option<usize>,
    head_commit: Option<Head>,
    repository: HubRepository,
    sender: Option<HubUser>,
}

/// What the ref leads to.
#[derive(Deserialize)]
struct Head {
    id: String,
}

#[derive(Deserialize)]
struct HubRepository {
    id: Option<u64>,
    full_name: String,
}

#[derive(Deserialize)]
struct HubUser {
    login: Option<String>,
}

fn of_hub_push(it: HubPush, kind: ForgeKind) -> Message {
    let commits = it.commits.unwrap_or_default();
    let are_all = match kind {
        // What a branch lost when it was pushed by force stands in no commit of the list.
        ForgeKind::GitHub => !it.forced && commits.len() < GITHUB_COMMITS_MAX,
        _ => it.total_commits.is_some_and(|all| all == commits.len()),
    };
    let sender = it.sender.and_then(|it| it.login);
    Message {
        what: pushed(
            &it.r#ref,
            (it.after, it.head_commit.map(|it| it.id)),
            paths(commits, are_all),
        ),
        repository: it.repository.full_name,
        user: user(sender.as_deref()),
    }
}

#[derive(Deserialize)]
struct HubRequest {
    action: String,
    number: u64,
    pull_request: PullRequest,
    repository: HubRepository,
    sender: Option<HubUser>,
}

#[derive(Deserialize)]
struct PullRequest {
    head: Side,
    base: Side,
}

#[derive(Deserialize)]
struct Side {
    r#ref: String,
    sha: String,
    /// None where the fork was deleted.
    repo: Option<HubRepository>,
}

fn of_hub_request(it: HubRequest) -> Message {
    let PullRequest { head, base } = it.pull_request;
    let what = match it.action.as_str() {
        "opened" | "reopened" | "synchronize" | "synchronized" => What::Request(Request {
            number: it.number,
            git_ref: format!("refs/pull/{}/head", it.number),
            base: base.r#ref.clone(),
            is_fork: !is_own(&head, &base),
            files: Err(UNASKED.to_owned()),
            commit: head.sha,
        }),
        _ => What::Nothing("its commit is the same as before"),
    };
    let sender = it.sender.and_then(|it| it.login);
    Message {
        what,
        repository: it.repository.full_name,
        user: user(sender.as_deref()),
    }
}

/// Whether both sides are branches of one repository. A request that was pushed without a
/// branch (`refs/for/…`) says so of itself, but anybody may push such a one.
fn is_own(head: &Side, base: &Side) -> bool {
    let ids = |it: &Side| it.repo.as_ref().and_then(|it| it.id);
    let is_branch = !head.r#ref.starts_with("refs/") && !head.r#ref.is_empty();
    is_branch && ids(head).is_some() && ids(head) == ids(base)
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    object_kind: String,
}

#[derive(Deserialize)]
struct LabPush {
    r#ref: String,
    after: String,
    /// What the ref leads to.
    checkout_sha: Option<String>,
    user_username: Option<String>,
    project: Project,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    #[serde(default)]
    total_commits_count: usize,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: String,
}

fn of_lab_push(it: LabPush) -> Message {
    let commits = it.commits.unwrap_or_default();
    // Twenty at most are listed.
    let are_all = it.total_commits_count == commits.len();
    Message {
        what: pushed(
            &it.r#ref,
            (it.after, it.checkout_sha),
            paths(commits, are_all),
        ),
        repository: it.project.path_with_namespace,
        user: user(it.user_username.as_deref()),
    }
}

#[derive(Deserialize)]
struct LabRequest {
    user: Option<LabUser>,
    project: Project,
    object_attributes: Attributes,
}

#[derive(Deserialize)]
struct LabUser {
    username: Option<String>,
}

#[derive(Deserialize)]
struct Attributes {
    iid: u64,
    action: Option<String>,
    /// The commit before, where the commit is another.
    oldrev: Option<String>,
    target_branch: String,
    source_project_id: Option<u64>,
    target_project_id: Option<u64>,
    last_commit: LastCommit,
}

#[derive(Deserialize)]
struct LastCommit {
    id: String,
}

fn of_lab_request(it: LabRequest) -> Message {
    let about = it.object_attributes;
    let is_new = match about.action.as_deref() {
        Some("open" | "reopen") => true,
        Some("update") => about.oldrev.is_some(),
        _ => false,
    };
    let ids = (about.source_project_id, about.target_project_id);
    let what = match is_new {
        true => What::Request(Request {
            number: about.iid,
            git_ref: format!("refs/merge-requests/{}/head", about.iid),
            base: about.target_branch,
            commit: about.last_commit.id,
            is_fork: ids.0.is_none() || ids.0 != ids.1,
            files: Err(UNASKED.to_owned()),
        }),
        false => What::Nothing("its commit is the same as before"),
    };
    let by = it.user.and_then(|it| it.username);
    Message {
        what,
        repository: it.project.path_with_namespace,
        user: user(by.as_deref()),
    }
}

#[cfg(test)]
mod tests;
