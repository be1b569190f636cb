//! Downloads a file to where nobody sees it, and checks it before it is used.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Instant;

use danube_model::playbook::source::{Checksum, without_secrets};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::SourceError;
use crate::fetch::Watch;
use crate::limits::{DOWNLOAD_BYTES_MAX, METADATA_BYTES_MAX};
use crate::secret::Secret;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What a server is shown of us.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Bearer(Secret),
}

/// Why an address gave nothing.
#[derive(Debug)]
pub enum DownloadError {
    /// The server answered with another status than 200.
    Status(u16),
    /// Anything else, as a sentence without the address.
    Other(String),
}

/// Reads addresses that come from outside. Whoever implements this keeps to what
/// may be reached at all, also for what a server redirects to, and shows `auth`
/// to no other host than the one that was named.
pub trait Download: Send + Sync {
    /// Opens an address for reading; only an answer of 200 is one.
    ///
    /// # Errors
    /// Why there is nothing to read.
    fn open(
        &self,
        url: &str,
        auth: Option<&Auth>,
        deadline: Instant,
    ) -> Result<Box<dyn Read + Send>, DownloadError>;

    /// Whether a git server may be reached.
    ///
    /// # Errors
    /// Why it may not, as a sentence.
    fn may_reach(&self, host: &str, port: u16, deadline: Instant) -> Result<(), String>;
}

/// The address and whose rights are used.
pub(crate) struct Ask<'a> {
    pub(crate) download: &'a dyn Download,
    pub(crate) auth: Option<&'a Auth>,
    /// Where large answers lie, without a name.
    pub(crate) spool: &'a Path,
    pub(crate) watch: &'a Watch<'a>,
}

/// A file that was downloaded.
pub(crate) struct Downloaded {
    pub(crate) file: File,
    pub(crate) sha256: String,
}

impl Ask<'_> {
    /// Downloads a file. It is checked as a whole before anybody reads it.
    pub(crate) fn file(
        &self,
        url: &str,
        expected: Option<&Checksum>,
    ) -> Result<Downloaded, SourceError> {
        self.file_within(url, expected, DOWNLOAD_BYTES_MAX)
    }

    /// The same for one that has at most so many bytes.
    pub(crate) fn file_within(
        &self,
        url: &str,
        expected: Option<&Checksum>,
        bytes_max: u64,
    ) -> Result<Downloaded, SourceError> {
        let mut from = self.open(url).map_err(|error| fails(url, error))?;
        let mut file = tempfile::tempfile_in(self.spool)
            .map_err(SourceError::io("make a file for the download"))?;
        let (mut sha256, mut sha1) = (Sha256::new(), Sha1::new());
        let mut piece = vec![0; PIECE_BYTES];
        let mut bytes = 0;
        loop {
            self.watch.check("the download")?;
            let count = from.read(&mut piece).map_err(|error| {
                let why = self.watch.check("the download").err();
                why.unwrap_or_else(|| fails(url, DownloadError::Other(error.to_string())))
            })?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            if bytes > bytes_max {
                let what = format!("{} is more than {bytes_max} bytes", without_secrets(url));
                return Err(SourceError::TooLarge(what));
            }
            sha256.update(&piece[..count]);
            if matches!(expected, Some(Checksum::Sha1(_))) {
                sha1.update(&piece[..count]);
            }
            file.write_all(&piece[..count])
                .map_err(SourceError::io("keep the download"))?;
        }
        let sha256 = hex(&sha256.finalize());
        let sha1 = hex(&sha1.finalize());
        check(url, expected, &sha256, &sha1)?;
        file.rewind()
            .map_err(SourceError::io("read the download"))?;
        Ok(Downloaded { file, sha256 })
    }

    /// Reads a small text beside a file; none when the server has none.
    pub(crate) fn text(&self, url: &str) -> Result<Option<String>, SourceError> {
        self.watch.check("the download")?;
        let from = match self.open(url) {
            Ok(from) => from,
            Err(DownloadError::Status(404)) => return Ok(None),
            Err(error) => return Err(fails(url, error)),
        };
        let mut text = String::new();
        from.take(METADATA_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| fails(url, DownloadError::Other(error.to_string())))?;
        Ok(Some(text))
    }

    fn open(&self, url: &str) -> Result<Box<dyn Read + Send>, DownloadError> {
        self.download.open(url, self.auth, self.watch.deadline)
    }
}

fn check(
    url: &str,
    expected: Option<&Checksum>,
    sha256: &str,
    sha1: &str,
) -> Result<(), SourceError> {
    let (algorithm, expected, found) = match expected {
        None => return Ok(()),
        Some(Checksum::Sha256(expected)) => ("SHA-256", expected, sha256),
        Some(Checksum::Sha1(expected)) => ("SHA-1", expected, sha1),
    };
    if expected.eq_ignore_ascii_case(found) {
        return Ok(());
    }
    Err(SourceError::Checksum {
        location: without_secrets(url),
        algorithm,
        expected: expected.clone(),
        found: found.to_owned(),
    })
}

fn fails(url: &str, error: DownloadError) -> SourceError {
    let why = match error {
        DownloadError::Status(401) => {
            "the server wants a credential, or refuses the one that was given (401)".to_owned()
        }
        DownloadError::Status(403) => "the credential isn't allowed to read it (403)".to_owned(),
        DownloadError::Status(404) => "there is no such file (404)".to_owned(),
        DownloadError::Status(status) => format!("the server answered with {status}"),
        DownloadError::Other(why) => why,
    };
    SourceError::Download {
        location: without_secrets(url),
        why,
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
