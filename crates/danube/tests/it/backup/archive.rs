//! An archive taken apart and put together again, as its owner or an enemy may.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Bytes of a block of a tar.
const BLOCK: usize = 512;

/// One entry: its name, its kind and its content.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: u8,
    pub(super) content: Vec<u8>,
}

/// All entries of a file, in order.
pub(super) fn entries(file: &Path) -> Vec<Entry> {
    let bytes = fs::read(file).unwrap();
    let (mut rest, mut all) = (&bytes[..], Vec::new());
    while rest[0] != 0 {
        let (header, after) = rest.split_at(BLOCK);
        let text = |from: usize, to: usize| {
            let text = String::from_utf8_lossy(&header[from..to]).into_owned();
            text.trim_end_matches('\0').to_owned()
        };
        let size = usize::from_str_radix(&text(124, 135), 8).unwrap();
        let prefix = text(345, 500);
        let name = match prefix.is_empty() {
            true => text(0, 100),
            false => format!("{prefix}/{}", text(0, 100)),
        };
        all.push(Entry {
            name,
            kind: header[156],
            content: after[..size].to_vec(),
        });
        rest = &after[size.div_ceil(BLOCK) * BLOCK..];
    }
    all
}

/// Writes entries as a tar, byte by byte: what no library would write, too.
pub(super) fn write(file: &Path, entries: &[Entry]) {
    let mut out = fs::File::create(file).unwrap();
    for entry in entries {
        let mut header = [0_u8; BLOCK];
        header[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        header[100..108].copy_from_slice(b"0000600\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        let size = format!("{:011o}\0", entry.content.len());
        header[124..136].copy_from_slice(size.as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = entry.kind;
        if entry.kind == b'1' || entry.kind == b'2' {
            header[157..168].copy_from_slice(b"/etc/passwd");
        }
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|it| u32::from(*it)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.write_all(&header).unwrap();
        out.write_all(&entry.content).unwrap();
        let over = entry.content.len() % BLOCK;
        out.write_all(&[0; BLOCK][..(BLOCK - over) % BLOCK])
            .unwrap();
    }
    out.write_all(&[0; 2 * BLOCK]).unwrap();
}

/// The entry with this name.
pub(super) fn entry<'a>(entries: &'a mut [Entry], name: &str) -> &'a mut Entry {
    let found = entries.iter_mut().find(|it| it.name == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

/// Makes list of hashes and manifest fit what is there, as whoever damages an archive
/// on purpose would.
pub(super) fn vouch(entries: &mut [Entry]) {
    let listed = |it: &&Entry| it.name != "SHA256SUMS" && it.name != "manifest.json";
    let hex = |bytes: &[u8]| -> String {
        Sha256::digest(bytes)
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect()
    };
    let lines: String = entries
        .iter()
        .filter(listed)
        .map(|it| format!("{}  {}\n", hex(&it.content), it.name))
        .collect();
    let (files, bytes) = entries
        .iter()
        .filter(listed)
        .fold((0_u64, 0_u64), |(files, bytes), it| {
            (files + 1, bytes + it.content.len() as u64)
        });
    let manifest = entry(entries, "manifest.json");
    let mut said: Value = serde_json::from_slice(&manifest.content).unwrap();
    said["files"] = files.into();
    said["bytes"] = bytes.into();
    said["sums_sha256"] = hex(lines.as_bytes()).into();
    manifest.content = said.to_string().into_bytes();
    entry(entries, "SHA256SUMS").content = lines.into_bytes();
}

/// What gzip makes of a file.
pub(super) fn unzipped(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let plain = flate2::read::GzDecoder::new(fs::File::open(file).unwrap());
    { plain }.read_to_end(&mut bytes).unwrap();
    bytes
}
