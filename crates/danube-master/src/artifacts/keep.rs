//! From a file that was written to an artifact that is there, whoever brought it.

use std::io::{ErrorKind, Read};

use danube_model::{Attempt, JobId, wrong_artifact_name};
use danube_store::{Artifact, ArtifactOutcome, NewArtifact, Store, StoreError};
use danube_worker::{Leaving, Unkept};

use super::{Artifacts, Draft, Unwritten};

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 128 * 1024;

impl Artifacts {
    /// How many bytes of a job's are free for an artifact of this name.
    pub(crate) fn room(&self, stored: &[Artifact], name: &str) -> u64 {
        let others = stored.iter().filter(|it| it.name != name);
        let used: u64 = others.map(|it| it.bytes).sum();
        let limits = self.limits();
        limits
            .file_bytes_max
            .min(limits.job_bytes_max.saturating_sub(used))
    }

    /// Why an artifact is refused that finds so many bytes free.
    pub(crate) fn too_large(&self, left: u64) -> String {
        let limits = self.limits();
        if left < limits.file_bytes_max {
            format!(
                "the job's artifacts may have {} bytes together (artifacts.job_max_bytes), and {left} of them are left",
                limits.job_bytes_max
            )
        } else {
            format!(
                "an artifact may have {} bytes (artifacts.file_max_bytes)",
                limits.file_bytes_max
            )
        }
    }

    /// After the store's answer: the file stays, or it goes, and so does what it replaces. It
    /// blocks.
    pub(crate) fn settle(
        &self,
        job: JobId,
        mut draft: Draft,
        outcome: &Result<ArtifactOutcome, StoreError>,
    ) {
        let is_open = !matches!(outcome, Err(StoreError::Fenced { .. } | StoreError::Busy));
        if matches!(outcome, Ok(ArtifactOutcome::Kept { .. })) || (outcome.is_err() && is_open) {
            // If it isn't known after an error, the reaper finds the file.
            draft.keep();
        }
        drop(draft);
        if let Ok(ArtifactOutcome::Kept {
            replaced: Some(file),
            ..
        }) = outcome
        {
            // What can't be deleted now is found by the reaper.
            let _ = self.delete(job, file);
        }
    }

    /// Keeps a file that the worker in this process found; what its bytes hash to. It blocks.
    pub(crate) fn take(
        &self,
        store: &Store,
        attempt: Attempt,
        leaving: &Leaving<'_>,
    ) -> Result<[u8; 32], Unkept> {
        let job = attempt.job;
        if let Some(why) = wrong_artifact_name(leaving.name) {
            return Err(Unkept::Refused(format!("the name {why}")));
        }
        let stored = store.artifacts(job).map_err(unkept)?;
        let bytes_max = self.room(&stored, leaving.name);
        if leaving.bytes > bytes_max {
            return Err(Unkept::Refused(self.too_large(bytes_max)));
        }
        let mut draft = self
            .draft(job, bytes_max)
            .map_err(|it| self.unwritten(&it))?;
        let mut from = leaving.file.take(leaving.bytes);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            if (leaving.is_over)() {
                return Err(Unkept::Stopped);
            }
            let have = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(have) => have,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let written = draft.write(&piece[..have]);
            written.map_err(|it| self.unwritten(&it))?;
        }
        let written = draft.finish().map_err(|it| self.unwritten(&it))?;
        let new = NewArtifact {
            name: leaving.name.to_owned(),
            file: written.file,
            bytes: written.bytes,
            sha256: written.sha256,
            step: Some(leaving.step.to_owned()),
        };
        let outcome = store.add_artifact(attempt, new, self.of_job()).wait();
        self.settle(job, draft, &outcome);
        match outcome.map_err(unkept)? {
            ArtifactOutcome::Kept { .. } | ArtifactOutcome::Same(_) => Ok(written.sha256),
            other => Err(Unkept::Refused(self.refusal(&other))),
        }
    }

    /// Why the store doesn't know an artifact.
    pub(crate) fn refusal(&self, outcome: &ArtifactOutcome) -> String {
        match outcome {
            ArtifactOutcome::Taken => {
                "this attempt left other bytes under this name; choose another one".to_owned()
            }
            ArtifactOutcome::Masked => "the name holds a value that is to be masked".to_owned(),
            ArtifactOutcome::TooMany => {
                let most = self.of_job().count;
                format!("the job has {most} artifacts, as many as it may")
            }
            _ => self.too_large(0),
        }
    }

    fn unwritten(&self, why: &Unwritten) -> Unkept {
        match why {
            Unwritten::TooLarge(left) => Unkept::Refused(self.too_large(*left)),
            // Space may come: the reaper looks when a disk fills.
            Unwritten::NoSpace => Unkept::Away("the disk of the data directory is full".to_owned()),
            Unwritten::Io => Unkept::Away("the disk of the data directory refuses".to_owned()),
        }
    }
}

fn unkept(error: StoreError) -> Unkept {
    match error {
        StoreError::Fenced { .. }
        | StoreError::Refused(_)
        | StoreError::NoJob(_)
        | StoreError::Closed => Unkept::Fenced,
        other => Unkept::Away(other.to_string()),
    }
}
