//! Processor time: what others do on this machine meanwhile isn't in it.

use rustix::time::{ClockId, clock_gettime};

/// Of this thread so far, nanoseconds.
pub(crate) fn thread_nanos() -> f64 {
    nanos(ClockId::ThreadCPUTime)
}

/// Of all threads of this process so far, nanoseconds.
pub(crate) fn process_nanos() -> f64 {
    nanos(ClockId::ProcessCPUTime)
}

fn nanos(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    #[expect(
        clippy::cast_precision_loss,
        reason = "an hour's nanoseconds need 42 bits"
    )]
    let (seconds, nanos) = (now.tv_sec as f64, now.tv_nsec as f64);
    seconds * 1e9 + nanos
}
