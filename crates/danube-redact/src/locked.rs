//! Memory for values: never swapped, not in a core dump, wiped when dropped, as
//! far as the system allows.
#![cfg_attr(
    all(target_os = "linux", not(miri)),
    expect(unsafe_code, reason = "maps pages; each block says why it is sound")
)]

/// Bytes that were filled once and are only read since.
pub(crate) struct Locked {
    pages: Pages,
    len: usize,
}

impl Locked {
    /// A copy of `parts`, one behind the other.
    pub(crate) fn new<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let len = parts.clone().map(<[u8]>::len).sum();
        let mut pages = Pages::new(len);
        let mut rest = pages.bytes_mut();
        for part in parts {
            let (here, behind) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = behind;
        }
        Self { pages, len }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.pages.bytes()[..self.len]
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
use mapped::Pages;

#[cfg(all(target_os = "linux", not(miri)))]
mod mapped {
    use std::ptr::{self, NonNull};

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
    use zeroize::{Zeroize as _, Zeroizing};

    /// Pages of our own, or the heap where there are none to be had.
    pub(super) enum Pages {
        Mapped(Mapped),
        Heap(Zeroizing<Vec<u8>>),
    }

    pub(super) struct Mapped {
        at: NonNull<u8>,
        len: usize,
    }

    // SAFETY: the pages belong to this value alone, which hands them out by the
    // rules of references.
    unsafe impl Send for Mapped {}
    // SAFETY: as above.
    unsafe impl Sync for Mapped {}

    impl Pages {
        pub(super) fn new(len: usize) -> Self {
            let heap = || Self::Heap(Zeroizing::new(vec![0; len]));
            if len == 0 {
                return heap();
            }
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: asks for new pages anywhere; none that exist are touched.
            let mapped = unsafe { mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) };
            let Some(at) = mapped.ok().and_then(|it| NonNull::new(it.cast::<u8>())) else {
                return heap();
            };
            // Limits (`RLIMIT_MEMLOCK`) may forbid either. The values are needed
            // all the same; what is lost is only the second line of defence.
            // SAFETY: the pages are ours and `len` bytes long.
            let _ = unsafe { mlock(at.as_ptr().cast(), len) };
            // SAFETY: as above; the advice changes nothing that can be read.
            let _ = unsafe { madvise(at.as_ptr().cast(), len, Advice::LinuxDontDump) };
            Self::Mapped(Mapped { at, len })
        }

        pub(super) fn bytes(&self) -> &[u8] {
            match self {
                // SAFETY: `len` bytes are mapped, were zero at first, and nobody
                // writes to them while `self` is borrowed.
                Self::Mapped(it) => unsafe { std::slice::from_raw_parts(it.at.as_ptr(), it.len) },
                Self::Heap(it) => it,
            }
        }

        pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
            match self {
                // SAFETY: as above, and nobody else has a reference.
                Self::Mapped(it) => unsafe {
                    std::slice::from_raw_parts_mut(it.at.as_ptr(), it.len)
                },
                Self::Heap(it) => it,
            }
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            self.bytes_mut().zeroize();
            if let Self::Mapped(it) = self {
                // SAFETY: they are ours, and nobody has a reference any more.
                let _ = unsafe { munmap(it.at.as_ptr().cast(), it.len) };
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
struct Pages(zeroize::Zeroizing<Vec<u8>>);

#[cfg(not(all(target_os = "linux", not(miri))))]
impl Pages {
    fn new(len: usize) -> Self {
        Self(zeroize::Zeroizing::new(vec![0; len]))
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_behind_each_other() {
        let parts = [&b"one"[..], b"", b"two"];
        assert_eq!(Locked::new(parts.into_iter()).bytes(), b"onetwo");
        assert_eq!(Locked::new([].into_iter()).bytes(), b"");
        let large = vec![7; 100_000];
        assert_eq!(Locked::new([&large[..]].into_iter()).bytes(), large);
    }

    /// A line of a file about this process, in KiB.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn told(file: &str, line: &str, column: usize) -> Option<u64> {
        let text = std::fs::read_to_string(file).unwrap();
        let line = text.lines().find_map(|it| it.strip_prefix(line)).unwrap();
        line.split_whitespace().nth(column)?.parse().ok()
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn the_pages_are_locked_where_the_system_allows_it() {
        let allowed = told("/proc/self/limits", "Max locked memory", 0);
        let locked = Locked::new([&[7; 50_000][..]].into_iter());
        // A limit that isn't a number is none.
        if allowed.is_none_or(|bytes| bytes > 16 << 20) {
            assert!(told("/proc/self/status", "VmLck:", 0) >= Some(48));
        }
        assert_eq!(locked.bytes().len(), 50_000);
    }
}
