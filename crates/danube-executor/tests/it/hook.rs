//! Lets this test binary become a sandbox, as the first line of a `main` would.
#![expect(
    unsafe_code,
    reason = "libtest owns `main`, so the linker has to call us before it"
)]

extern "C" fn become_sandbox() {
    danube_executor::sandbox_main_if_asked();
}

// SAFETY: the C library calls the functions of this section before `main`, in
// the only thread, once arguments and allocator are usable.
#[used]
#[unsafe(link_section = ".init_array")]
static BECOME_SANDBOX: extern "C" fn() = become_sandbox;
