//! What the kernel knows of the clock.

use std::io;

use super::check;

/// Whether something keeps the clock right (NTP, mostly), as the kernel was told.
pub(crate) fn is_synchronised() -> io::Result<bool> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: with `modes` 0 the kernel changes nothing and fills the struct, which
    // lives for the whole call.
    let said = check(unsafe { libc::adjtimex(&raw mut state) })?;
    Ok(said != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0)
}
