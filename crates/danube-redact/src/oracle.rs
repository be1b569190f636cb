//! A slow redactor that is right by inspection: every rule and every value at
//! every position of the visible text, and at every position of the text as it
//! came that is inside an escape sequence (or begins a value that holds one), and
//! the union. The tests and `fuzz/` hold the real one, with each engine,
//! against it.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use crate::ansi::{self, ESC, Sequence};
use crate::class::RunMemo;
use crate::encode::{self, Needle};
use crate::matcher::{self, Block, Outcome};
use crate::redactor::SEQUENCES_BYTES_MAX;
use crate::rules::RULES;
use crate::user::oracle::Slow;
use crate::{MASK, Redactor, Rules, Secrets, Simd};

/// Values and rules, for both redactors.
pub(crate) struct Case {
    rules: Rules,
    user: Vec<Slow>,
    /// By first byte.
    needles: Vec<Vec<Needle>>,
    /// One for each engine.
    pub(crate) secrets: Vec<Secrets>,
}

impl Case {
    pub(crate) fn new(rules: Rules, values: &[&[u8]]) -> Self {
        let engines = Simd::available().into_iter();
        let secrets: Vec<Secrets> = engines
            .map(|it| Secrets::with_simd(rules.clone(), it))
            .collect();
        let user = rules.user().iter().map(Slow::new).collect();
        let mut needles = vec![Vec::new(); 256];
        for value in values {
            for secrets in &secrets {
                secrets.register_short(value).expect("a good value");
            }
            for needle in encode::needles(value.trim_ascii(), |_| true) {
                needles[usize::from(needle[0])].push(needle);
            }
        }
        Self {
            rules,
            user,
            needles,
            secrets,
        }
    }

    fn oracle(&self, input: &[u8]) -> Vec<u8> {
        let mut masked = vec![false; input.len()];
        let (shown, raw) = visible(input);
        let mut is_shown = vec![false; input.len()];
        for at in &raw {
            is_shown[*at] = true;
        }
        if raw.len() < input.len() {
            for at in 0..input.len() {
                // The `ESC` of a sequence begins nothing but a value.
                let inside = !is_shown[at] && (at > 0 && input[at] != ESC);
                for (from, to) in self.ranges_at(input, at, inside) {
                    masked[from..to].fill(true);
                }
            }
        }
        let user = self.user.iter().flat_map(|it| it.ranges(&shown));
        let all = (0..shown.len()).flat_map(|at| self.ranges_at(&shown, at, true));
        // A match may be empty, even behind the last byte.
        for (from, to) in all.chain(user).filter(|(from, to)| from < to) {
            masked[raw[from]] = true;
            for at in from + 1..to {
                let (last, this) = (raw[at - 1], raw[at]);
                if this - last - 1 <= SEQUENCES_BYTES_MAX {
                    masked[last..this].fill(true);
                }
                masked[this] = true;
            }
        }
        let mut out = Vec::new();
        for (at, byte) in input.iter().enumerate() {
            if !masked[at] {
                out.push(*byte);
            } else if at == 0 || !masked[at - 1] {
                out.extend_from_slice(MASK.as_bytes());
            }
        }
        out
    }

    /// What is masked by something that is tried at `at`. Without `all`, that is
    /// values that hold an `ESC`.
    fn ranges_at(&self, bytes: &[u8], at: usize, all: bool) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        let block = Block { bytes, eof: true };
        let rest = &bytes[at..];
        for needle in &self.needles[usize::from(rest[0])] {
            if (all || needle.contains(&ESC)) && rest.starts_with(needle) {
                ranges.push((at, at + needle.len()));
            }
        }
        for rule in RULES.iter().filter(|_| all && self.rules.builtin) {
            for keyword in rule.keywords.iter().map(|it| it.as_bytes()) {
                if !keyword[0].eq_ignore_ascii_case(&rest[0]) {
                    continue;
                }
                let head = &rest[..keyword.len().min(rest.len())];
                if head == keyword || (!rule.exact_case && head.eq_ignore_ascii_case(keyword)) {
                    let mut memo = RunMemo::new();
                    let found = matcher::match_at(rule, keyword.len(), block, at, &mut memo);
                    ranges.extend(hit(found));
                }
            }
        }
        if all && self.rules.email && rest[0] == b'@' {
            ranges.extend(hit(matcher::email_at(block, at, &mut RunMemo::new())));
        }
        ranges
    }
}

fn hit(outcome: Outcome) -> Option<(usize, usize)> {
    match outcome {
        Outcome::No => None,
        Outcome::Hit { from, to } => Some((from, to)),
        other => panic!("{other:?} at the end of the input"),
    }
}

fn visible(input: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut shown, mut raw) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < input.len() {
        if input[at] == ESC
            && let Sequence::Whole(len) = ansi::sequence_at(&input[at..], true)
        {
            at += len;
            continue;
        }
        shown.push(input[at]);
        raw.push(at);
        at += 1;
    }
    (shown, raw)
}

const VALUES: &[&[u8]] = &[
    b"1212345678",
    b"abcdefgh",
    b"efghijkl",
    b"aabaabaabaa",
    b"hunter2-p",
    b"hunter2-production-key",
    b"s3cr3t",
    b"first line of it\nsecond line\r\nx\nlast line of it",
    b"p\xc3\xa4ssw\xc3\xb6rd \"x\" 'y' /z\\",
    b"esc\x1b[1mape\x1b",
    b"a-long-value-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-end",
    b"\xff\xfe\x00\x01binary\x80",
];

static CASES: LazyLock<[Case; 4]> = LazyLock::new(|| {
    [
        Case::new(Rules::builtin().with_email(), VALUES),
        Case::new(Rules::builtin().with_email(), &[]),
        Case::new(Rules::none(), VALUES),
        Case::new(Rules::builtin(), &VALUES[..5]),
    ]
});

/// Pieces from which inputs are put together: whole secrets, their halves, and
/// what stands around them.
static PIECES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let texts: &[&str] = &[
        "\n",
        "\n",
        "\r",
        "\r\n",
        " ",
        " ",
        "  ",
        ",",
        ";",
        "&",
        "?",
        "@",
        "/",
        ":",
        "=",
        "\"",
        "'",
        "\\",
        "\\\"",
        "]",
        "}",
        "-",
        "--",
        ".",
        "\0",
        "é",
        "🔒",
        "a",
        "ab",
        "aab",
        "x",
        "12",
        "1",
        "eyJ",
        "eyJhbGciOiJIUzI1NiJ9.",
        "eyJzdWIiOiIxMjM0NTY3ODkwIn0",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
        "ABCDEFGHIJKLMNOP",
        "0123456789",
        "token",
        "TOKEN=",
        "password",
        "Password: ",
        "\"password\":\"",
        "\\\"secret\\\":\\\"",
        "--token ",
        "--db-password ",
        "-",
        "_pass=",
        "pwd=",
        "PWD=/home",
        "api_key=",
        "api-key: ",
        "secret=",
        "token=token=",
        "authorization: ",
        "Authorization: Bearer ",
        "bearer ",
        "Basic ",
        "b\"",
        "$'",
        "=>",
        ":=",
        "://",
        "https://user:",
        "https://",
        "user:pw@host/",
        "https://abcdefghijklmnopqrstuvwxyz@host",
        "ghp_",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "AKIA",
        "npm_",
        "sk_live_",
        "hooks.slack.com/services/",
        "joe@example.com",
        "git@example.com:x",
        "name@1.2.3",
        "-----BEGIN ",
        "-----BEGIN RSA PRIVATE KEY-----\n",
        "MIIEpAIBAAKCAQEA\n",
        "-----END RSA PRIVATE KEY-----\n",
        "-----END",
        "[redacted]",
        "[red",
        "true",
        "nul",
        "string",
        "***",
        "<",
        "<name>",
        ",)}",
        "\x1b",
        "\x1b[",
        "\x1b[31m",
        "\x1b[0m",
        "\x1b[1;2m\x1b[K",
        "\x1b]0;t\x07",
        "\x1b]8;;https://u:p@h\x1b\\",
        "\x1b]0;never ended and longer than the limit",
        "\x1b(B",
        "\x1b\\",
        "\x1b[31m\x1b[32m\x1b[33m\x1b[34m",
    ];
    let mut pieces: Vec<Vec<u8>> = texts.iter().map(|it| it.as_bytes().to_vec()).collect();
    pieces.extend([vec![0xff], vec![0xc3], vec![0x80, 0x80]]);
    for value in VALUES {
        for _ in 0..3 {
            pieces.push(value.to_vec());
        }
        pieces.push(value[..value.len() / 2].to_vec());
        pieces.push(value[value.len() / 2..].to_vec());
        pieces.push(value[1..].to_vec());
        let forms: Vec<Needle> = encode::needles(value.trim_ascii(), |_| true)
            .into_iter()
            .collect();
        for form in forms.iter().step_by(3) {
            pieces.push(form.to_vec());
            pieces.push(form[..form.len() - 1].to_vec());
        }
        // Coloured inside.
        let middle = value.len() / 3;
        pieces.push([&value[..middle], b"\x1b[31m", &value[middle..]].concat());
        pieces.push(
            [
                &value[..middle],
                b"\x1b[31m\x1b[1m\x1b[4m\x1b[5m",
                &value[middle..],
            ]
            .concat(),
        );
    }
    pieces
});

/// One way to feed an input: sizes of the writes (0: flush instead), and the size
/// of a block.
fn redact(secrets: &Secrets, input: &[u8], cuts: &[u8], block_bytes: usize) -> Vec<u8> {
    let mut redactor = Redactor::with_block(secrets, block_bytes);
    let mut out = Vec::new();
    let mut rest = input;
    for cut in cuts.iter().cycle().take(input.len() * 2) {
        let (now, then) = rest.split_at(usize::from(*cut).min(rest.len()));
        rest = then;
        if *cut == 0 {
            redactor.flush_partial(&mut out);
        } else {
            redactor.push(now, &mut out);
        }
    }
    redactor.push(rest, &mut out);
    redactor.finish(&mut out);
    assert_eq!(redactor.held_bytes(), 0);
    out
}

pub(crate) fn check(case: &Case, input: &[u8], cuts: &[u8], block_bytes: usize) {
    let expected = case.oracle(input);
    // Every engine has its turn; which one is as random as the input.
    let engine = (input.len() + block_bytes) % case.secrets.len();
    let found = redact(&case.secrets[engine], input, cuts, block_bytes);
    assert!(
        found == expected,
        "engine {engine} input {:?}\ncuts {cuts:?} block {block_bytes}\nexpected {:?}\nfound    {:?}",
        String::from_utf8_lossy(input),
        String::from_utf8_lossy(&expected),
        String::from_utf8_lossy(&found),
    );
}

/// Sizes of blocks to try: all the time, now and then, never reached.
const BLOCKS: [usize; 3] = [8, 40, 64 * 1024];

/// Most pieces in one input made of bytes.
const PIECES_MAX: usize = 64;

/// Makes a case of any bytes (which values and rules, how it is written, what)
/// and holds the redactor against the oracle.
///
/// # Panics
/// When the two differ.
pub fn check_bytes(data: &[u8]) {
    let mut data = data.iter().copied();
    let mut next = || data.next().unwrap_or(0);
    let case = &CASES[usize::from(next()) % CASES.len()];
    let block = BLOCKS[usize::from(next()) % BLOCKS.len()];
    let cuts: Vec<u8> = (0..=next() % 8).map(|_| next() % 24).collect();
    let mut input = Vec::new();
    for _ in 0..PIECES_MAX {
        match (data.next(), data.next()) {
            // A quarter of all pieces are single bytes.
            (Some(0xc0..), Some(byte)) => input.push(byte),
            (Some(high), Some(low)) => {
                let piece = usize::from(u16::from_be_bytes([high, low]));
                input.extend_from_slice(&PIECES[piece % PIECES.len()]);
            }
            _ => break,
        }
    }
    check(case, &input, &cuts, block);
}
