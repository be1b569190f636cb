//! One byte after the other, on any machine.

use super::GRAM_BYTES;

/// Stretches that are looked at side by side: each waits for its own last step,
/// and a processor has room for several such chains.
const LANES: usize = 4;

/// Least bytes a lane for which that pays.
const LANE_BYTES_MIN: usize = 64;

pub(super) fn find(places: &[u32; 256], bytes: &[u8], start: usize, out: &mut Vec<usize>) {
    let lane = bytes.len().saturating_sub(start) / LANES;
    if lane < LANE_BYTES_MIN {
        one(places, bytes, start, out);
        return;
    }
    // A gram's last byte lies in the lane that reports it, its first may not.
    let mut found: [Vec<usize>; LANES] = Default::default();
    let mut states = [0; LANES];
    let begins: [usize; LANES] = std::array::from_fn(|it| start + it * lane);
    for (state, begin) in states.iter_mut().zip(begins).skip(1) {
        for byte in &bytes[begin - (GRAM_BYTES - 1)..begin] {
            *state = step(places, *state, *byte);
        }
    }
    let lanes: [&[u8]; LANES] = std::array::from_fn(|it| &bytes[begins[it]..][..lane]);
    let [first, others @ ..] = lanes;
    for (at, byte) in first.iter().enumerate() {
        states[0] = step(places, states[0], *byte);
        for (it, lane) in others.iter().enumerate() {
            states[it + 1] = step(places, states[it + 1], lane[at]);
        }
        if states.iter().any(|it| *it >> 24 != 0) {
            for it in 0..LANES {
                if states[it] >> 24 != 0 {
                    found[it].push(begins[it] + at + 1 - GRAM_BYTES);
                }
            }
        }
    }
    for found in found {
        out.extend(found);
    }
    let rest = start + lane * LANES;
    one(places, bytes, rest - (GRAM_BYTES - 1), out);
}

fn one(places: &[u32; 256], bytes: &[u8], start: usize, out: &mut Vec<usize>) {
    let mut state = 0;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        state = step(places, state, *byte);
        if state >> 24 != 0 {
            out.push(at + 1 - GRAM_BYTES);
        }
    }
}

/// The buckets that allowed the last byte at place 0, the last two at places 0
/// and 1, and so on; the highest eight bits are those that allowed all four.
fn step(places: &[u32; 256], state: u32, byte: u8) -> u32 {
    (state << 8 | 0xff) & places[usize::from(byte)]
}
