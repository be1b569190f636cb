//! Counts what a thread allocates: a line costs nothing once the buffers are there.
#![expect(unsafe_code, reason = "an allocator is unsafe by its nature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use danube_telemetry::log::build;
use danube_telemetry::{LogFormat, TraceContext};
use tracing::{debug, info, info_span};

use super::lines::{Memory, options};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // Not while the thread ends.
    let _ = ALLOCATIONS.try_with(|it| it.set(it.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; the counter is a plain
// cell of the thread that allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_line_in_two_spans_allocates_nothing_once_the_buffers_are_there() {
    let cases = [
        (LogFormat::Json, false),
        (LogFormat::Json, true),
        (LogFormat::Text, true),
    ];
    for (format, careful) in cases {
        let mut options = options(Memory::default());
        options.format = Some(format);
        options.redact = Some(Box::new(|_, value| Cow::Borrowed(value)));
        if !careful {
            options.suspects = Some(Box::new(|line| line.contains("secret")));
        }
        options.tap = Some(std::sync::Arc::new(|line, _| {
            assert!(line.starts_with('{'));
        }));
        let (subscriber, handle, guard) = build(options).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let context = TraceContext::random();
            let outer = info_span!(target: "danube.api", "request", trace_id = context.trace_hex(),
                span_id = context.span_hex(), request_id = "0192f3a4-5b6c-7d8e-9f00-112233445566");
            let _outer = outer.enter();
            let inner = info_span!(target: "danube.orchestrator", "job", trace_id = context.trace_hex(),
                span_id = context.span_hex());
            let _inner = inner.enter();
            let tell = |n: u64| {
                info!(target: "danube.orchestrator", event = "job_completed", job_id = "0192f3a4", n,
                    status = "success", duration_seconds = 1.25, ok = true, text = "two \"words\"\n", debug = ?n);
                debug!(target: "danube.store", event = "sql_query", n);
            };
            // Both buffers of the writer have to have been used.
            for n in 0..1_000 {
                tell(n);
            }
            assert!(handle.flush(DEADLINE));
            for n in 0..1_000 {
                tell(n);
            }
            assert!(handle.flush(DEADLINE));
            let before = ALLOCATIONS.get();
            for n in 0..100 {
                tell(n);
            }
            assert_eq!(ALLOCATIONS.get() - before, 0, "{format:?} {careful}");
        });
        assert!(guard.finish(DEADLINE));
    }
}
