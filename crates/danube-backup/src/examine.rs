//! Finds out whether an archive is whole and right: what it says of itself is compared
//! with what is there.

use std::collections::HashSet;
use std::io::{self, Read, Seek};
use std::path::Path;

use danube_model::JobId;
use danube_store::{OpenError, Snapshot};

use crate::manifest::{About, Manifest};
use crate::read::ReadError;
use crate::sums::{Sums, differences};
use crate::unpack::Unpacked;

/// Jobs of which the logs are compared at once.
const CLAIMS_AT_ONCE: usize = 1_000;

/// Jobs that are named when their logs are missing; the rest is counted.
const NAMED_MAX: usize = 3;

/// How one check of an archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is well.
    Ok,
    /// It isn't.
    Failed,
    /// It couldn't be looked at, for another check failed or nothing is there to check.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub found: Found,
    /// A sentence.
    pub detail: String,
}

/// What was found out about an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What it says of itself at its beginning.
    pub about: Option<About>,
    /// What it says at its end.
    pub manifest: Option<Manifest>,
    /// All checks, in order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether it can be restored.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|it| it.found != Found::Failed)
    }

    fn add(&mut self, name: &'static str, outcome: Result<String, String>) {
        let (found, detail) = match outcome {
            Ok(detail) => (Found::Ok, detail),
            Err(detail) => (Found::Failed, detail),
        };
        self.checks.push(Check {
            name,
            found,
            detail,
        });
    }

    fn skip(&mut self, name: &'static str, why: &str) {
        self.checks.push(Check {
            name,
            found: Found::Skipped,
            detail: why.to_owned(),
        });
    }
}

/// Examines an archive. Only the database is unpacked, into a directory that goes again,
/// below `scratch`. `seal_keys` is the file of the sealing keys for an archive that has
/// none.
///
/// # Errors
/// When there is no room for the database in `scratch`; what is wrong with the archive
/// stands in the report.
pub fn examine(archive: impl Read, seal_keys: Option<&[u8]>, scratch: &Path) -> io::Result<Report> {
    let own = tempfile::Builder::new()
        .prefix("danube-verify-")
        .tempdir_in(scratch)?;
    let mut unpacked = Unpacked::new(own.path(), false)?;
    let read = unpacked.read(archive);
    Ok(unpacked.report(read, seal_keys)?.0)
}

impl Unpacked {
    /// All checks, and the database if it is well.
    pub(crate) fn report(
        &mut self,
        read: Result<(), ReadError>,
        given_keys: Option<&[u8]>,
    ) -> io::Result<(Report, Option<Snapshot>)> {
        let mut report = Report {
            about: self.about.clone(),
            manifest: self.manifest.clone(),
            checks: Vec::new(),
        };
        match read {
            Ok(()) => report.add("archive", Ok(self.size())),
            Err(ReadError::Broken(why)) => {
                report.add("archive", Err(why));
                for name in ["checksums", "database", "key", "logs"] {
                    report.skip(name, "the archive isn't whole");
                }
                return Ok((report, None));
            }
            Err(ReadError::Io(error)) => return Err(error),
        }
        report.add("checksums", self.checksums()?);
        let snapshot = self.database();
        let (snapshot, said) = match snapshot {
            Ok((snapshot, said)) => (Some(snapshot), Ok(said)),
            Err(why) => (None, Err(why)),
        };
        report.add("database", said);
        let Some(snapshot) = snapshot else {
            for name in ["key", "logs"] {
                report.skip(name, "the database can't be read");
            }
            return Ok((report, None));
        };
        match self
            .seal_keys
            .as_ref()
            .map(|it| it.as_slice())
            .or(given_keys)
        {
            Some(keys) => report.add("key", opens(&snapshot, keys)),
            None => report.skip("key", "the archive has no keys; give them with --seal-key"),
        }
        report.add("logs", self.logs(&snapshot));
        let is_well = report.is_well();
        Ok((report, is_well.then_some(snapshot)))
    }

    fn size(&self) -> String {
        format!("{} files with {} bytes", self.files, self.bytes)
    }

    fn checksums(&mut self) -> io::Result<Result<String, String>> {
        let (Some((mut told, hash)), Some(manifest)) = (self.told.take(), &self.manifest) else {
            return Ok(Err("there is no list of hashes".to_owned()));
        };
        if hash != manifest.sums_sha256 {
            return Ok(Err("SHA256SUMS was changed".to_owned()));
        }
        let own = std::mem::replace(&mut self.sums, Sums::new(&self.dir)?);
        if own.hash() != hash {
            told.rewind()?;
            let all = differences(own.into_reader()?, told)?;
            return Ok(Err(all.join("; ")));
        }
        if (manifest.files, manifest.bytes) != (self.files, self.bytes) {
            return Ok(Err("the manifest names another number of files".to_owned()));
        }
        Ok(Ok("every file is as it was written".to_owned()))
    }

    fn database(&self) -> Result<(Snapshot, String), String> {
        let path = self.dir.join("danube.db");
        let plain = |error: OpenError| match error {
            OpenError::Corrupt { detail, .. } => format!("it is damaged: {detail}"),
            OpenError::NewerSchema { found, known, .. } => format!(
                "it has schema {found} and this danube knows {known}; use the version that made it"
            ),
            OpenError::Foreign { .. } => "it belongs to another program".to_owned(),
            other => other.to_string(),
        };
        if !path.exists() {
            return Err("there is none".to_owned());
        }
        let snapshot = Snapshot::open(&path).map_err(plain)?;
        let mistakes = snapshot.check(true).map_err(|error| error.to_string())?;
        if let Some(first) = mistakes.first() {
            return Err(format!("it is damaged: {first}"));
        }
        let counts = snapshot.counts().map_err(|error| error.to_string())?;
        let told = self.manifest.as_ref().map(|it| (it.jobs, it.live_jobs));
        if told.is_some_and(|it| it != (counts.jobs, counts.live)) {
            return Err("the manifest names another number of jobs".to_owned());
        }
        let said = format!(
            "{} jobs ({} not ended), schema {}",
            counts.jobs,
            counts.live,
            snapshot.schema()
        );
        Ok((snapshot, said))
    }

    /// Every log that a job names is there, as long as it says.
    fn logs(&self, snapshot: &Snapshot) -> Result<String, String> {
        let gone: HashSet<JobId> = self.gone.iter().copied().collect();
        let (mut after, mut there) = (0, 0_u64);
        let mut wrong: Vec<String> = Vec::new();
        loop {
            let claims = snapshot.logs(after, CLAIMS_AT_ONCE);
            let claims = claims.map_err(|error| error.to_string())?;
            let Some(last) = claims.last() else { break };
            after = last.seq;
            for claim in &claims {
                let seen = self.jobs.get(&claim.job).copied().unwrap_or_default();
                let has_head = seen.has_head();
                there += u64::from(has_head);
                if !claim.needs_log() || gone.contains(&claim.job) {
                    continue;
                }
                let job = claim.job;
                if !has_head {
                    wrong.push(format!("the log of job {job} is missing"));
                } else if claim.log_complete == Some(true)
                    && seen.last_tail.is_none()
                    && seen.head_bytes != claim.log_bytes
                {
                    let (is, was) = (seen.head_bytes, claim.log_bytes);
                    wrong.push(format!("the log of job {job} has {is} of {was} bytes"));
                }
            }
        }
        if wrong.is_empty() {
            let gone = match gone.len() {
                0 => String::new(),
                count => format!("; {count} weren't there when it was taken"),
            };
            return Ok(format!("{there} logs{gone}"));
        }
        let more = wrong.len().saturating_sub(NAMED_MAX);
        wrong.truncate(NAMED_MAX);
        if more > 0 {
            wrong.push(format!("{more} more"));
        }
        Err(wrong.join("; "))
    }
}

fn opens(snapshot: &Snapshot, keys: &[u8]) -> Result<String, String> {
    match snapshot.is_opened_by(keys) {
        Ok(()) => Ok("it opens what is sealed in the database".to_owned()),
        Err(OpenError::SealKeyWrong { .. }) => {
            Err("it isn't the key of this database: nothing sealed could be read".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}
