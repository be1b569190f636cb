//! Runs of bytes: what may stand in a key's separator, a token, a quoted
//! value. A run's end is found once for a block and remembered, which keeps
//! `token=token=token=…` linear.

use memchr::memmem;

/// What ends a private key block.
pub(crate) const PEM_END: &[u8] = b"-----END";

/// A kind of run. Each says from one position alone (with at most one byte of
/// look-behind) where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Space,
    /// `:` or `=`.
    Separator,
    /// The second half of `:=` and `=>`.
    Arrow,
    /// What may stand between a key and its separator: quotes, `]`, `\`.
    KeyClose,
    /// What may stand before a value inside a header: quotes and `\`.
    QuoteOpen,
    DoubleQuote,
    SingleQuote,
    AnyQuote,
    Backslash,
    /// Letters before a string literal: `b"…"`, `f'…'`, `$'…'`, `@"…"`.
    LiteralPrefix,
    PemLabel,
    Dash,
    Alnum,
    UpperDigit,
    /// Letters, digits, `_`.
    Word,
    /// Letters, digits, `_`, `-`: the URL-safe base64 alphabet.
    Base64Url,
    /// The above and `.`.
    Dotted,
    /// The above and `~ + / =`: RFC 6750's token.
    Token68,
    /// User, password, host and port of a URL.
    Authority,
    EmailLocal,
    EmailDomain,
    /// An unquoted value: to white space, a quote or `&`.
    Bare,
    /// To an unescaped `"` or the end of the line.
    DoubleQuoted,
    /// To an unescaped `'` or the end of the line.
    SingleQuoted,
    /// To a quote behind a single backslash, or the end of the line.
    EscapedQuoted,
    /// To the `-----END` of a private key block.
    Pem,
}

const RUNS: usize = Run::Pem as usize + 1;

impl Run {
    /// Whether `byte` continues the run, for those runs where the byte alone
    /// decides.
    pub(crate) fn holds(self, byte: u8) -> bool {
        TABLES[self as usize][byte as usize]
    }

    const fn member(self, b: u8) -> bool {
        let alnum = b.is_ascii_alphanumeric();
        let visible = b > b' ' && b != 0x7f;
        match self {
            Self::Space => matches!(b, b' ' | b'\t'),
            Self::Separator => matches!(b, b':' | b'='),
            Self::Arrow => matches!(b, b'=' | b'>'),
            Self::KeyClose => matches!(b, b'"' | b'\'' | b'\\' | b']'),
            Self::QuoteOpen => matches!(b, b'"' | b'\'' | b'\\'),
            Self::DoubleQuote => b == b'"',
            Self::SingleQuote => b == b'\'',
            Self::AnyQuote => matches!(b, b'"' | b'\''),
            Self::Backslash => b == b'\\',
            Self::LiteralPrefix => {
                matches!(
                    b.to_ascii_lowercase(),
                    b'b' | b'r' | b'u' | b'f' | b'$' | b'@'
                )
            }
            Self::PemLabel => b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ',
            Self::Dash => b == b'-',
            Self::Alnum => alnum,
            Self::UpperDigit => b.is_ascii_uppercase() || b.is_ascii_digit(),
            Self::Word => alnum || b == b'_',
            Self::Base64Url => alnum || matches!(b, b'_' | b'-'),
            Self::Dotted => alnum || matches!(b, b'_' | b'-' | b'.'),
            Self::Token68 => alnum || matches!(b, b'_' | b'-' | b'.' | b'~' | b'+' | b'/' | b'='),
            Self::Authority => {
                visible
                    && !matches!(
                        b,
                        b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\'
                    )
            }
            Self::EmailLocal => alnum || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-'),
            Self::EmailDomain => alnum || matches!(b, b'.' | b'-'),
            Self::Bare => visible && !matches!(b, b'"' | b'\'' | b'`' | b'&'),
            Self::DoubleQuoted | Self::SingleQuoted | Self::EscapedQuoted => {
                !matches!(b, b'\n' | b'\r')
            }
            Self::Pem => true,
        }
    }
}

const ALL: [Run; RUNS] = [
    Run::Space,
    Run::Separator,
    Run::Arrow,
    Run::KeyClose,
    Run::QuoteOpen,
    Run::DoubleQuote,
    Run::SingleQuote,
    Run::AnyQuote,
    Run::Backslash,
    Run::LiteralPrefix,
    Run::PemLabel,
    Run::Dash,
    Run::Alnum,
    Run::UpperDigit,
    Run::Word,
    Run::Base64Url,
    Run::Dotted,
    Run::Token68,
    Run::Authority,
    Run::EmailLocal,
    Run::EmailDomain,
    Run::Bare,
    Run::DoubleQuoted,
    Run::SingleQuoted,
    Run::EscapedQuoted,
    Run::Pem,
];

static TABLES: [[bool; 256]; RUNS] = tables();

const fn tables() -> [[bool; 256]; RUNS] {
    let mut tables = [[false; 256]; RUNS];
    let mut run = 0;
    while run < RUNS {
        let mut byte = 0u8;
        loop {
            tables[ALL[run] as usize][byte as usize] = ALL[run].member(byte);
            if byte == u8::MAX {
                break;
            }
            byte += 1;
        }
        run += 1;
    }
    tables
}

/// Where a run ends in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunEnd {
    /// First byte that is not in the run; the block's end if the run reaches it.
    pub(crate) end: usize,
    /// Up to here the run is certain whatever comes next. Less than `end` only
    /// for a run that reaches the block's end.
    pub(crate) sure: usize,
}

/// Finds the end of the run that begins at `at`, without memory. `eof`: nothing
/// comes after `bytes`.
pub(crate) fn run_end(run: Run, bytes: &[u8], at: usize, eof: bool) -> RunEnd {
    let len = bytes.len();
    let closed = |end: usize| RunEnd { end, sure: end };
    match run {
        Run::DoubleQuoted => closed(quoted_end(bytes, at, b'"')),
        Run::SingleQuoted => closed(quoted_end(bytes, at, b'\'')),
        Run::EscapedQuoted => escaped_end(bytes, at, eof),
        Run::Pem => match memmem::find(&bytes[at..], PEM_END) {
            Some(found) => closed(at + found),
            None if eof => closed(len),
            None => {
                let open = (1..PEM_END.len())
                    .rev()
                    .find(|&n| n <= len - at && bytes.ends_with(&PEM_END[..n]));
                RunEnd {
                    end: len,
                    sure: len - open.unwrap_or(0),
                }
            }
        },
        _ => {
            let table = &TABLES[run as usize];
            let rest = &bytes[at..];
            closed(
                at + rest
                    .iter()
                    .position(|b| !table[*b as usize])
                    .unwrap_or(rest.len()),
            )
        }
    }
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let ends = |p: usize| match bytes[p] {
        b'\n' | b'\r' => true,
        b if b == quote => p == 0 || bytes[p - 1] != b'\\',
        _ => false,
    };
    (at..bytes.len()).find(|&p| ends(p)).unwrap_or(bytes.len())
}

fn escaped_end(bytes: &[u8], at: usize, eof: bool) -> RunEnd {
    let len = bytes.len();
    for p in at..len {
        let single = bytes[p] == b'\\' && (p == 0 || bytes[p - 1] != b'\\');
        match bytes.get(p + 1) {
            _ if matches!(bytes[p], b'\n' | b'\r') => return RunEnd { end: p, sure: p },
            Some(b'"' | b'\'') if single => return RunEnd { end: p, sure: p },
            None if single && !eof => return RunEnd { end: len, sure: p },
            _ => {}
        }
    }
    RunEnd {
        end: len,
        sure: len,
    }
}

/// [`run_end`] with a memory of the last run of each kind. Good for one block.
pub(crate) struct RunMemo {
    last: [(usize, RunEnd); RUNS],
}

impl RunMemo {
    pub(crate) fn new() -> Self {
        let none = RunEnd { end: 0, sure: 0 };
        Self {
            last: [(usize::MAX, none); RUNS],
        }
    }

    pub(crate) fn run_end(&mut self, run: Run, bytes: &[u8], at: usize, eof: bool) -> RunEnd {
        let (start, known) = self.last[run as usize];
        if start <= at && at <= known.end {
            return RunEnd {
                end: known.end,
                sure: known.sure.max(at),
            };
        }
        let found = run_end(run, bytes, at, eof);
        self.last[run as usize] = (at, found);
        found
    }
}
