//! Puts grams into eight buckets so that few positions are candidates for
//! nothing. A bucket allows every mixture of its grams, and an engine that looks
//! bytes up by their halves every mixture of those, so grams that are alike
//! belong together.

use super::Gram;
use crate::byteset::ByteSet;

pub(super) const BUCKETS: usize = 8;

/// How an engine looks bytes up, and so which mixtures it allows.
#[derive(Clone, Copy)]
pub(super) enum LookUp {
    /// By the whole byte.
    Whole,
    /// By its low and by its high half.
    Halves,
}

impl LookUp {
    /// What is allowed beside the bytes of `set`.
    fn mixtures(self, set: ByteSet) -> ByteSet {
        match self {
            Self::Whole => set,
            Self::Halves => {
                let (low, high) = set.iter().fold((0u16, 0u16), |(low, high), byte| {
                    (low | 1 << (byte & 0xf), high | 1 << (byte >> 4))
                });
                let mut mixed = ByteSet::EMPTY;
                for byte in 0..=u8::MAX {
                    if low >> (byte & 0xf) & 1 == 1 && high >> (byte >> 4) & 1 == 1 {
                        mixed.insert(byte);
                    }
                }
                mixed
            }
        }
    }

    fn join(self, a: Gram, b: Gram) -> Gram {
        std::array::from_fn(|it| self.mixtures(a[it].union(b[it])))
    }
}

/// Some grams together.
struct Group {
    allowed: Gram,
    likelihood: f32,
    members: Vec<usize>,
    /// How many more positions its union with each group before it lets through.
    with: Vec<f32>,
}

/// The bucket of each gram.
pub(super) fn assign(grams: &[Gram], look_up: LookUp) -> Vec<usize> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, gram) in grams.iter().enumerate() {
        let allowed = gram.map(|it| look_up.mixtures(it));
        add(&mut groups, look_up, allowed, vec![index]);
    }
    while groups.len() > BUCKETS {
        let (a, b) = cheapest_pair(&groups);
        let second = take(&mut groups, b);
        let mut first = take(&mut groups, a);
        first.members.extend(second.members);
        let allowed = look_up.join(first.allowed, second.allowed);
        add(&mut groups, look_up, allowed, first.members);
    }
    let mut buckets = vec![0; grams.len()];
    for (bucket, group) in groups.iter().enumerate() {
        for member in &group.members {
            buckets[*member] = bucket;
        }
    }
    buckets
}

fn add(groups: &mut Vec<Group>, look_up: LookUp, allowed: Gram, members: Vec<usize>) {
    let alone = likelihood(&allowed);
    let with = groups
        .iter()
        .map(|it| likelihood(&look_up.join(it.allowed, allowed)) - it.likelihood - alone)
        .collect();
    groups.push(Group {
        allowed,
        likelihood: alone,
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

/// How often a position of a log fits, roughly.
fn likelihood(allowed: &Gram) -> f32 {
    let place = |set: &ByteSet| set.iter().map(frequency).sum::<f32>();
    allowed.iter().map(place).product()
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
