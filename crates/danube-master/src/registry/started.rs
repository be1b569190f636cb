//! A registry that the server starts itself: one process on loopback, which is started again
//! when it ends, and stopped while what nobody names any more is collected.
//!
//! One thread decides; a second one a process reads what that says and, at its end, tells the
//! first. What it says is kept only as far as it explains an end: a registry writes the
//! headers of its notifications, and our token with them, into its log.

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use danube_signals::{RegistryExited, Signals};
use danube_source::tied;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::lock;
use crate::auth;
use crate::lock::write_whole;
use crate::settings::StartedRegistry;

/// The pause before it is started again: twice as long each time it ends soon.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Whoever lived so long didn't end soon.
const SOON: Duration = Duration::from_secs(30);

/// How long it may take to end by itself.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// How long collecting may take.
const COLLECT_DEADLINE: Duration = Duration::from_secs(1_800);

/// How long whoever asks for something waits for a turn and the answer.
const ASK_DEADLINE: Duration = Duration::from_secs(1_900);

/// Lines of its output that are told at its end.
const LINES_TOLD: usize = 5;

/// Bytes of each: what is longer counts as several.
const LINE_BYTES_MAX: usize = 500;

/// Orders that wait for the thread: one of whoever heals, one of the reaper, one of the end, and
/// what processes that ended leave to be told. Whoever gives more waits.
const ORDERS_MAX: usize = 8;

/// What the thread is told.
enum Order {
    /// The process with this number ended; the last that it said.
    Ended(u64, String),
    /// End it, so that a new one is started.
    Restart(SyncSender<Result<(), String>>),
    /// Collect what nobody names any more.
    Collect(SyncSender<Result<(), String>>),
    Stop,
}

/// The registry that was started.
pub(crate) struct Started {
    orders: Mutex<SyncSender<Order>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Nothing is waited for any more.
    is_stopping: Arc<AtomicBool>,
    /// The reaper alone sets it.
    is_paused: AtomicBool,
    /// Where it keeps images.
    store: PathBuf,
}

/// While it lives, the registry is expected not to answer.
pub(crate) struct Paused<'a>(&'a AtomicBool);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Started {
    /// Starts it; it is called at `told` with `token`.
    pub(super) fn new(
        settings: &StartedRegistry,
        dir: &Path,
        (told, token): (&str, &str),
        signals: &Signals,
    ) -> io::Result<Self> {
        let store = dir.join("registry");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&store)?;
        let config = dir.join("registry.json");
        // It holds a token.
        let text = configuration(settings, &store, (told, token));
        write_whole(&config, &text, 0o600)?;
        let (orders, taken) = sync_channel(ORDERS_MAX);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            is_stopping: Arc::clone(&is_stopping),
            program: settings.program.clone(),
            config,
            orders: orders.clone(),
            signals: signals.clone(),
            number: 0,
        };
        let thread = thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || keeper.keep(&taken))?;
        Ok(Self {
            orders: Mutex::new(orders),
            thread: Mutex::new(Some(thread)),
            is_stopping,
            is_paused: AtomicBool::new(false),
            store,
        })
    }

    /// Ends it, so that a new one is started.
    pub(crate) fn restart(&self) -> Result<(), String> {
        self.ask(Order::Restart)
    }

    /// Deletes what no image names any more, while no registry runs.
    pub(crate) fn collect(&self) -> Result<(), String> {
        self.ask(Order::Collect)
    }

    /// From now on it is expected not to answer, until what comes back is dropped.
    pub(crate) fn pause(&self) -> Paused<'_> {
        self.is_paused.store(true, Ordering::Relaxed);
        Paused(&self.is_paused)
    }

    /// Whether it is stopped on purpose: then nothing is wrong with it.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    /// Bytes of its files.
    pub(crate) fn usage_bytes(&self) -> io::Result<u64> {
        usage_bytes(&self.store)
    }

    /// Ends it for good.
    pub(super) fn stop(&self) {
        // What is collected is left to the next time.
        self.is_stopping.store(true, Ordering::Relaxed);
        let _ = lock(&self.orders).send(Order::Stop);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn ask(
        &self,
        order: impl FnOnce(SyncSender<Result<(), String>>) -> Order,
    ) -> Result<(), String> {
        let (answer, answered) = sync_channel(1);
        let gone = || "the server is stopping".to_owned();
        lock(&self.orders).send(order(answer)).map_err(|_| gone())?;
        answered.recv_timeout(ASK_DEADLINE).map_err(|_| gone())?
    }
}

/// What the registry reads. JSON is YAML, too.
fn configuration(settings: &StartedRegistry, store: &Path, (told, token): (&str, &str)) -> String {
    json!({
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": store},
            "delete": {"enabled": true},
        },
        // The secret signs what a client keeps of an upload that isn't finished.
        "http": {"addr": settings.listen.to_string(), "secret": auth::token()},
        "notifications": {"endpoints": [{
            "name": "danube",
            "url": format!("{told}/registry/notifications"),
            "headers": {"Authorization": [format!("Bearer {token}")]},
            "timeout": "5s",
            "threshold": 5,
            "backoff": "1s",
        }]},
    })
    .to_string()
}

fn usage_bytes(dir: &Path) -> io::Result<u64> {
    let (mut sum, mut dirs) = (0, vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir()? {
            // What has just gone takes no room.
            let Ok((entry, about)) = entry.and_then(|it| it.metadata().map(|about| (it, about)))
            else {
                continue;
            };
            if about.is_dir() {
                dirs.push(entry.path());
            } else {
                sum += about.len();
            }
        }
    }
    Ok(sum)
}

/// What the thread knows.
struct Keeper {
    program: String,
    config: PathBuf,
    orders: SyncSender<Order>,
    signals: Signals,
    is_stopping: Arc<AtomicBool>,
    /// Of the process that runs now: the end of one before is no news.
    number: u64,
}

impl Keeper {
    fn keep(mut self, taken: &Receiver<Order>) {
        let mut pause = PAUSES.0;
        loop {
            let began = Instant::now();
            let mut child = match self.start() {
                Ok(child) => Some(child),
                Err(error) => {
                    self.told("it can't be started", &error.to_string(), pause);
                    None
                }
            };
            // While none runs, the pause is waited out; orders are taken all the same.
            let mut ready_at = child.is_none().then(|| Instant::now() + pause);
            loop {
                let order = match ready_at {
                    None => taken.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    Some(at) => taken.recv_timeout(at.saturating_duration_since(Instant::now())),
                };
                match order {
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) | Ok(Order::Stop) => {
                        end(child.as_mut());
                        return;
                    }
                    Ok(Order::Ended(number, _)) if number != self.number => {}
                    Ok(Order::Ended(_, said)) => {
                        let status = child.take().map(|mut it| it.wait());
                        let status = status.and_then(Result::ok);
                        let status =
                            status.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
                        if began.elapsed() >= SOON {
                            pause = PAUSES.0;
                        }
                        self.told(&status, &said, pause);
                        ready_at = Some(Instant::now() + pause);
                    }
                    Ok(Order::Restart(answer)) => {
                        end(child.as_mut());
                        let _ = answer.send(Ok(()));
                        pause = PAUSES.0;
                        ready_at = None;
                        break;
                    }
                    Ok(Order::Collect(answer)) => {
                        end(child.as_mut());
                        let _ = answer.send(self.collect());
                        ready_at = None;
                        break;
                    }
                }
            }
            if ready_at.is_some() {
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }

    fn told(&self, exit: &str, output: &str, pause: Duration) {
        self.signals.emit(RegistryExited {
            exit,
            output: Some(output).filter(|it| !it.is_empty()),
            restart_in_seconds: pause,
        });
    }

    fn start(&mut self) -> io::Result<Child> {
        self.number += 1;
        let args = ["serve".into(), self.config.clone().into_os_string()];
        let mut child = tied(&self.program)
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stderr, orders, number) = (child.stderr.take(), self.orders.clone(), self.number);
        let reader = thread::Builder::new().name("registry-output".to_owned());
        let listening = reader.spawn(move || {
            let said = stderr.map(last_lines).unwrap_or_default();
            let _ = orders.send(Order::Ended(number, said));
        });
        if let Err(error) = listening {
            end(Some(&mut child));
            return Err(error);
        }
        Ok(child)
    }

    fn collect(&self) -> Result<(), String> {
        let args = [
            "garbage-collect".into(),
            self.config.clone().into_os_string(),
        ];
        let mut child = tied(&self.program)
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("start {}: {error}", self.program))?;
        let is_over = || self.is_stopping.load(Ordering::Relaxed);
        match ended_within(&mut child, COLLECT_DEADLINE, is_over) {
            Some(true) => Ok(()),
            Some(false) => Err(format!("{} garbage-collect failed", self.program)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                let seconds = COLLECT_DEADLINE.as_secs();
                Err(format!(
                    "{} garbage-collect wasn't over within {seconds} s, or the server stops",
                    self.program
                ))
            }
        }
    }
}

/// How often it is looked whether a process that is to end has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether it ended well; none when it is still there, and the time or the waiting is over.
fn ended_within(child: &mut Child, within: Duration, is_over: impl Fn() -> bool) -> Option<bool> {
    let until = Instant::now() + within;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status.success());
        }
        if Instant::now() >= until || is_over() {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Asks it to end, and kills it where it doesn't.
fn end(child: Option<&mut Child>) {
    let Some(child) = child else { return };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
    }
    if ended_within(child, STOP_DEADLINE, || false).is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Reads to the end; the last lines, each of which may be cut.
fn last_lines(stderr: ChildStderr) -> String {
    let mut lines: VecDeque<String> = VecDeque::new();
    let mut from = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut from)
            .take(LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line);
        if read.is_err() || line.is_empty() {
            break;
        }
        if lines.len() == LINES_TOLD {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
    Vec::from(lines).join(" / ")
}
