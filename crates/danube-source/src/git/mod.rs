//! Brings the tree of a commit out of a repository, through a shared mirror.
//!
//! A mirror belongs to one address and one credential, so that nobody reads with
//! another's rights, and every job asks the server anew, so that nobody reads
//! what the server wouldn't give now. One job at a time fetches into a mirror;
//! the tree is read from it beside other jobs, as `git archive` writes it, and
//! goes through the same confined unpacking as an archive from anywhere.

mod access;
mod mirror;
mod run;
pub mod settings;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Mutex;

use danube_model::playbook::source::without_secrets;

pub use access::GitCredential;

use crate::confine::{Confined, clear};
use crate::download::Download;
use crate::error::SourceError;
use crate::fetch::{Settings, Watch};
use crate::unpack::unpack_tar;
use access::Access;
use mirror::Mirror;
use run::{Output, git};

/// All mirrors.
pub(crate) struct Git {
    cache: PathBuf,
    cache_bytes_max: u64,
    home: PathBuf,
    /// Held by whoever tidies: one is enough.
    tidying: Mutex<()>,
}

/// Which commit, and with whose rights.
pub(crate) struct Wanted<'a> {
    pub(crate) repo: &'a str,
    pub(crate) git_ref: &'a str,
    pub(crate) credential: Option<&'a GitCredential>,
    /// A commit whose tree the caller has: it isn't written again.
    pub(crate) known: Option<&'a str>,
    /// What to do where the server wants a credential.
    pub(crate) login: &'static str,
}

/// Attributes that win over a repository's own: the tree is brought whole and as
/// it is stored, and no program runs for it.
const ATTRIBUTES: &str = "* -export-ignore -export-subst -filter\n";

impl Git {
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        let mut directory = fs::DirBuilder::new();
        directory.recursive(true).mode(0o700);
        for name in ["git", "private"] {
            directory.create(settings.cache.join(name))?;
        }
        // Keys that a killed worker left.
        clear(&settings.cache.join("private"))?;
        Ok(Self {
            cache: settings.cache.clone(),
            cache_bytes_max: settings.cache_bytes_max,
            home: settings.home.clone(),
            tidying: Mutex::new(()),
        })
    }

    /// Whether the repository's server may be reached, or its directory read.
    pub(crate) fn may_reach(
        &self,
        repo: &str,
        download: &dyn Download,
        watch: &Watch<'_>,
    ) -> Result<(), SourceError> {
        if settings::has_moved(repo) {
            let why = "the repository's path has become a link since the job was submitted";
            return Err(SourceError::NotAllowed(why.to_owned()));
        }
        let Some((host, port)) = settings::server(repo) else {
            return Ok(());
        };
        download
            .may_reach(&host, port, watch.deadline)
            .map_err(SourceError::NotAllowed)
    }

    /// Writes the tree of the wanted commit, and says which commit it is.
    pub(crate) fn bring(
        &self,
        wanted: &Wanted<'_>,
        into: &mut Confined<'_>,
        watch: &Watch<'_>,
    ) -> Result<String, SourceError> {
        let with = With {
            access: &Access::prepare(wanted, &self.cache, &self.home)?,
            mirror: &Mirror::of(&self.cache.join("git"), wanted),
            watch,
        };
        let commit = match once(wanted, &with, into)? {
            Some(commit) => commit,
            None => {
                (watch.say)("the cached mirror was damaged; it is made anew");
                into.restart()?;
                let again = once(wanted, &with, into)?;
                again.ok_or_else(|| failed(wanted, "its objects can't be read"))?
            }
        };
        let location = without_secrets(wanted.repo);
        let git_ref = wanted.git_ref;
        (watch.say)(&format!("cloned {commit} ({git_ref} of {location})"));
        if let Ok(_one) = self.tidying.try_lock() {
            mirror::tidy(&self.cache.join("git"), self.cache_bytes_max);
        }
        Ok(commit)
    }
}

/// A mirror, and how git is let to it.
struct With<'a> {
    mirror: &'a Mirror,
    access: &'a Access,
    watch: &'a Watch<'a>,
}

impl With<'_> {
    fn git(&self, args: &[&str]) -> Result<Output, SourceError> {
        git(args, self.access, Some(self.mirror), self.watch)
    }
}

/// One try; none when the mirror is damaged, and gone.
fn once(
    wanted: &Wanted<'_>,
    with: &With<'_>,
    into: &mut Confined<'_>,
) -> Result<Option<String>, SourceError> {
    let With {
        mirror,
        access,
        watch,
    } = with;
    let fetching = mirror.lock_to_fetch(watch)?;
    mirror.prepare(access, watch)?;
    let commit = match fetch(wanted, with) {
        Err(error @ SourceError::Git { .. }) => {
            if mirror.is_sound(access, watch)? {
                return Err(error);
            }
            mirror.remove(watch)?;
            return Ok(None);
        }
        other => other?,
    };
    if wanted.known == Some(commit.as_str()) {
        return Ok(Some(commit));
    }
    let using = mirror.lock_to_use(watch)?;
    drop(fetching);
    if tree(&commit, with, into)? {
        return Ok(Some(commit));
    }
    drop(using);
    let _fetching = mirror.lock_to_fetch(watch)?;
    mirror.remove(watch)?;
    Ok(None)
}

/// All of the history, also where the mirror knows only its end: git's own word
/// for no end.
const WHOLE: [&str; 2] = ["--depth", "2147483647"];

/// Fetches the wanted ref, and says which commit it is.
fn fetch(wanted: &Wanted<'_>, with: &With<'_>) -> Result<String, SourceError> {
    let url = settings::address(wanted.repo);
    let own = with.mirror.own_ref(wanted.git_ref);
    let refs = format!("+{}:{own}", wanted.git_ref);
    let first = fetch_refs(&url, &refs, &["--depth", "1"], with)?;
    let Err(said) = first else {
        let commit = resolve(&own, with)?;
        return commit.ok_or_else(|| failed(wanted, "it names no commit"));
    };
    if is_commit(wanted.git_ref) && !said.contains("unable to ") {
        // Servers of old give commits by a branch only: take all branches, and look.
        (with.watch.say)("the server gives no commit by its id; fetching its branches");
        if fetch_refs(&url, "+refs/heads/*:refs/danube/heads/*", &WHOLE, with)?.is_ok() {
            let commit = resolve(wanted.git_ref, with)?;
            return commit.ok_or_else(|| failed(wanted, "it has no such commit in any branch"));
        }
    }
    Err(failed(wanted, &explained(&said, wanted)))
}

/// One `git fetch`; what git said when it failed.
fn fetch_refs(
    url: &str,
    refs: &str,
    more: &[&str],
    with: &With<'_>,
) -> Result<Result<(), String>, SourceError> {
    let fixed = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
    let mut args = fixed.to_vec();
    args.extend(more);
    args.extend(["--", url, refs]);
    let Output { success, said, .. } = with.git(&args)?;
    Ok(if success { Ok(()) } else { Err(said) })
}

/// The commit that a name of the mirror means.
fn resolve(name: &str, with: &With<'_>) -> Result<Option<String>, SourceError> {
    let what = format!("{name}^{{commit}}");
    let args = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &what,
    ];
    let Output { success, out, .. } = with.git(&args)?;
    let commit = out.trim().to_owned();
    Ok((success && is_commit(&commit)).then_some(commit))
}

/// Unpacks the tree of a commit; `false` when the mirror couldn't give it whole.
fn tree(commit: &str, with: &With<'_>, into: &mut Confined<'_>) -> Result<bool, SourceError> {
    let args = ["archive", "--format=tar", commit];
    let mut archive = run::stream(&args, with.access, with.mirror, with.watch)?;
    let unpacked = unpack_tar(&mut archive, into).and_then(|()| into.finish());
    let sound = match unpacked {
        // A stream that breaks off: git itself will have said why.
        Err(SourceError::Archive(_)) => {
            with.watch.check("git")?;
            false
        }
        other => {
            other?;
            true
        }
    };
    // What is left is padding; an end before it would kill git by a closed pipe.
    io::copy(&mut archive, &mut io::sink()).map_err(SourceError::io("read what git writes"))?;
    Ok(archive.end()? && sound)
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|it| it.is_ascii_hexdigit())
}

fn failed(wanted: &Wanted<'_>, why: &str) -> SourceError {
    SourceError::Git {
        what: wanted.git_ref.to_owned(),
        location: without_secrets(wanted.repo),
        why: why.to_owned(),
    }
}

/// What git said, with what to do about it where we know.
fn explained(said: &str, wanted: &Wanted<'_>) -> String {
    let git_ref = wanted.git_ref;
    let short =
        (7..40).contains(&git_ref.len()) && git_ref.bytes().all(|it| it.is_ascii_hexdigit());
    let login = format!("; it wants a credential; {}", wanted.login);
    let help = if said.contains("couldn't find remote ref") && short {
        "; a commit must be given with all of its digits"
    } else if said.contains("couldn't find remote ref") {
        "; it has no such branch or tag"
    } else if [
        "terminal prompts disabled",
        "Authentication failed",
        "Permission denied (publickey",
    ]
    .iter()
    .any(|it| said.contains(it))
    {
        &login
    } else if said.contains("returned error: 30") {
        "; the server redirects, which isn't followed: give the new address"
    } else {
        ""
    };
    let said = if said.is_empty() {
        "it said nothing"
    } else {
        said
    };
    format!("{said}{help}")
}
