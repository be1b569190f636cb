//! Names the functions at addresses of this process, from the tables of symbols in its files. Debug
//! information isn't looked at: it would be hundreds of megabytes, and releases have none.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;

use object::elf::{FileHeader64, PT_LOAD, STT_FUNC};
use object::read::elf::{ElfFile64, ProgramHeader, Sym, SymbolTable};
use object::{Endianness, Object as _, ReadCache};

/// Characters of a name. Those of futures in futures can have thousands.
const NAME_CHARS_MAX: usize = 400;

/// The file that this process was started from, also when it was replaced since.
const OWN_FILE: &str = "/proc/self/exe";

/// What lies at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The function; where it has no name, the file in brackets.
    pub(super) function: String,
    /// Which of the images; none outside of all.
    pub(super) image: Option<usize>,
    /// The address as the image's file counts: the same in each run.
    pub(super) address: u64,
}

/// A file of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// Its name without its directory, which is nobody's business.
    pub(super) name: String,
    /// What the linker named it by, in hex.
    pub(super) build_id: String,
}

/// Names for addresses.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) at: HashMap<usize, Place>,
    pub(super) images: Vec<Image>,
}

/// A part of the process's memory that can be run.
struct Mapping {
    memory: Range<usize>,
    offset: u64,
    path: String,
}

/// Finds names for these addresses. What has no name has its file's, so nothing is left out.
pub(super) fn places(addresses: impl Iterator<Item = usize>) -> Places {
    let mappings = mappings(&fs::read_to_string("/proc/self/maps").unwrap_or_default());
    let own = fs::read_link(OWN_FILE).unwrap_or_default();
    let mut wanted: BTreeMap<&str, Vec<(usize, u64)>> = BTreeMap::new();
    let mut places = Places::default();
    for address in addresses {
        let mapping = mappings.iter().find(|it| it.memory.contains(&address));
        if let Some(mapping) = mapping {
            let offset = (address - mapping.memory.start) as u64 + mapping.offset;
            let all = wanted.entry(&mapping.path).or_default();
            all.push((address, offset));
        } else {
            let place = Place {
                function: "[unknown]".to_owned(),
                image: None,
                address: 0,
            };
            places.at.insert(address, place);
        }
    }
    for (path, wanted) in wanted {
        let is_own = Path::new(path) == own;
        let file = File::open(if is_own { OWN_FILE } else { path });
        places.add(short_name(path), file.ok(), &wanted);
    }
    places
}

impl Places {
    fn add(&mut self, name: &str, file: Option<File>, wanted: &[(usize, u64)]) {
        let mut build_id = String::new();
        let mut named = HashMap::new();
        if let Some(file) = file {
            let cache = ReadCache::new(file);
            if let Ok(file) = ElfFile64::<Endianness, _>::parse(&cache) {
                build_id = file.build_id().ok().flatten().map(hex).unwrap_or_default();
                named = names(&file, wanted);
            }
        }
        let image = self.images.len();
        self.images.push(Image {
            name: name.to_owned(),
            build_id,
        });
        for (address, offset) in wanted {
            let (function, at) = named.remove(address).unwrap_or((None, *offset));
            let place = Place {
                function: function.unwrap_or_else(|| format!("[{name}]")),
                image: Some(image),
                address: at,
            };
            self.at.insert(*address, place);
        }
    }
}

type Names = HashMap<usize, (Option<String>, u64)>;

/// The names in one file, and the addresses as it counts them.
fn names<'data>(
    file: &ElfFile64<'data, Endianness, &'data ReadCache<File>>,
    wanted: &[(usize, u64)],
) -> Names {
    let endian = file.endian();
    let table = [file.elf_symbol_table(), file.elf_dynamic_symbol_table()];
    // A stripped library has the names that others link against.
    let table = table.into_iter().find(|it| !it.is_empty());
    let symbols = table.into_iter().flat_map(SymbolTable::iter);
    let mut functions: Vec<_> = symbols
        .filter(|it| it.st_type() == STT_FUNC && it.st_value(endian) != 0)
        .map(|it| (it.st_value(endian), it.st_size(endian), it))
        .collect();
    functions.sort_unstable_by_key(|(at, size, _)| (*at, *size));
    let function_at = |at: u64| {
        let behind = functions.partition_point(|(start, ..)| *start <= at);
        let (start, size, symbol) = *functions[..behind].last()?;
        // One that was written in assembly may say no size: it goes on to the next.
        let is_inside = size == 0 || at < start.saturating_add(size);
        let name = table?.symbol_name(endian, symbol).ok()?;
        is_inside.then(|| readable(name))
    };
    let mut names = Names::new();
    for (address, offset) in wanted {
        if let Some(at) = virtual_address(file.elf_program_headers(), endian, *offset) {
            names.insert(*address, (function_at(at), at));
        }
    }
    names
}

type Header = <FileHeader64<Endianness> as object::read::elf::FileHeader>::ProgramHeader;

/// Where the file wants the byte at this offset to lie.
fn virtual_address(headers: &[Header], endian: Endianness, offset: u64) -> Option<u64> {
    let loaded = headers.iter().filter(|it| it.p_type(endian) == PT_LOAD);
    let mut loaded =
        loaded.map(|it| (it.p_offset(endian), it.p_filesz(endian), it.p_vaddr(endian)));
    let (start, _, at) = loaded.find(|(start, size, _)| {
        let inside = offset.checked_sub(*start);
        inside.is_some_and(|it| it < *size)
    })?;
    Some(offset - start + at)
}

/// A function's name as its author wrote it, without the hash that the compiler added.
fn readable(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    let name = format!("{:#}", rustc_demangle::demangle(&raw));
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

fn mappings(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(mapping).collect()
}

/// A line such as `55d0c0a00000-55d0c0b00000 r-xp 00010000 fe:01 1234    /usr/bin/danube`.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let rights = fields.next()?;
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let path = fields.nth(2).unwrap_or_default().trim();
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    (rights.contains('x') && !path.is_empty()).then_some(Mapping {
        memory: address(start)?..address(end)?,
        offset,
        path: path.to_owned(),
    })
}

fn short_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.trim_matches(['[', ']'])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_ours_and_one_of_the_c_library_have_their_names() {
        let own: fn(&str) -> &str = short_name;
        let theirs = libc::getpid as *const ();
        let addresses = [own as usize + 1, theirs.addr(), 16];
        let places = places(addresses.into_iter());
        let name = |at: usize| places.at[&addresses[at]].function.as_str();
        assert_eq!(name(0), "danube_telemetry::profile::symbols::short_name");
        assert!(name(1).contains("getpid"), "{}", name(1));
        assert_eq!(name(2), "[unknown]");
        let images: Vec<&str> = places.images.iter().map(|it| it.name.as_str()).collect();
        assert!(images.iter().all(|it| !it.contains('/')), "{images:?}");
        let place = &places.at[&addresses[0]];
        assert!(place.address > 0 && place.image.is_some());
    }

    #[test]
    fn only_what_can_run_is_looked_at() {
        let text = "\
55d0c0a00000-55d0c0b00000 r--p 00000000 fe:01 1234                       /opt/my programs/danube
55d0c0b00000-55d0c0c00000 r-xp 00100000 fe:01 1234                       /opt/my programs/danube (deleted)
7ffc1d3f2000-7ffc1d3f4000 r-xp 00000000 00:00 0                          [vdso]
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 
nonsense
";
        let found: Vec<_> = mappings(text)
            .into_iter()
            .map(|it| (it.memory.start, it.offset, it.path))
            .collect();
        assert_eq!(
            found,
            [
                (
                    0x55d0_c0b0_0000,
                    0x10_0000,
                    "/opt/my programs/danube".to_owned()
                ),
                (0x7ffc_1d3f_2000, 0, "[vdso]".to_owned()),
            ]
        );
        assert_eq!(short_name("/opt/my programs/danube"), "danube");
        assert_eq!(short_name("[vdso]"), "vdso");
    }

    #[test]
    fn names_are_demangled_and_bounded() {
        assert_eq!(
            readable(b"_ZN12danube_store6writer5batch17h0123456789abcdefE"),
            "danube_store::writer::batch"
        );
        assert_eq!(readable(b"sqlite3_step"), "sqlite3_step");
        let long = readable(&[b'a'; 2 * NAME_CHARS_MAX]);
        assert_eq!(long.chars().count(), NAME_CHARS_MAX + 1);
        assert_eq!(readable(b"\xff"), "\u{fffd}");
    }
}
