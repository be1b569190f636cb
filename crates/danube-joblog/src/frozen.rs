//! A log as it stands at one moment, to be copied while it goes on.
//!
//! Text files only grow, so a length is all that holds a moment still. What else changes
//! them is blanking, which overwrites whole lines: places that are blanked while a log is
//! copied go along with the copy as a journal, and whoever opens the copy blanks them
//! there. So no copy keeps half a value that nobody would find again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::files::{Paths, open_existing};
use crate::index::Index;
use crate::journal::{self, Place};
use crate::layout::TextFile;
use crate::logs::{Folder, JobLogs};
use crate::types::LogError;

/// Places that are remembered while one log is copied: a dozen megabytes. A log of which
/// more is blanked meanwhile has to be copied again.
const PLACES_MAX: usize = 256 * 1024;

/// How far a log's files had come at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCut {
    index: u64,
    texts: Vec<(TextFile, u64)>,
}

/// One file of a frozen log.
#[derive(Debug)]
pub struct FrozenFile {
    /// Its name in the folder.
    pub name: String,
    /// Bytes that belong to the moment. An index may turn out to be shorter, when its
    /// torn end was just cut off; readers take zeros there for what they are.
    pub bytes: u64,
    /// Open for reading, at its beginning.
    pub file: File,
    /// It is the index, and no text.
    pub is_index: bool,
}

/// A log that is being copied.
pub struct FrozenLog {
    /// Its files: the index first, then text.
    pub files: Vec<FrozenFile>,
    paths: Paths,
    folder: Option<Arc<Folder>>,
}

/// What is blanked of a log while it is copied. One at a time.
#[derive(Default)]
pub(crate) struct Recording {
    job: String,
    places: Vec<Place>,
    overflowed: bool,
}

impl Recording {
    /// Notes what is blanked of a log, if it is the one that is copied.
    pub(crate) fn blanked(&mut self, job: &str, places: &[Place]) {
        if self.job != job || self.job.is_empty() {
            return;
        }
        if self.places.len() + places.len() > PLACES_MAX {
            self.overflowed = true;
        } else {
            self.places.extend_from_slice(places);
        }
    }
}

impl JobLogs {
    /// How far the log has come; none when there is none.
    ///
    /// # Errors
    /// `BadName`, or what the system says.
    pub fn cut(&self, job: &str) -> Result<Option<LogCut>, LogError> {
        let paths = Paths::new(&self.folder.dir, job)?;
        let is_live = self.folder.is_live(job);
        cut(&paths, is_live).map_err(LogError::io("look at job log"))
    }

    /// Opens the log for copying it as it is, or as it was at a cut. Only one log can be
    /// copied at a time; it is written and blanked meanwhile as ever.
    ///
    /// # Errors
    /// `BadName`, `InUse` while another is copied, or what the system says.
    pub fn freeze(&self, job: &str, at: Option<&LogCut>) -> Result<Option<FrozenLog>, LogError> {
        let folder = &self.folder;
        let error = LogError::io("open job log for a copy");
        let paths = Paths::new(&folder.dir, job)?;
        let is_live = folder.is_live(job);
        if !folder.record(job) {
            return Err(LogError::InUse);
        }
        // Ends the recording however this ends.
        let mut frozen = FrozenLog {
            files: Vec::new(),
            paths,
            folder: Some(Arc::clone(folder)),
        };
        // Recorded from here on; what was being blanked before stands in its journal.
        let under_way = journal::places(&frozen.paths).map_err(&error)?;
        folder.blanked(job, &under_way);
        match open_files(&frozen.paths, at, is_live).map_err(&error)? {
            Some(files) => frozen.files = files,
            None => return Ok(None),
        }
        Ok(Some(frozen))
    }
}

/// The same for the log folder of a server that doesn't work: nothing changes it.
///
/// # Errors
/// `BadName`, or what the system says.
pub fn freeze_stopped(dir: &Path, job: &str) -> Result<Option<FrozenLog>, LogError> {
    let paths = Paths::new(dir, job)?;
    let files = open_files(&paths, None, false);
    let files = files.map_err(LogError::io("open job log for a copy"))?;
    Ok(files.map(|files| FrozenLog {
        files,
        paths,
        folder: None,
    }))
}

impl FrozenLog {
    /// The copy is made. Name and content of a file that belongs to it, if lines of the
    /// log were blanked meanwhile: whoever opens the copy blanks them there.
    ///
    /// # Errors
    /// What the system says, or that too much was blanked: copy it again.
    pub fn finish(self) -> io::Result<Option<(String, Vec<u8>)>> {
        let places = match &self.folder {
            Some(folder) => folder.recorded(),
            None => Some(journal::places(&self.paths)?),
        };
        let Some(places) = places else {
            return Err(io::Error::other(
                "too many lines of it were blanked while it was copied; try again",
            ));
        };
        let name = file_name(&self.paths.journal());
        Ok((!places.is_empty()).then(|| (name, journal::encode(&places))))
    }
}

impl Drop for FrozenLog {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            folder.stop_recording();
        }
    }
}

impl Folder {
    /// Begins to record; false when another log is being copied.
    fn record(&self, job: &str) -> bool {
        let mut recording = self.recording();
        if !recording.job.is_empty() {
            return false;
        }
        job.clone_into(&mut recording.job);
        true
    }

    /// Some lines of the log are about to be blanked.
    pub(crate) fn blanked(&self, job: &str, places: &[Place]) {
        self.recording().blanked(job, places);
    }

    /// What was recorded; none when it was too much.
    fn recorded(&self) -> Option<Vec<Place>> {
        let mut recording = self.recording();
        let places = std::mem::take(&mut recording.places);
        (!recording.overflowed).then_some(places)
    }

    fn stop_recording(&self) {
        *self.recording() = Recording::default();
    }
}

/// A log that is written ends where its index says; of another one all is there to stay.
fn cut(paths: &Paths, is_live: bool) -> io::Result<Option<LogCut>> {
    // First, so that text lies there for all that it names.
    let index = Index::load(paths)?;
    if is_live {
        let Some(end) = index.file_end() else {
            return Ok(None);
        };
        let mut texts = Vec::new();
        for (text, named) in index.layout.file_ends() {
            // What a power cut took isn't there, whatever the index names.
            texts.extend(len(&paths.text(text))?.map(|it| (text, it.min(named))));
        }
        return Ok(Some(LogCut { index: end, texts }));
    }
    let Some(head) = len(&paths.text(TextFile::Head))? else {
        return Ok(None);
    };
    let mut texts = vec![(TextFile::Head, head)];
    for base in tails(paths, &index)? {
        let tail = TextFile::Tail(base);
        texts.extend(len(&paths.text(tail))?.map(|it| (tail, it)));
    }
    let index = len(&paths.index())?.unwrap_or(0);
    Ok(Some(LogCut { index, texts }))
}

/// Most logs fit in their head; only others are worth a look around.
fn tails(paths: &Paths, index: &Index) -> io::Result<Vec<u64>> {
    let is_plain = index.layout.tails.is_empty() && index.layout.closed && !index.torn;
    if is_plain {
        return Ok(Vec::new());
    }
    paths.tails()
}

fn open_files(
    paths: &Paths,
    at: Option<&LogCut>,
    is_live: bool,
) -> io::Result<Option<Vec<FrozenFile>>> {
    let Some(now) = cut(paths, is_live)? else {
        return Ok(None);
    };
    let cut = at.unwrap_or(&now);
    let mut files = Vec::new();
    let index = paths.index();
    files.extend(open_existing(&index)?.map(|file| FrozenFile {
        name: file_name(&index),
        bytes: cut.index,
        file,
        is_index: true,
    }));
    for (text, bytes) in &cut.texts {
        let path = paths.text(*text);
        // One that went since, because newer text took its place, is told as a gap.
        files.extend(open_existing(&path)?.map(|file| FrozenFile {
            name: file_name(&path),
            bytes: *bytes,
            file,
            is_index: false,
        }));
    }
    Ok(Some(files))
}

fn len(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use danube_redact::{Rules, Secrets};

    use super::*;
    use crate::types::{Limits, Mark, Stream};
    use crate::writer::LogWriter;
    use crate::{Chunk, LogReader};

    const JOB: &str = "0192f3a4-5b6c-7d8e-9f00-112233445566";
    const VALUE: &[u8] = b"correct-horse-battery";

    fn logs(dir: &Path) -> JobLogs {
        let limits = Limits {
            head_bytes: 2_000,
            total_bytes: 6_000,
        };
        JobLogs::open(dir, limits).unwrap()
    }

    fn writer(logs: &JobLogs, attempt: u32) -> LogWriter {
        let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
        writer.mark(Mark::Attempt(attempt)).unwrap();
        writer
    }

    fn say(writer: &mut LogWriter, text: &str) {
        writer.write(Stream::Stdout, text.as_bytes()).unwrap();
        writer.tick().unwrap();
    }

    /// Copies a frozen log into another folder.
    fn copied(mut frozen: FrozenLog, to: &Path) {
        for file in &mut frozen.files {
            let mut bytes = Vec::new();
            (&mut file.file)
                .take(file.bytes)
                .read_to_end(&mut bytes)
                .unwrap();
            assert_eq!(bytes.len() as u64, file.bytes, "{}", file.name);
            std::fs::write(to.join(&file.name), bytes).unwrap();
        }
        if let Some((name, bytes)) = frozen.finish().unwrap() {
            std::fs::write(to.join(name), bytes).unwrap();
        }
    }

    /// All text that is there.
    fn text(mut reader: LogReader) -> String {
        let (mut at, mut all) = (0, Vec::new());
        loop {
            match reader.read_raw(at, 1 << 20).unwrap() {
                Chunk::Data { offset, bytes, .. } => {
                    at = offset + bytes.len() as u64;
                    all.extend(bytes);
                }
                Chunk::Gap { to, .. } => at = to,
                Chunk::End { .. } => return String::from_utf8(all).unwrap(),
            }
        }
    }

    #[test]
    fn a_cut_holds_a_moment_of_a_log_that_goes_on() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let logs = logs(own.path());
        assert_eq!(logs.cut(JOB).unwrap(), None);
        let mut writer = writer(&logs, 1);
        say(&mut writer, "one\ntwo\n");
        let cut = logs.cut(JOB).unwrap().unwrap();
        say(&mut writer, "three\n");
        writer.close().unwrap();
        let frozen = logs.freeze(JOB, Some(&cut)).unwrap().unwrap();
        copied(frozen, other.path());
        let copies = self::logs(other.path());
        let reader = copies.reader(JOB).unwrap();
        assert_eq!(reader.attempts().len(), 1);
        assert!(!reader.summary().complete, "its writer is somewhere else");
        assert_eq!(text(reader), "one\ntwo\n");
        // Without a cut, all of it is there and whole.
        let third = tempfile::tempdir().unwrap();
        copied(logs.freeze(JOB, None).unwrap().unwrap(), third.path());
        let reader = self::logs(third.path()).reader(JOB).unwrap();
        assert!(reader.summary().complete);
        assert_eq!(text(reader), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_long_log_is_copied_with_its_tails() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let logs = logs(own.path());
        let mut writer = writer(&logs, 1);
        for line in 0..1_000 {
            say(&mut writer, &format!("line {line}\n"));
        }
        copied(logs.freeze(JOB, None).unwrap().unwrap(), other.path());
        let before = text(logs.reader(JOB).unwrap());
        assert!(before.contains("line 999\n") && !before.contains("line 500\n"));
        assert_eq!(text(self::logs(other.path()).reader(JOB).unwrap()), before);
        drop(writer);
    }

    #[test]
    fn what_is_blanked_while_a_log_is_copied_is_blanked_in_the_copy() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let logs = logs(own.path());
        let mut writer = writer(&logs, 1);
        say(
            &mut writer,
            "a line\nits correct-horse-battery here\nmore\n",
        );
        let frozen = logs.freeze(JOB, None).unwrap().unwrap();
        assert!(matches!(logs.freeze(JOB, None), Err(LogError::InUse)));
        // The copy was made of this, before it was blanked.
        let bytes = std::fs::read(own.path().join(format!("{JOB}.log"))).unwrap();
        logs.mask(JOB, VALUE, false).unwrap();
        copied(frozen, other.path());
        let head = other.path().join(format!("{JOB}.log"));
        std::fs::write(&head, bytes).unwrap();
        let shown = text(self::logs(other.path()).reader(JOB).unwrap());
        assert_eq!(shown, "a line\n[redacted line]               \nmore\n");
        // The next copy needs no journal.
        let third = tempfile::tempdir().unwrap();
        copied(logs.freeze(JOB, None).unwrap().unwrap(), third.path());
        assert!(!third.path().join(format!("{JOB}.blank")).exists());
        drop(writer);
    }

    #[test]
    fn a_log_of_a_stopped_server_is_copied_with_what_was_being_blanked() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let logs = logs(own.path());
        let mut writer = writer(&logs, 1);
        say(&mut writer, "its correct-horse-battery here\n");
        writer.close().unwrap();
        drop(logs);
        assert!(freeze_stopped(own.path(), "none").unwrap().is_none());
        let place = Place {
            file: TextFile::Head,
            from: 0,
            to: 31,
            begins: true,
            ends: false,
            marked: true,
        };
        let journal = own.path().join(format!("{JOB}.blank"));
        std::fs::write(&journal, journal::encode(&[place])).unwrap();
        copied(
            freeze_stopped(own.path(), JOB).unwrap().unwrap(),
            other.path(),
        );
        assert!(journal.exists(), "the original is left alone");
        let shown = text(self::logs(other.path()).reader(JOB).unwrap());
        assert_eq!(shown, "[redacted line]               \n");
    }
}
