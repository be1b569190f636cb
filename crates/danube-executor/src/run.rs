//! The caller's side of a step: starts the sandbox, carries its output, stops
//! it when asked or out of time, and says how it ended.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::cgroup::StepCgroup;
use crate::control::{Control, Stop};
use crate::error::ExecutorError;
use crate::nursery::Nursery;
use crate::plan::{End, Output, StepOutcome, StepPlan, Stream};
use crate::sys::{self, PollFd};
use crate::wire::{ORDER_KILL, ORDER_TERM, Orders, Report, Totals};

/// Read at once: as much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Read at most after the last process ended: as much as a pipe can be made to
/// hold. Bounds what a process that escaped its keeper could still send.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// How long a sandbox may take to read its plan: it only has to start.
const SEND_SECS_MAX: u64 = 20;

/// How long S2 may take to kill everybody before it is killed itself.
const KILL_SECS_MAX: u64 = 5;

/// How long the kernel may then take to end the namespace. Longer means
/// processes that hang inside the kernel, on a dead network file system mostly.
const GONE_SECS_MAX: u64 = 10;

/// Runs one step to its end, in the calling thread. When this process dies, the
/// step dies at once.
///
/// `output` gets all that the step's processes wrote until the last was dead.
/// Errors say why the step could not run or be watched; in each case none of
/// its processes is left, but for [`ExecutorError::Unkillable`].
pub fn run_step(
    plan: &StepPlan,
    control: &Control,
    output: &mut dyn Output,
) -> Result<StepOutcome, ExecutorError> {
    if let Some(stop) = control.stopped() {
        return Ok(never_started(stop));
    }
    let cgroup = plan.sandbox.cgroup.as_ref();
    let cgroup = cgroup.map(|it| it.step(&plan.sandbox.limits)).transpose();
    let cgroup = cgroup.map_err(ExecutorError::Cgroup)?;
    let mut orders = Orders::of(plan, entrances(cgroup.as_ref()))?;
    if cgroup.as_ref().is_some_and(StepCgroup::counts_processes) {
        orders.user_processes = None;
    }
    let waits = Waits {
        timeout: plan.timeout,
        grace: plan.grace,
        kill_output_after: plan.kill_output_after,
    };
    let finished = run_orders(&plan.sandbox.nursery, &orders, waits, control, output)?;
    let oom_killed = cgroup.as_ref().is_some_and(StepCgroup::oom_killed);
    Ok(StepOutcome {
        oom_killed,
        ..finished
    })
}

fn entrances(cgroup: Option<&StepCgroup>) -> Vec<std::path::PathBuf> {
    cgroup.map(StepCgroup::entrances).unwrap_or_default()
}

fn never_started(stop: Stop) -> StepOutcome {
    StepOutcome {
        end: End::Stopped(stop),
        cpu: Duration::ZERO,
        max_rss_bytes: 0,
        wall: Duration::ZERO,
        oom_killed: false,
        processes_killed: 0,
    }
}

/// The three waits of a step, see [`StepPlan`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Waits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) kill_output_after: Duration,
}

/// As [`run_step`], from orders.
pub(crate) fn run_orders(
    nursery: &Nursery,
    orders: &Orders,
    waits: Waits,
    control: &Control,
    output: &mut dyn Output,
) -> Result<StepOutcome, ExecutorError> {
    let started = Instant::now();
    let (sandbox, pipes) = Sandbox::start(nursery, orders).map_err(ExecutorError::Start)?;
    let watch = Watch {
        sandbox,
        pipes,
        waits,
        control,
        output,
        buffer: vec![0; READ_BYTES],
        started,
        stop: None,
        ended: None,
        kill_at: None,
        killed_at: None,
        totals: None,
        died: "no reason was given".to_owned(),
    };
    watch.run()
}

/// The line to the sandbox. Dropping it kills the step.
struct Sandbox {
    link: UnixStream,
    /// Cut, it has S1 kill everybody, or our own death does.
    lifeline: Option<PipeWriter>,
    /// What came up the line and is not a whole report yet.
    heard: Vec<u8>,
    /// The line is closed: every process of the sandbox ended.
    closed: bool,
    /// Some processes hang in the kernel; waiting longer would hang us too.
    given_up: bool,
}

type Pipes = [Option<PipeReader>; 2];

impl Sandbox {
    fn start(nursery: &Nursery, orders: &Orders) -> io::Result<(Self, Pipes)> {
        let newborn = nursery.new_sandbox()?;
        let mut sandbox = Self {
            link: newborn.link,
            lifeline: Some(newborn.lifeline),
            heard: Vec::new(),
            closed: false,
            given_up: false,
        };
        sandbox
            .link
            .set_write_timeout(Some(Duration::from_secs(SEND_SECS_MAX)))?;
        orders.send(&mut sandbox.link)?;
        Ok((sandbox, [Some(newborn.stdout), Some(newborn.stderr)]))
    }

    /// Tells S2 something. One that is gone shows as a closed line.
    fn order(&mut self, order: u8) {
        let _ = self.link.write_all(&[order]);
    }

    /// Reads what has come; call when the line is readable.
    fn hear(&mut self) -> io::Result<Vec<Report>> {
        let mut bytes = [0; 4096];
        match self.link.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(count) => self.heard.extend(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.closed = true,
            Err(error) => return Err(error),
        }
        let mut reports = Vec::new();
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            reports.push(serde_json::from_slice(&line)?);
        }
        Ok(reports)
    }

    /// Has S1 kill S2, and the kernel all the rest with it.
    fn kill(&mut self) {
        self.lifeline = None;
    }

    /// Waits until S1 is gone and with it every process, killing if it must.
    fn end(&mut self) -> Result<(), ExecutorError> {
        if !self.await_close(Duration::from_secs(KILL_SECS_MAX)) {
            self.kill();
            if !self.await_close(Duration::from_secs(GONE_SECS_MAX)) {
                self.given_up = true;
                return Err(ExecutorError::Unkillable(KILL_SECS_MAX + GONE_SECS_MAX));
            }
        }
        Ok(())
    }

    fn await_close(&mut self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        while !self.closed && Instant::now() < deadline {
            match sys::poll(&mut [PollFd::readable(self.link.as_fd())], Some(deadline)) {
                Ok(0) => {}
                // Reports that come now come too late to matter.
                Ok(_) => drop(self.hear()),
                Err(_) => return false,
            }
        }
        self.closed
    }
}

impl Drop for Sandbox {
    /// Leaves no processes, whatever happened before.
    fn drop(&mut self) {
        if !self.given_up && !self.closed {
            self.kill();
            // There is nobody left to tell.
            let _ = self.end();
        }
    }
}

/// One step being watched.
struct Watch<'a> {
    sandbox: Sandbox,
    pipes: Pipes,
    waits: Waits,
    control: &'a Control,
    output: &'a mut dyn Output,
    buffer: Vec<u8>,
    started: Instant,
    /// Why we stop it, if we began to before it ended.
    stop: Option<Stop>,
    /// Raw wait status of the main process, and when we heard of it.
    ended: Option<(i32, Instant)>,
    /// When everybody still alive is to be killed.
    kill_at: Option<Instant>,
    /// When we ordered S2 to do so.
    killed_at: Option<Instant>,
    totals: Option<Totals>,
    /// How S2 ended, if not as it should.
    died: String,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Watch<'_> {
    fn run(mut self) -> Result<StepOutcome, ExecutorError> {
        while self.totals.is_none() && !self.sandbox.closed {
            self.act_on_time();
            if self.is_overdue() {
                self.sandbox.kill();
                break;
            }
            self.step()?;
        }
        self.sandbox.end()?;
        // Nobody writes any more, so what the pipes hold now is all.
        self.drain()?;
        match self.totals.take() {
            Some(totals) => Ok(self.outcome(&totals)),
            // It had to be killed together with its keeper and the account.
            None if self.killed_at.is_some() => {
                let status = self.ended.get_or_insert((libc::SIGKILL, Instant::now())).0;
                Ok(self.outcome(&Totals {
                    status,
                    cpu_micros: 0,
                    max_rss_bytes: 0,
                    killed: 0,
                }))
            }
            None => Err(ExecutorError::Died(self.died)),
        }
    }

    /// Stops and kills whose time has come.
    fn act_on_time(&mut self) {
        let now = Instant::now();
        if self.timeout_at().is_some_and(|it| it <= now) {
            self.stop(Stop::Timeout);
        }
        // The main process has ended and nobody holds its output: no reason to wait.
        let silent = self.ended.is_some() && self.pipes.iter().all(Option::is_none);
        if self.killed_at.is_none() && (silent || self.kill_at.is_some_and(|it| it <= now)) {
            self.killed_at = Some(now);
            self.sandbox.order(ORDER_KILL);
        }
    }

    /// When it has run too long, while that still matters.
    fn timeout_at(&self) -> Option<Instant> {
        let runs = self.ended.is_none() && self.stop.is_none();
        self.waits
            .timeout
            .filter(|_| runs)
            .and_then(|it| self.started.checked_add(it))
    }

    /// When S2 must have answered the order to kill.
    fn answer_at(&self) -> Option<Instant> {
        self.killed_at
            .map(|it| it + Duration::from_secs(KILL_SECS_MAX))
    }

    /// S2 owes the answer. One that came while the output held us up counts.
    fn is_overdue(&self) -> bool {
        let now = Instant::now();
        let mut answer = [PollFd::readable(self.sandbox.link.as_fd())];
        self.answer_at().is_some_and(|it| it <= now)
            && !matches!(sys::poll(&mut answer, Some(now)), Ok(1))
    }

    fn stop(&mut self, stop: Stop) {
        if self.ended.is_none() {
            self.stop = Some(stop);
        }
        if stop == Stop::Lost || self.ended.is_some() {
            self.kill_by(Duration::ZERO);
        } else {
            self.sandbox.order(ORDER_TERM);
            self.kill_by(self.waits.grace);
        }
    }

    /// Brings the kill forward, never back.
    fn kill_by(&mut self, wait: Duration) {
        let at = Instant::now().checked_add(wait);
        self.kill_at = [self.kill_at, at].into_iter().flatten().min();
    }

    /// Waits for whatever comes first and handles it.
    fn step(&mut self) -> Result<(), ExecutorError> {
        let unread = |pipe: &Option<PipeReader>| {
            pipe.as_ref()
                .map_or_else(PollFd::nothing, |it| PollFd::readable(it.as_fd()))
        };
        let watch_if = |watch, fd| {
            if watch {
                PollFd::readable(fd)
            } else {
                PollFd::nothing()
            }
        };
        let goes_on = self.stop.is_none() && self.ended.is_none();
        let wakes = self.output.wakes().filter(|_| goes_on);
        let mut ready = [
            PollFd::readable(self.sandbox.link.as_fd()),
            // Before the pipes: what the step wrote before it woke us is seen with it.
            wakes.map_or_else(PollFd::nothing, PollFd::readable),
            watch_if(
                self.stop.is_none() && self.killed_at.is_none(),
                self.control.any(),
            ),
            watch_if(self.killed_at.is_none(), self.control.lost()),
            unread(&self.pipes[0]),
            unread(&self.pipes[1]),
        ];
        sys::poll(&mut ready, self.deadline()).map_err(ExecutorError::Start)?;
        let [link, wake, any, lost, stdout, stderr] = ready.map(|it| it.is_ready());
        if link {
            self.hear()?;
        }
        if (any || lost)
            && let Some(stop) = self.control.stopped()
        {
            self.stop(stop);
        }
        for (at, is_ready) in [stdout, stderr].into_iter().enumerate() {
            if is_ready {
                self.carry(at)?;
            }
        }
        if wake && self.stop.is_none() && self.ended.is_none() {
            let woken = self.output.woken(self.sandbox.link.as_fd());
            woken.map_err(ExecutorError::Output)?;
        }
        if self
            .output
            .deadline()
            .is_some_and(|it| it <= Instant::now())
        {
            self.output.tick().map_err(ExecutorError::Output)?;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let kill = self.kill_at.filter(|_| self.killed_at.is_none());
        let all = [
            self.timeout_at(),
            kill,
            self.answer_at(),
            self.output.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    fn hear(&mut self) -> Result<(), ExecutorError> {
        for report in self.sandbox.hear().map_err(ExecutorError::Start)? {
            match report {
                Report::MainEnded { status } => {
                    self.ended = Some((status, Instant::now()));
                    self.kill_by(self.waits.kill_output_after);
                }
                Report::AllEnded(totals) => {
                    let now = Instant::now();
                    self.ended.get_or_insert((totals.status, now));
                    self.totals = Some(totals);
                }
                Report::KeeperDied { status } => {
                    self.died = ExitStatus::from_raw(status).to_string();
                }
                Report::Broken(fault) => {
                    self.sandbox.end()?;
                    return Err(fault.into());
                }
            }
        }
        Ok(())
    }

    /// Reads once from a pipe that is ready and passes it on; returns how much.
    fn carry(&mut self, at: usize) -> Result<usize, ExecutorError> {
        let Some(pipe) = &mut self.pipes[at] else {
            return Ok(0);
        };
        let count = match pipe.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(ExecutorError::Output(error)),
        };
        if count == 0 {
            self.pipes[at] = None;
        } else {
            let bytes = &self.buffer[..count];
            self.output
                .write(STREAMS[at], bytes)
                .map_err(ExecutorError::Output)?;
        }
        Ok(count)
    }

    fn drain(&mut self) -> Result<(), ExecutorError> {
        for at in 0..self.pipes.len() {
            let mut left = DRAIN_BYTES_MAX;
            while let Some(pipe) = self.pipes[at].as_ref().filter(|_| left > 0) {
                let mut ready = [PollFd::readable(pipe.as_fd())];
                if sys::poll(&mut ready, Some(Instant::now())).map_err(ExecutorError::Start)? == 0 {
                    break;
                }
                left = left.saturating_sub(self.carry(at)?);
            }
        }
        Ok(())
    }

    fn outcome(&self, totals: &Totals) -> StepOutcome {
        let (status, at) = self.ended.expect("totals come with or after the end");
        StepOutcome {
            end: self.stop.map_or_else(|| end_of(status), End::Stopped),
            cpu: Duration::from_micros(totals.cpu_micros),
            max_rss_bytes: totals.max_rss_bytes,
            wall: at - self.started,
            oom_killed: false,
            processes_killed: totals.killed,
        }
    }
}

fn end_of(status: i32) -> End {
    let status = ExitStatus::from_raw(status);
    status
        .code()
        .map_or_else(|| End::Signal(status.signal().unwrap_or(0)), End::Exit)
}
