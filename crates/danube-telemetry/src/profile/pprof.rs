//! Writes a profile as pprof reads it: `profile.proto` of github.com/google/pprof, compressed.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::time::UNIX_EPOCH;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::symbols::Places;
use super::{Kind, Profile};

/// All texts stand in one table and are named by their place in it; the first is the empty one.
#[derive(Clone, PartialEq, Message)]
struct Whole {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Counted>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Counted {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
}

/// Texts, each once.
struct Texts {
    all: Vec<String>,
    at: HashMap<String, i64>,
}

impl Texts {
    fn new() -> Self {
        let mut texts = Self {
            all: Vec::new(),
            at: HashMap::new(),
        };
        texts.add("");
        texts
    }

    fn add(&mut self, text: &str) -> i64 {
        if let Some(at) = self.at.get(text) {
            return *at;
        }
        let at = i64::try_from(self.all.len()).unwrap_or(0);
        self.all.push(text.to_owned());
        self.at.insert(text.to_owned(), at);
        at
    }
}

/// Numbers from one on: zero means that there is none.
fn id(at: usize) -> u64 {
    at as u64 + 1
}

pub(super) fn write(profile: &Profile, places: &Places) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&whole(profile, places).encode_to_vec())?;
    encoder.finish()
}

fn whole(profile: &Profile, places: &Places) -> Whole {
    let mut texts = Texts::new();
    let (counted, measured, per) = match profile.kind {
        Kind::Cpu => (
            ["samples", "count"],
            ["cpu", "nanoseconds"],
            ["cpu", "nanoseconds"],
        ),
        Kind::Heap => (
            ["inuse_objects", "count"],
            ["inuse_space", "bytes"],
            ["space", "bytes"],
        ),
    };
    let [counted, measured, per] = [counted, measured, per].map(|[kind, unit]| ValueType {
        kind: texts.add(kind),
        unit: texts.add(unit),
    });
    let mapping = mappings(places, &mut texts);
    let (location, function, located) = locations(places, &mut texts);
    let thread = texts.add("thread");
    let sample = profile.samples.iter().map(|sample| Counted {
        location_id: sample
            .frames
            .iter()
            .filter_map(|it| located.get(it).copied())
            .collect(),
        value: sample.values.to_vec(),
        label: sample
            .thread
            .iter()
            .map(|name| Label {
                key: thread,
                text: texts.add(name),
            })
            .collect(),
    });
    let sample = sample.collect();
    let lost = (profile.lost > 0).then(|| format!("{} samples were lost", profile.lost));
    let comment = lost.iter().map(|it| texts.add(it)).collect();
    let since = profile
        .began_at
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Whole {
        sample_type: vec![counted, measured],
        sample,
        mapping,
        location,
        function,
        time_nanos: i64::try_from(since.as_nanos()).unwrap_or(0),
        duration_nanos: i64::try_from(profile.took.as_nanos()).unwrap_or(0),
        period_type: Some(per),
        period: profile.period,
        comment,
        default_sample_type: measured.kind,
        string_table: texts.all,
    }
}

/// Addresses are those of the files, so that two runs can be compared, and nobody learns from them
/// where this one lies in memory.
fn mappings(places: &Places, texts: &mut Texts) -> Vec<Mapping> {
    // As far as something was seen there.
    let mut ends = vec![0; places.images.len()];
    for place in places.at.values() {
        if let Some(end) = place.image.and_then(|at| ends.get_mut(at)) {
            *end = place.address.saturating_add(1).max(*end);
        }
    }
    let images = places.images.iter().enumerate();
    let images = images.map(|(at, image)| Mapping {
        id: id(at),
        memory_limit: ends[at],
        filename: texts.add(&image.name),
        build_id: texts.add(&image.build_id),
        has_functions: true,
    });
    images.collect()
}

fn locations(
    places: &Places,
    texts: &mut Texts,
) -> (Vec<Location>, Vec<Function>, HashMap<usize, u64>) {
    let mut functions: HashMap<&str, Function> = HashMap::new();
    let mut locations = Vec::new();
    let mut located = HashMap::new();
    for (address, place) in &places.at {
        let next = id(functions.len());
        let function = functions.entry(&place.function).or_insert_with(|| {
            let name = texts.add(&place.function);
            Function {
                id: next,
                name,
                system_name: name,
            }
        });
        located.insert(*address, id(locations.len()));
        locations.push(Location {
            id: id(locations.len()),
            mapping_id: place.image.map_or(0, id),
            address: place.address,
            line: vec![Line {
                function_id: function.id,
            }],
        });
    }
    let mut functions: Vec<Function> = functions.into_values().collect();
    functions.sort_unstable_by_key(|it| it.id);
    (locations, functions, located)
}
