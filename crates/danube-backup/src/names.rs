//! What an archive may hold: a closed list of names. Nothing else is written or read, so
//! no name leads anywhere.

use danube_model::JobId;

/// Everything that becomes a file of the data directory lies below this.
const DATA: &str = "data/";

/// Longest name of a pipeline's file: with what stands before it, what a plain tar
/// header holds.
pub(crate) const PIPELINE_NAME_BYTES_MAX: usize = 80;

/// Digits of the offset in the name of a log's tail.
const TAIL_DIGITS: usize = 20;

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// What the archive is; its first file.
    About,
    /// The database.
    Database,
    /// The keys that open what is sealed in it.
    SealKey,
    /// The admin's API key.
    AdminKey,
    /// The settings file, when it lies in the data directory.
    Settings,
    /// A file of a job's log.
    Log(JobId, LogFile),
    /// The trace of a job.
    Trace(JobId),
    /// A pipeline's file.
    Pipeline(String),
    /// Jobs whose logs weren't there.
    Gone,
    /// The hash of every file before it.
    Sums,
    /// What there should be; the last file.
    Manifest,
}

/// Which file of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFile {
    /// `JOB.idx`
    Index,
    /// `JOB.log`
    Head,
    /// `JOB.tail.N.log`
    Tail(u64),
    /// `JOB.blank`
    Journal,
}

impl Item {
    /// The item with this name; none for what no archive of ours has.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let item = match name {
            "about.json" => Self::About,
            "gone.txt" => Self::Gone,
            "SHA256SUMS" => Self::Sums,
            "manifest.json" => Self::Manifest,
            _ => Self::of_data(name.strip_prefix(DATA)?)?,
        };
        // One name for one item: no second spelling stands for the same file.
        (item.name() == name).then_some(item)
    }

    fn of_data(name: &str) -> Option<Self> {
        if let Some(log) = name.strip_prefix("logs/") {
            return log_file(log);
        }
        if let Some(trace) = name.strip_prefix("traces/") {
            let job = trace.strip_suffix(".jsonl")?.parse().ok()?;
            return Some(Self::Trace(job));
        }
        if let Some(file) = name.strip_prefix("pipelines/") {
            return is_pipeline_name(file).then(|| Self::Pipeline(file.to_owned()));
        }
        match name {
            "danube.db" => Some(Self::Database),
            "seal.key" => Some(Self::SealKey),
            "admin.key" => Some(Self::AdminKey),
            "danube.toml" => Some(Self::Settings),
            _ => None,
        }
    }

    /// Where it lies in the archive.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::About => "about.json".to_owned(),
            Self::Gone => "gone.txt".to_owned(),
            Self::Sums => "SHA256SUMS".to_owned(),
            Self::Manifest => "manifest.json".to_owned(),
            _ => format!("{DATA}{}", self.path().unwrap_or_default()),
        }
    }

    /// Where it lies in the data directory; none for what isn't part of it.
    pub(crate) fn path(&self) -> Option<String> {
        match self {
            Self::Database => Some("danube.db".to_owned()),
            Self::SealKey => Some("seal.key".to_owned()),
            Self::AdminKey => Some("admin.key".to_owned()),
            Self::Settings => Some("danube.toml".to_owned()),
            Self::Log(job, file) => Some(match file {
                LogFile::Index => format!("logs/{job}.idx"),
                LogFile::Head => format!("logs/{job}.log"),
                LogFile::Tail(base) => format!("logs/{job}.tail.{base:0TAIL_DIGITS$}.log"),
                LogFile::Journal => format!("logs/{job}.blank"),
            }),
            Self::Trace(job) => Some(format!("traces/{job}.jsonl")),
            Self::Pipeline(file) => Some(format!("pipelines/{file}")),
            Self::About | Self::Gone | Self::Sums | Self::Manifest => None,
        }
    }
}

/// A log's file by its name in the folder of logs.
pub(crate) fn log_file(name: &str) -> Option<Item> {
    let (job, file) = if let Some(job) = name.strip_suffix(".idx") {
        (job, LogFile::Index)
    } else if let Some(job) = name.strip_suffix(".blank") {
        (job, LogFile::Journal)
    } else {
        let stem = name.strip_suffix(".log")?;
        match stem.split_once(".tail.") {
            Some((job, base)) => (job, LogFile::Tail(base.parse().ok()?)),
            None => (stem, LogFile::Head),
        }
    };
    Some(Item::Log(job.parse().ok()?, file))
}

/// Whether a file of the pipelines' directory is one of those that a server reads, with
/// a name that is the same for everybody.
pub(crate) fn is_pipeline_name(name: &str) -> bool {
    let ends = [".yaml", ".yml", ".json"];
    name.len() <= PIPELINE_NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control)
        && ends.iter().any(|it| name.ends_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_found_by_its_name() {
        let job = JobId::new();
        for item in [
            Item::About,
            Item::Database,
            Item::SealKey,
            Item::AdminKey,
            Item::Settings,
            Item::Log(job, LogFile::Index),
            Item::Log(job, LogFile::Head),
            Item::Log(job, LogFile::Tail(12_345)),
            Item::Log(job, LogFile::Journal),
            Item::Trace(job),
            Item::Pipeline("a b.yaml".into()),
            Item::Gone,
            Item::Sums,
            Item::Manifest,
        ] {
            let name = item.name();
            assert!(name.len() <= 100, "{name}");
            assert_eq!(Item::parse(&name), Some(item), "{name}");
        }
    }

    #[test]
    fn no_other_name_is_one() {
        let job = JobId::new();
        for name in [
            "".to_owned(),
            "data/".to_owned(),
            "/data/danube.db".to_owned(),
            "./data/danube.db".to_owned(),
            "data//danube.db".to_owned(),
            "data/../data/danube.db".to_owned(),
            "data/danube.db-wal".to_owned(),
            "data/logs/../../x.log".to_owned(),
            format!("data/logs/{}.log", job.to_string().to_uppercase()),
            format!("data/logs/{job}.tail.1.log"),
            format!("data/logs/{job}.tail.-1.log"),
            format!("data/logs/{job}.idx.new"),
            format!("data/logs/{job}"),
            "data/logs/x.log".to_owned(),
            "data/traces/x.jsonl".to_owned(),
            "data/pipelines/../danube.yaml".to_owned(),
            "data/pipelines/a/b.yaml".to_owned(),
            "data/pipelines/.yaml".to_owned(),
            "data/pipelines/a\nb.yaml".to_owned(),
            "data/pipelines/run.sh".to_owned(),
            format!("data/pipelines/{}.yaml", "x".repeat(80)),
            "data/work/x".to_owned(),
        ] {
            assert_eq!(Item::parse(&name), None, "{name}");
        }
    }
}
