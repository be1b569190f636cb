//! Values that are registered late: while the job runs, when some of its output
//! is stored already, or after its end.

use std::sync::PoisonError;

use danube_redact::{Refused, Rules, Secrets};

use crate::blank::blank;
use crate::files::Paths;
use crate::index::Index;
use crate::layout::TextFile;
use crate::logs::JobLogs;
use crate::types::{LogError, Masked};

/// Why a value could not be masked in a log that is being written.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The job's log is not being written in this process.
    #[error("the log of this job is not being written: there is no job to mask it for")]
    NotLive,
    /// The value would shred the log. Nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What is stored may still hold the value; new output is masked already.
    /// Calling again does the rest.
    #[error(transparent)]
    Log(LogError),
}

impl JobLogs {
    /// Masks a value in the output of a running job from now on, and blanks what
    /// is stored of it: every line that holds it in any form, also with escape
    /// sequences inside, becomes spaces of the same length (with a fixed text at
    /// its start if it is long enough), so that offsets and line numbers stay.
    /// All of that is durable when this returns. A line in the log then says how
    /// many lines were blanked, if any.
    ///
    /// The job's output is held back meanwhile. What followers have read already
    /// can't be taken back; and if the job had written the first part of the value
    /// only, that part stays, for nobody knows what it is.
    ///
    /// A crash on the way loses no blanking that has begun: opening the folder
    /// again completes it. `short` is for values of six and seven bytes, as in
    /// [`Secrets::register_short`].
    ///
    /// # Errors
    /// See [`MaskError`].
    pub fn mask(&self, job: &str, value: &[u8], short: bool) -> Result<Masked, MaskError> {
        let state = self.folder.state_of(job).ok_or(MaskError::NotLive)?;
        // A panic of the job's thread leaves at worst bytes that are not written.
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_closed() {
            return Err(MaskError::NotLive);
        }
        let only = Secrets::new(Rules::none());
        register(&only, value, short)?;
        let flushed = state.take_value(&only, |it| register(it, value, short))?;
        let log = LogError::io("blank job log");
        let masked = state.blank(&only).map_err(|it| MaskError::Log(log(it)))?;
        if masked.lines > 0 && !state.is_copy() {
            state.note_blanked(masked.lines);
        }
        flushed.map(|()| masked).map_err(MaskError::Log)
    }

    /// Blanks what the rules and values of `secrets` would mask in a log that
    /// nobody writes, as [`JobLogs::mask`] does; nothing is added to the log. A
    /// pattern that reaches over more than 64 KiB may be found in part only.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, `InUse` while the log is being written or blanked;
    /// else what the system says: calling again does the rest.
    pub fn blank(&self, job: &str, secrets: &Secrets) -> Result<Masked, LogError> {
        let error = LogError::io("blank job log");
        let folder = &self.folder;
        let paths = Paths::new(&folder.dir, job)?;
        let _alone = folder.begin_blanking(job)?;
        if !paths.text(TextFile::Head).exists() {
            return Err(LogError::NotFound);
        }
        let mut index = Index::load(&paths).map_err(&error)?;
        index.recover(&paths).map_err(&error)?;
        blank(folder, &paths, &index.layout, secrets).map_err(&error)
    }
}

fn register(secrets: &Secrets, value: &[u8], short: bool) -> Result<(), Refused> {
    if short {
        secrets.register_short(value)
    } else {
        secrets.register(value)
    }
}
