//! Sizes in bytes, as people write them.

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
pub(super) const TIB: u64 = 1024 * GIB;

/// Units of sizes; the longest first where one ends like another.
const UNITS: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// `10MiB`, `10 MiB`, `1048576`. Only whole numbers: `1.5GiB` is `1536MiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let with_unit = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)));
    let (digits, unit) = with_unit.unwrap_or((text, 1));
    if !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Bytes with the largest binary unit that divides them.
pub(crate) fn size(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .filter(|(name, unit)| name.ends_with("iB") && bytes != 0 && bytes.is_multiple_of(*unit))
        .max_by_key(|(_, unit)| *unit);
    match unit {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}
