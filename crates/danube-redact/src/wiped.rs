//! Buffers of raw bytes that leave no copy behind when they grow.

use zeroize::Zeroizing;

/// Makes room for `more` bytes. A vector that grows by itself gives its old
/// memory back as it is; here it is wiped first.
pub(crate) fn reserve_wiped(buffer: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = buffer.len() + more;
    if needed <= buffer.capacity() {
        return;
    }
    let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
    larger.extend_from_slice(buffer);
    *buffer = larger;
}
