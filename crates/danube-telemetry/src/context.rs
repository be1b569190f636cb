//! W3C trace context: the `traceparent` header and the ids behind it. What comes
//! from outside is either exactly right or not there.

use std::cell::RefCell;
use std::fmt;

/// `flags` bit: the caller records this trace.
pub const SAMPLED: u8 = 1;

/// Length of a version 00 header.
const TRACEPARENT_BYTES: usize = 55;

/// Where in which trace we are. `Display` writes the `traceparent` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// Never all zero.
    pub span_id: [u8; 8],
    /// Only [`SAMPLED`] has a meaning today.
    pub flags: u8,
}

impl TraceContext {
    /// A new, sampled trace.
    pub fn random() -> Self {
        Self {
            trace_id: random(),
            span_id: random(),
            flags: SAMPLED,
        }
    }

    /// A new span in the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: random(),
            ..*self
        }
    }

    /// Reads a `traceparent` header. `None` for anything the standard forbids:
    /// then a new trace starts.
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim_matches([' ', '\t']);
        let bytes = header.as_bytes();
        // A later version may be longer, after another dash.
        let known = bytes.len() == TRACEPARENT_BYTES;
        let later = bytes.len() > TRACEPARENT_BYTES
            && bytes[TRACEPARENT_BYTES] == b'-'
            && !bytes.starts_with(b"00");
        if !(known || later) || !header.is_ascii() || bytes.starts_with(b"ff") {
            return None;
        }
        let dashes = [2, 35, 52].iter().all(|at| bytes[*at] == b'-');
        let [_version] = unhex::<1>(&bytes[0..2])?;
        let trace_id = unhex::<16>(&bytes[3..35])?;
        let span_id = unhex::<8>(&bytes[36..52])?;
        let [flags] = unhex::<1>(&bytes[53..55])?;
        let valid = dashes && trace_id != [0; 16] && span_id != [0; 8];
        valid.then_some(Self {
            trace_id,
            span_id,
            flags,
        })
    }

    /// Reads an id of this many bytes from its hex digits. `None` for anything else, and for
    /// all zero, which means "no id".
    pub(crate) fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
        if digits.len() != N * 2 {
            return None;
        }
        unhex(digits.as_bytes()).filter(|id| *id != [0; N])
    }

    /// The trace id as 32 lower-case hex digits.
    pub fn trace_hex(&self) -> String {
        self.trace_digits().as_str().to_owned()
    }

    /// The span id as 16 lower-case hex digits.
    pub fn span_hex(&self) -> String {
        self.span_digits().as_str().to_owned()
    }

    /// The same as [`TraceContext::trace_hex`], without memory of its own.
    pub fn trace_digits(&self) -> Digits<32> {
        Digits::of(&self.trace_id)
    }

    /// The same as [`TraceContext::span_hex`], without memory of its own.
    pub fn span_digits(&self) -> Digits<16> {
        Digits::of(&self.span_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.trace_hex(),
            self.span_hex(),
            self.flags
        )
    }
}

/// Bytes of a `tracestate` that is passed on (W3C asks for at least so many).
const STATE_BYTES_MAX: usize = 512;

/// Members of a `tracestate`: the standard allows no more.
const STATE_MEMBERS_MAX: usize = 32;

/// Bytes of a `baggage` that is passed on (W3C asks for at least so many).
const BAGGAGE_BYTES_MAX: usize = 8_192;

/// Members of a `baggage` (W3C asks for at least so many).
const BAGGAGE_MEMBERS_MAX: usize = 64;

/// A `tracestate` header, or several joined by commas, if it is right (W3C trace context,
/// section 3.3). What is wrong is as good as none: it is somebody else's and never ours to
/// mend.
pub(crate) fn tracestate(header: &str) -> Option<String> {
    let is_key = |it: &str| {
        let begins = it.bytes().next();
        begins.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
            && it.len() <= 256
            && it.bytes().all(
                |it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'),
            )
    };
    let is_value = |it: &str| {
        (1..=256).contains(&it.len())
            && it.bytes().all(|it| matches!(it, b' '..=b'~') && it != b'=')
    };
    let members = members(header, STATE_MEMBERS_MAX)?;
    let is_right = |member: &&str| {
        let pair = member.split_once('=');
        pair.is_some_and(|(key, value)| is_key(key) && is_value(value))
    };
    let text = members.join(",");
    (members.iter().all(is_right) && (1..=STATE_BYTES_MAX).contains(&text.len())).then_some(text)
}

/// A `baggage` header, or several joined by commas, if it is right (W3C baggage).
pub(crate) fn baggage(header: &str) -> Option<String> {
    let is_key = |it: &str| {
        let it = it.trim_end_matches([' ', '\t']);
        !it.is_empty()
            && it
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it))
    };
    let members = members(header, BAGGAGE_MEMBERS_MAX)?;
    let is_right = |member: &&str| {
        let pair = member.split_once('=');
        pair.is_some_and(|(key, value)| {
            is_key(key)
                && value
                    .bytes()
                    .all(|it| matches!(it, b' '..=b'~' | b'\t') && it != b'"')
        })
    };
    let text = members.join(",");
    (members.iter().all(is_right) && (1..=BAGGAGE_BYTES_MAX).contains(&text.len())).then_some(text)
}

/// The members of a list, without the empty ones; none when there are too many.
fn members(header: &str, max: usize) -> Option<Vec<&str>> {
    let members = header.split(',').map(|it| it.trim_matches([' ', '\t']));
    let members: Vec<&str> = members.filter(|it| !it.is_empty()).take(max + 1).collect();
    (members.len() <= max).then_some(members)
}

/// Random bytes that a thread draws from the kernel at once: a call for each id would take
/// longer than all else that a span does.
const STOCK_BYTES: usize = 1_024;

/// Random bytes of a thread, each of which is given out once.
struct Stock {
    bytes: [u8; STOCK_BYTES],
    used: usize,
}

thread_local! {
    static STOCK: RefCell<Stock> = const {
        RefCell::new(Stock { bytes: [0; STOCK_BYTES], used: STOCK_BYTES })
    };
}

impl Stock {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > STOCK_BYTES {
            fill(&mut self.bytes);
            self.used = 0;
        }
        let mut id = [0; N];
        id.copy_from_slice(&self.bytes[self.used..self.used + N]);
        self.used += N;
        id
    }
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel gives random bytes once it has booted");
}

/// A random id. Not for secrets: it stays in memory until its stock is used up.
fn random<const N: usize>() -> [u8; N] {
    let mut id = [0; N];
    // All zero means "no id", so that one draw in 2^64 is repeated.
    while id == [0; N] {
        // A thread that is ending has no stock any more.
        if let Ok(drawn) = STOCK.try_with(|it| it.borrow_mut().take()) {
            id = drawn;
        } else {
            fill(&mut id);
        }
    }
    id
}

/// So many lower-case hex digits.
#[derive(Debug, Clone, Copy)]
pub struct Digits<const N: usize>([u8; N]);

impl<const N: usize> Digits<N> {
    /// Of half as many bytes.
    fn of(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; N];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        Self(digits)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value)]
}

/// Appends the bytes as lower-case hex digits.
pub(crate) fn hex_into(bytes: &[u8], out: &mut Vec<u8>) {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    out.extend(digits.map(digit));
}

/// Lower-case digits only, as the standard asks.
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_header_comes_back_as_it_was() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(context.flags & SAMPLED, SAMPLED);
        assert_eq!(TraceContext::parse(&format!(" {GOOD}\t")), Some(context));
        assert!(TraceContext::parse(&GOOD.replacen("00", "01", 1)).is_some());
        assert!(TraceContext::parse(&format!("01{}-later", &GOOD[2..])).is_some());
    }

    #[test]
    fn hostile_headers_are_as_good_as_none() {
        let upper = GOOD.to_ascii_uppercase();
        let long = "0".repeat(100_000);
        let cases = [
            "",
            "00",
            &upper,
            &long,
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD}x"),
            &format!("ff{}", &GOOD[2..]),
            &format!("zz{}", &GOOD[2..]),
            &format!("01{}x", &GOOD[2..]),
            &GOOD.replace('-', "_"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ];
        for case in cases {
            assert_eq!(TraceContext::parse(case), None, "{case}");
        }
    }

    #[test]
    fn a_state_and_baggage_are_passed_on_if_they_are_right() {
        let long = format!("a={}", "x".repeat(600));
        let many = ["a=1"; 33].join(",");
        for (header, expected) in [
            (
                "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE",
                Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            ),
            ("t@v=1,,", Some("t@v=1")),
            ("", None),
            ("no-value", None),
            ("UPPER=1", None),
            ("a=1=2", None),
            ("a=\u{e9}", None),
            (&long, None),
            (&many, None),
        ] {
            assert_eq!(tracestate(header).as_deref(), expected, "{header}");
        }
        let large = format!("a={}", "x".repeat(9_000));
        let many = ["a=1"; 65].join(",");
        for (header, expected) in [
            (
                "userId=alice, serverNode=DF%2028;p=1",
                Some("userId=alice,serverNode=DF%2028;p=1"),
            ),
            ("Tenant = 7", Some("Tenant = 7")),
            ("=1", None),
            ("a b=1", None),
            ("a=\"", None),
            ("a=\n", None),
            (&large, None),
            (&many, None),
        ] {
            assert_eq!(baggage(header).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let parent = TraceContext::random();
        let child = parent.child();
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, SAMPLED));
        assert_ne!(child.span_id, parent.span_id);
        assert_eq!(TraceContext::parse(&parent.to_string()), Some(parent));
    }
}
