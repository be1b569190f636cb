//! The program's allocator: jemalloc, which can say who holds memory.
//!
//! Sampling is built in and off (`prof_active:false`) until a profile asks for it. Its statistics are
//! left out: nothing here reads them.
#![expect(
    unsafe_code,
    reason = "names the allocator's settings, and calls functions of it that are C"
)]

use std::ffi::{CStr, CString, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use danube_telemetry::profile::heap;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads before `main`: one sample each 512 KiB, once sampling is on.
// SAFETY: it is the name that jemalloc looks for, and nobody else in the program has it. jemalloc reads a
// `const char *`, which is what a reference to an array is.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 46] = b"prof:true,prof_active:false,lg_prof_sample:19\0";

/// Makes known what can be done with it.
pub(crate) fn make_known() {
    heap::install(heap::Allocator {
        activate: |is_on| write(c"prof.active", is_on),
        forget: || tell(c"prof.reset", std::ptr::null_mut(), 0),
        dump,
    });
}

fn dump(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    write(c"prof.dump", path.as_ptr())
}

/// Sets a value of the type that the name has in jemalloc's manual.
fn write<T>(name: &CStr, mut value: T) -> io::Result<()> {
    tell(name, (&raw mut value).cast(), size_of::<T>())
}

fn tell(name: &CStr, value: *mut c_void, len: usize) -> io::Result<()> {
    // SAFETY: the name ends in a zero; nothing is asked back; `value` holds `len` bytes, which jemalloc
    // reads during the call and refuses where they aren't as many as it expects. `prof.dump` reads the
    // path behind the pointer, which its caller keeps.
    let told = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            value,
            len,
        )
    };
    match told {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
