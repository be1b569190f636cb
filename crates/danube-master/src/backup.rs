//! Takes a backup of this server while it works, and hands it to whoever asked.
//!
//! One at a time, on a thread of its own with a low priority: what jobs and clients need
//! comes first. The database is held still only until it is copied, however slowly the
//! archive is taken.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use danube_api::{Code, Problem};
use danube_backup::{Backup, Manifest, Source, TakeError};
use danube_signals::{BackupCompleted, BackupFailed, Signals};
use rustix::process::setpriority_process;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::app::{Shared, blocking};

/// How long a backup may take: one that is taken by bytes would keep its place for ever.
const TIME_MAX: Duration = Duration::from_secs(12 * 3_600);

/// Bytes that are handed over at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Pieces that wait for a slow client: 1 MiB. The thread waits then, and nothing else.
const PIECES_MAX: usize = 8;

/// Bytes that the copy of the database leaves free on its disk: the server itself needs
/// some to go on.
const FREE_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// Niceness of the thread.
const NICE: i32 = 10;

/// What the client is sent.
pub(crate) type Pieces = mpsc::Receiver<io::Result<Bytes>>;

/// Chooses the moment and begins. The rest is told by an event, and by the end of the
/// pieces: with an error if there is no whole archive.
///
/// # Errors
/// When another one is being taken, there is no room, or something can't be read.
pub(crate) async fn begin(app: &Shared, user: String, with_keys: bool) -> Result<Pieces, Problem> {
    let turn = Arc::clone(&app.turns.backups).try_acquire_owned();
    let turn = turn.map_err(|_| {
        let detail = "another backup is being taken; only one can be at a time";
        Problem::new(Code::WrongState, detail)
    })?;
    let source = Source {
        data_dir: app.settings.data_dir.clone(),
        pipelines_dir: app.settings.pipelines_dir.clone(),
        with_keys,
    };
    let asked = Asked {
        signals: app.signals.clone(),
        user,
        with_keys,
        began: Instant::now(),
        _turn: turn,
    };
    let (store, logs) = (app.store.clone(), app.logs.clone());
    let chosen = blocking(move || {
        let dir = source.data_dir.clone();
        let chosen = Backup::of_serving(source, &store, &logs);
        (chosen.and_then(|backup| enough_room(backup, &dir)), dir)
    });
    let (chosen, dir) = chosen.await?;
    let backup = match chosen {
        Ok(backup) => backup,
        Err(error) => return Err(refused(app, &asked, &error)),
    };
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let outlet = Outlet {
        sender,
        handle: Handle::current(),
        silence: app.settings.client_silence,
        until: asked.began + TIME_MAX,
        piece: BytesMut::with_capacity(PIECE_BYTES),
        is_lost: Cell::new(false),
    };
    let spawned = thread::Builder::new()
        .name("backup".into())
        .spawn(move || asked.take(backup, outlet, &dir));
    spawned.map_err(|_| Problem::new(Code::Unavailable, "the system gives no thread now"))?;
    Ok(pieces)
}

fn enough_room(backup: Backup, dir: &Path) -> Result<Backup, TakeError> {
    let needed = backup.room_bytes().saturating_add(FREE_BYTES_MIN);
    let free = free_bytes(dir)?;
    if free < needed {
        let what = format!(
            "the copy of the database needs {needed} free bytes in {}, {free} are there",
            dir.display()
        );
        return Err(io::Error::new(io::ErrorKind::StorageFull, what).into());
    }
    Ok(backup)
}

fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Tells why there will be no backup, to the log and to whoever asked.
fn refused(app: &Shared, asked: &Asked, error: &TakeError) -> Problem {
    asked.failed(&error.to_string(), false);
    match error {
        TakeError::Store(error) => app.problem(error),
        TakeError::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            Problem::new(Code::NoSpace, error.to_string())
        }
        _ => Problem::new(
            Code::Internal,
            "something can't be read; the log tells what",
        ),
    }
}

/// Who asked for a backup, and when.
struct Asked {
    signals: Signals,
    user: String,
    with_keys: bool,
    began: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Asked {
    fn take(self, backup: Backup, mut outlet: Outlet, dir: &Path) {
        // Of this thread alone. Refused or not, it works.
        let _ = setpriority_process(None, NICE);
        let (sender, until) = (outlet.sender.clone(), outlet.until);
        let has_room = Cell::new(true);
        let go_on = || {
            has_room.set(free_bytes(dir).is_ok_and(|free| free >= FREE_BYTES_MIN));
            has_room.get() && !sender.is_closed() && Instant::now() < until
        };
        let taken = backup.write(&mut outlet, go_on);
        let is_lost = outlet.is_lost.get() || sender.is_closed();
        drop(sender);
        match taken {
            Ok(manifest) => self.completed(&manifest),
            Err(error) => {
                let why = match error {
                    _ if !has_room.get() => "the disk of the data directory got full".to_owned(),
                    TakeError::Stopped if is_lost => "the client left".to_owned(),
                    TakeError::Stopped => "it took too long".to_owned(),
                    other => other.to_string(),
                };
                self.failed(&why, is_lost);
                outlet.break_off();
            }
        }
    }

    fn completed(&self, manifest: &Manifest) {
        self.signals.emit(BackupCompleted {
            user: &self.user,
            bytes: manifest.bytes,
            files: manifest.files,
            jobs: manifest.jobs,
            with_keys: self.with_keys,
            duration_seconds: self.began.elapsed(),
        });
    }

    fn failed(&self, error: &str, by_client: bool) {
        self.signals.emit(BackupFailed {
            user: &self.user,
            error,
            duration_seconds: self.began.elapsed(),
            by_client,
        });
    }
}

/// Where the archive goes, piece by piece.
struct Outlet {
    sender: mpsc::Sender<io::Result<Bytes>>,
    handle: Handle,
    silence: Duration,
    until: Instant,
    piece: BytesMut,
    /// The client left, or takes nothing.
    is_lost: Cell<bool>,
}

impl Outlet {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let left = self.until.saturating_duration_since(Instant::now());
        let patience = self.silence.min(left);
        let piece = self.piece.split().freeze();
        let sent = self
            .handle
            .block_on(async { timeout(patience, self.sender.send(Ok(piece))).await });
        self.piece.reserve(PIECE_BYTES);
        let why = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => "the client left".to_owned(),
            Err(_) if left < self.silence => "it took too long".to_owned(),
            Err(_) => format!("the client took nothing for {} s", self.silence.as_secs()),
        };
        self.is_lost.set(true);
        Err(io::Error::other(why))
    }

    /// Ends the answer so that nobody takes it for whole.
    fn break_off(self) {
        let error = io::Error::other("the backup failed");
        // A client that has left needs no telling; a full queue ends with the sender.
        let told = async { timeout(self.silence, self.sender.send(Err(error))).await };
        let _ = self.handle.block_on(told);
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.piece.len().min(PIECE_BYTES);
        let some = &bytes[..bytes.len().min(room)];
        self.piece.extend_from_slice(some);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(some.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
