//! Interrupts whoever uses the processor and notes where it was.
//!
//! The handler may find its thread anywhere, also inside of the allocator or while it holds a lock.
//! So it only reads registers and the thread's own stack, along the chain of frame pointers, and
//! writes into slots that are there already. It takes no lock and allocates nothing, which is why a
//! heap profile may go on beside it.
#![expect(
    unsafe_code,
    reason = "a signal handler that reads registers and the stack; each block says why it holds"
)]

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ring::{Filling, RING};

/// Bytes of a stack that are walked: more than any thread of ours has.
const STACK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of the smallest page: what is asked about at once.
const PAGE_BYTES: usize = 4096;

/// Bytes of a link in the chain of frames: the next one's address, and where the call returns to.
const LINK_BYTES: usize = 2 * size_of::<usize>();

/// Whether samples are wanted. A signal that comes late finds it unset.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Interrupts the process so often in each second of processor time that it uses, or no more.
///
/// # Errors
/// When the system refuses; then nothing is interrupted.
pub(super) fn interrupt(hz: Option<u32>) -> io::Result<()> {
    if hz.is_some() {
        install()?;
    }
    let micros = hz.map_or(0, |hz| 1_000_000 / hz.max(2));
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: libc::suseconds_t::from(micros),
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    IS_ON.store(hz.is_some(), Ordering::SeqCst);
    // SAFETY: `timer` is read during the call only, and nobody wants the timer's old value.
    let set = unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) };
    if set != 0 {
        IS_ON.store(false, Ordering::SeqCst);
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Installs the handler, which stays for good: without one, a signal that was sent just before the end
/// would end the process. Programs that are started begin without it, as each `exec` does, and without
/// the timer, as each `fork` does.
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: all bytes of a `sigaction` may be zero: it says no handler, no flag, no signal.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            on_signal;
        action.sa_sigaction = handler as libc::sighandler_t;
        // Calls that were interrupted go on by themselves, where the kernel can do that.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: `action` is whole and read during the call only; its handler has the form that
        // `SA_SIGINFO` asks for and does nothing that isn't allowed in a handler.
        let set =
            unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) };
        match set {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !IS_ON.load(Ordering::SeqCst) {
        return;
    }
    // SAFETY: it is this thread's own `errno`, always there. The code that was interrupted may be
    // about to look at it, so it is put back below.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if let Some(mut sample) = RING.fill() {
        let mut name = [0_u8; 16];
        // SAFETY: the call writes at most 16 bytes, and so many there are.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        sample.name(name);
        // SAFETY: the kernel hands a `SA_SIGINFO` handler a `ucontext_t` that lives until it returns.
        let registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
        walk(registers, &mut sample);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Where a thread was.
#[derive(Clone, Copy)]
struct Registers {
    instruction: usize,
    frame: usize,
    stack: usize,
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let all = &context.uc_mcontext.gregs;
    let of = |register: libc::c_int| {
        let value = usize::try_from(register).ok().and_then(|it| all.get(it));
        value.map_or(0, |it| usize::from_ne_bytes(it.to_ne_bytes()))
    };
    Registers {
        instruction: of(libc::REG_RIP),
        frame: of(libc::REG_RBP),
        stack: of(libc::REG_RSP),
    }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let all = &context.uc_mcontext;
    let of = |value: u64| usize::from_ne_bytes(value.to_ne_bytes());
    Registers {
        instruction: of(all.pc),
        frame: of(all.regs[29]),
        stack: of(all.sp),
    }
}

/// Notes where the thread is, then where each call above returns to, less one: inside of the call.
/// Code without frame pointers (the C library) may have left anything in that register, so each link
/// must lie further up the same stack, and be readable.
fn walk(at: Registers, sample: &mut Filling) {
    if !sample.push(at.instruction) {
        return;
    }
    let mut frame = at.frame;
    let mut lowest = at.stack;
    let end = at.stack.saturating_add(STACK_BYTES_MAX);
    let mut readable = 0..0;
    while frame >= lowest && frame < end && frame.is_multiple_of(size_of::<usize>()) {
        for byte in [frame, frame + LINK_BYTES - 1] {
            if !readable.contains(&byte) {
                let page = byte - byte % PAGE_BYTES;
                if !is_readable(page) {
                    return;
                }
                readable = page..page + PAGE_BYTES;
            }
        }
        let link = frame as *const usize;
        // SAFETY: both words are aligned and lie on pages that could be read a moment ago. They are
        // in this thread's stack, above what it uses; nobody unmaps it while it runs this.
        let (next, returns_to) = unsafe { (link.read_volatile(), link.add(1).read_volatile()) };
        if returns_to < PAGE_BYTES || !sample.push(returns_to - 1) {
            return;
        }
        lowest = frame + LINK_BYTES;
        frame = next;
    }
}

/// Asks the kernel whether a page can be read. The call is one that must read eight bytes there
/// before it can find that nothing else of it makes sense, so it never does anything.
fn is_readable(page: usize) -> bool {
    /// No such way to change the mask of signals.
    const NO_SUCH_HOW: libc::c_int = -1;
    // SAFETY: the kernel checks the address itself; `how` is invalid, so no mask is changed.
    let asked = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            NO_SUCH_HOW,
            page,
            std::ptr::null_mut::<libc::c_void>(),
            8_usize,
        )
    };
    // SAFETY: it is this thread's own `errno`, always there.
    asked == -1 && unsafe { *libc::__errno_location() } == libc::EINVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_apart_without_touching_them() {
        let own = 7_usize;
        let page = std::ptr::from_ref(&own).addr() / PAGE_BYTES * PAGE_BYTES;
        assert!(is_readable(page));
        assert!(!is_readable(0));
        assert!(!is_readable(usize::MAX / PAGE_BYTES * PAGE_BYTES));
    }

    #[test]
    fn a_register_that_holds_anything_ends_the_walk() {
        let own = [0_usize; 4];
        let stack = std::ptr::from_ref(&own).addr();
        for frame in [
            0,
            1,
            stack - 8,
            stack + 1,
            stack + STACK_BYTES_MAX,
            usize::MAX - 7,
        ] {
            let mut sample = RING.fill().unwrap();
            let at = Registers {
                instruction: 0x1234_5678,
                frame,
                stack,
            };
            walk(at, &mut sample);
            drop(sample);
        }
        let mut seen = Vec::new();
        RING.drain(|_, frames| seen.push(frames.to_vec()));
        assert_eq!(seen.iter().filter(|it| **it == [0x1234_5678]).count(), 6);
    }
}
