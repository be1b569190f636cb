//! Puts grams into eight buckets so that few positions are candidates for
//! nothing. A bucket allows every mixture of its grams, and engines that look
//! bytes up by their halves every mixture of those, so grams that are alike
//! belong together.

use super::{GRAM_BYTES, Gram};

pub(super) const BUCKETS: usize = 8;

/// Which halves of a byte may stand at each place: bits for the low half, then
/// for the high one.
type Halves = [(u16, u16); GRAM_BYTES];

/// Some grams together.
struct Group {
    halves: Halves,
    likelihood: f32,
    members: Vec<usize>,
    /// How many more positions its union with each group before it lets through.
    with: Vec<f32>,
}

/// The bucket of each gram.
pub(super) fn assign(grams: &[Gram]) -> Vec<usize> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, gram) in grams.iter().enumerate() {
        add(&mut groups, gram.map(halves), vec![index]);
    }
    while groups.len() > BUCKETS {
        let (a, b) = cheapest_pair(&groups);
        let second = take(&mut groups, b);
        let mut first = take(&mut groups, a);
        first.members.extend(second.members);
        let halves = join(first.halves, second.halves);
        add(&mut groups, halves, first.members);
    }
    let mut buckets = vec![0; grams.len()];
    for (bucket, group) in groups.iter().enumerate() {
        for member in &group.members {
            buckets[*member] = bucket;
        }
    }
    buckets
}

fn add(groups: &mut Vec<Group>, halves: Halves, members: Vec<usize>) {
    let likelihood = likelihood(halves);
    let with = groups
        .iter()
        .map(|it| self::likelihood(join(it.halves, halves)) - it.likelihood - likelihood)
        .collect();
    groups.push(Group {
        halves,
        likelihood,
        members,
        with,
    });
}

fn take(groups: &mut Vec<Group>, index: usize) -> Group {
    for later in &mut groups[index + 1..] {
        later.with.remove(index);
    }
    groups.remove(index)
}

/// The two groups (`a < b`) whose union lets the fewest more positions through.
fn cheapest_pair(groups: &[Group]) -> (usize, usize) {
    let mut best = (f32::INFINITY, (0, 1));
    for (b, group) in groups.iter().enumerate() {
        for (a, more) in group.with.iter().enumerate() {
            if *more < best.0 {
                best = (*more, (a, b));
            }
        }
    }
    best.1
}

fn halves(set: crate::byteset::ByteSet) -> (u16, u16) {
    set.iter().fold((0, 0), |(low, high), byte| {
        (low | 1 << (byte & 0xf), high | 1 << (byte >> 4))
    })
}

fn join(a: Halves, b: Halves) -> Halves {
    std::array::from_fn(|it| (a[it].0 | b[it].0, a[it].1 | b[it].1))
}

/// How often a position of a log fits, roughly.
fn likelihood(halves: Halves) -> f32 {
    let place = |(low, high): (u16, u16)| {
        let bits = |set: u16| (0..16).filter(move |bit| set >> bit & 1 == 1);
        bits(high)
            .flat_map(|high| bits(low).map(move |low| frequency(high << 4 | low)))
            .sum::<f32>()
    };
    halves.into_iter().map(place).product()
}

/// How often a byte stands in logs, in thousandths, roughly.
pub(crate) fn frequency(byte: u8) -> f32 {
    match byte {
        b' ' => 120.0,
        b'e' | b'a' | b't' | b'i' | b'o' | b'n' | b'r' | b's' => 48.0,
        b'l' | b'c' | b'd' | b'u' | b'm' | b'p' | b'g' | b'h' => 24.0,
        b'b' | b'f' | b'v' | b'w' | b'y' | b'k' => 12.0,
        b'j' | b'q' | b'x' | b'z' => 3.0,
        b'0'..=b'9' => 16.0,
        b'A'..=b'Z' => 4.0,
        b'.' | b'-' | b'/' | b':' => 16.0,
        b'_' | b'"' | b',' | b'=' | b'[' | b']' | b'(' | b')' => 6.0,
        0x21..=0x7e => 2.0,
        b'\n' => 10.0,
        _ => 0.3,
    }
}
