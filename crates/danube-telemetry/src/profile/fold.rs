//! Stacks as names, root first: what a flame graph is drawn from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::symbols::Places;
use super::{Kind, Profile, Sample, name_of};

/// The names of a sample's stack, the thread first.
pub(super) fn names<'a>(sample: &'a Sample, places: &'a Places) -> Vec<&'a str> {
    let frames = sample.frames.iter().rev();
    let frames = frames.map(|it| name_of(places, *it));
    sample.thread.as_deref().into_iter().chain(frames).collect()
}

/// What counts: samples of the processor, or bytes.
pub(super) fn value(kind: Kind, sample: &Sample) -> i64 {
    match kind {
        Kind::Cpu => sample.values[0],
        Kind::Heap => sample.values[1],
    }
}

/// A line a stack: its names with semicolons between them, a blank, and its value.
pub(super) fn lines(profile: &Profile, places: &Places) -> String {
    let mut all: BTreeMap<String, i64> = BTreeMap::new();
    for sample in &profile.samples {
        // Such a sign would end a name.
        let stack = names(sample, places).into_iter();
        let stack: Vec<String> = stack.map(|it| it.replace([';', '\n'], ":")).collect();
        *all.entry(stack.join(";")).or_default() += value(profile.kind, sample);
    }
    all.iter().fold(String::new(), |mut text, (stack, value)| {
        let _ = writeln!(text, "{stack} {value}");
        text
    })
}
