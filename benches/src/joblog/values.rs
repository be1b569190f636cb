//! The values that jobs register, and the forms in which logs show them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use danube_bench::rng::Rng;

/// Registered at most in a contender.
pub(crate) const VALUES: usize = 500;

/// Planted are the first of them, so that a contender with 20 knows them all.
pub(crate) const PLANTED: usize = 20;

const SEED: u64 = 0x000d_a2be;
const WORD: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const HEX: &[u8] = b"0123456789abcdef";
/// Passwords that people make: every form of them differs from the value.
const SIGNS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!#$%&+/?=";

/// Values of 8 to 64 bytes, the same ones each time.
pub(crate) fn values() -> Vec<Vec<u8>> {
    let mut rng = Rng::new(SEED);
    (0..VALUES)
        .map(|_| {
            let len = rng.between(8, 64);
            let alphabet = rng.pick(&[WORD, WORD, HEX, SIGNS]);
            rng.text(alphabet, len)
        })
        .collect()
}

/// A form of a value as a log shows it.
pub(crate) struct Shown {
    /// What stands in the line.
    pub(crate) text: Vec<u8>,
    /// What must not be left of it.
    pub(crate) needle: Vec<u8>,
    /// It is not the value itself.
    pub(crate) encoded: bool,
}

/// One form, as the dice fall.
pub(crate) fn shown(value: &[u8], rng: &mut Rng) -> Shown {
    let text = match rng.below(10) {
        0 | 1 => return in_base64(value, rng.below(3)),
        2 => value.iter().flat_map(|b| percent(*b)).collect(),
        3 => value.iter().flat_map(|b| hex(*b)).collect(),
        _ => value.to_vec(),
    };
    Shown {
        encoded: text != value,
        needle: text.clone(),
        text,
    }
}

/// `user:VALUE` in base64, `shift` bytes into a group of three. The characters
/// at the edges depend on the value's neighbours as well.
fn in_base64(value: &[u8], shift: usize) -> Shown {
    let whole = [&b"me:"[..shift], value, b"\n"].concat();
    let text = STANDARD.encode(whole).into_bytes();
    let needle = text[(shift * 8).div_ceil(6)..(shift + value.len()) * 8 / 6].to_vec();
    Shown {
        text,
        needle,
        encoded: true,
    }
}

/// The value with a colour begun and ended inside, as a tool that marks what
/// matched prints it.
pub(crate) fn coloured(value: &[u8], rng: &mut Rng) -> Shown {
    let first = rng.between(1, value.len() - 2);
    let second = rng.between(first + 1, value.len() - 1);
    let parts = [
        &value[..first],
        b"\x1b[1;31m",
        &value[first..second],
        b"\x1b[0m",
        &value[second..],
    ];
    Shown {
        text: parts.concat(),
        needle: value.to_vec(),
        encoded: true,
    }
}

fn percent(byte: u8) -> Vec<u8> {
    if byte.is_ascii_alphanumeric() {
        vec![byte]
    } else {
        format!("%{byte:02X}").into_bytes()
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |it: u8| HEX[usize::from(it)];
    [digit(byte >> 4), digit(byte & 15)]
}

pub(crate) const fn word() -> &'static [u8] {
    WORD
}
