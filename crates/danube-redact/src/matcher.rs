//! Tries one rule at one position. The answer depends on a bounded stretch of
//! bytes around that position and on nothing else.

use crate::MASK;
use crate::class::{Run, RunEnd, RunMemo};
use crate::rules::{Atom, Before, Body, Rule};

/// How far back a rule may look. The redactor keeps as much.
pub(crate) const LOOK_BEHIND_BYTES: usize = 80;

/// Longest name of a command-line option that is looked at.
const OPTION_BYTES_MAX: usize = 64;

/// Most backslashes before a quote that are taken for its escape: JSON inside
/// JSON inside JSON has seven.
pub(crate) const QUOTE_ESCAPES_MAX: usize = 7;

/// Longest JWT header whose end is waited for. A longer run after `eyJ` is taken
/// for a token: it could hide one, and waiting longer would hold the line back.
pub(crate) const JWT_HEADER_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) {
    40
} else {
    8 * 1024
};
pub(crate) const JWT_HEADER_BYTES_MIN: usize = 8;
pub(crate) const JWT_PAYLOAD_BYTES_MIN: usize = 8;

/// Longest `user:password@host` whose `@` is waited for. A longer one with a
/// colon in it is taken for a password.
pub(crate) const AUTHORITY_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) {
    48
} else {
    4 * 1024
};

/// A user name of this length in a URL is a token (`https://TOKEN@host`).
pub(crate) const URL_TOKEN_BYTES_MIN: usize = 20;

/// Most of a private key block that is masked when its `END` never comes.
/// A 16,384-bit RSA key takes 13 KiB.
pub(crate) const PEM_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) {
    160
} else {
    64 * 1024
};
/// Longest label between `BEGIN` and `PRIVATE KEY`; the longest in use has 9.
pub(crate) const PEM_LABEL_BYTES_MAX: usize = 40;

/// Longest local part of an e-mail address (RFC 5321, 4.5.3.1.1).
pub(crate) const EMAIL_LOCAL_BYTES_MAX: usize = 64;

/// Longest domain of an e-mail address (RFC 5321, 4.5.3.1.2).
pub(crate) const EMAIL_DOMAIN_BYTES_MAX: usize = 255;

/// Longest name in a `<placeholder>`: what is longer may be a secret in brackets.
const PLACEHOLDER_BYTES_MAX: usize = 20;

/// Most brackets and commas behind a word that still belong to what it stands in.
const CLOSERS_MAX: usize = 3;

const _: () = assert!(OPTION_BYTES_MAX < LOOK_BEHIND_BYTES);
const _: () = assert!(EMAIL_LOCAL_BYTES_MAX < LOOK_BEHIND_BYTES);

/// What stands at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing, whatever comes next.
    No,
    /// Not known yet. From `hold` on bytes of this block may be masked; `None`
    /// when only bytes that are still to come can be.
    Undecided { hold: Option<usize> },
    /// These bytes are masked.
    Hit { from: usize, to: usize },
    /// `from..sure` is masked, and `run` goes on behind; for at most
    /// `remaining` bytes after `sure` if given.
    Open {
        from: usize,
        sure: usize,
        run: Run,
        remaining: Option<usize>,
    },
}

/// A stretch of the stream in which positions are tried.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) bytes: &'a [u8],
    /// Nothing comes after `bytes`.
    pub(crate) eof: bool,
}

/// Tries `rule` at `at`, where its keyword (of `keyword_len` bytes) stands.
pub(crate) fn match_at(
    rule: &Rule,
    keyword_len: usize,
    block: Block<'_>,
    at: usize,
    memo: &mut RunMemo,
) -> Outcome {
    if !stands_before(rule.before, block.bytes, at) {
        return Outcome::No;
    }
    let whole = if rule.keep_head { None } else { Some(at) };
    let mut here = at + keyword_len;
    for atom in rule.head {
        match step(*atom, block, here, memo) {
            Step::To(next) => here = next,
            Step::No => return Outcome::No,
            Step::More => return Outcome::Undecided { hold: whole },
        }
    }
    match rule.body {
        Body::Run(run, min) => plain(rule, (run, min), block, (whole, here), memo),
        Body::Jwt => jwt(block, at, here, memo),
        Body::Userinfo => userinfo(block, here, memo),
        Body::Pem => pem(block, here, memo),
    }
}

fn stands_before(before: Before, bytes: &[u8], at: usize) -> bool {
    match before {
        Before::Anything => true,
        Before::NoWord => at == 0 || !Run::Word.holds(bytes[at - 1]),
        Before::Option => {
            let name = bytes[..at].iter().rev();
            let len = name
                .take(OPTION_BYTES_MAX + 1)
                .take_while(|b| Run::Base64Url.holds(**b))
                .count();
            (1..=OPTION_BYTES_MAX).contains(&len) && bytes[at - len] == b'-'
        }
    }
}

enum Step {
    To(usize),
    No,
    More,
}

fn step(atom: Atom, block: Block<'_>, at: usize, memo: &mut RunMemo) -> Step {
    match atom {
        Atom::Of(run, min, max) => {
            let end = memo.run_end(run, block.bytes, at, block.eof).end;
            let len = end - at;
            if len >= max {
                Step::To(at + max)
            } else if end == block.bytes.len() && !block.eof {
                Step::More
            } else if len < min {
                Step::No
            } else {
                Step::To(end)
            }
        }
        Atom::Word(words) => {
            let rest = &block.bytes[at..];
            for word in words {
                let n = word.len().min(rest.len());
                if rest[..n].eq_ignore_ascii_case(&word.as_bytes()[..n]) {
                    if n == word.len() {
                        return Step::To(at + n);
                    }
                    if !block.eof {
                        return Step::More;
                    }
                }
            }
            Step::No
        }
    }
}

fn plain(
    rule: &Rule,
    (run, min): (Run, usize),
    block: Block<'_>,
    (whole, here): (Option<usize>, usize),
    memo: &mut RunMemo,
) -> Outcome {
    let len = block.bytes.len();
    let from = whole.unwrap_or(here);
    match block.bytes.get(here) {
        Some(first) if rule.not_first.contains(first) => return Outcome::No,
        None if !block.eof => return Outcome::Undecided { hold: whole },
        // `\"` opens a quoted value, which another rule looks at.
        Some(b'\\') if run == Run::Bare => {
            let behind = memo
                .run_end(Run::Backslash, block.bytes, here, block.eof)
                .end;
            match block.bytes.get(behind) {
                Some(b'"' | b'\'') if behind - here <= QUOTE_ESCAPES_MAX => return Outcome::No,
                None if !block.eof && behind - here <= QUOTE_ESCAPES_MAX => {
                    return Outcome::Undecided { hold: Some(from) };
                }
                _ => {}
            }
        }
        _ => {}
    }
    let RunEnd { end, sure } = memo.run_end(run, block.bytes, here, block.eof);
    let body = &block.bytes[here..end];
    if end < len || block.eof {
        let masked_already = rule.keep_head && body == MASK.as_bytes();
        if body.len() < min || masked_already || is_no_secret(rule, body) {
            return Outcome::No;
        }
        return Outcome::Hit { from, to: end };
    }
    // What is not sure yet may belong to the end: `\"`.
    let body = &block.bytes[here..sure.max(here)];
    let may_be_mask = rule.keep_head && MASK.as_bytes().starts_with(body);
    if body.len() < min || may_be_mask || may_be_no_secret(rule, body) {
        return Outcome::Undecided { hold: Some(from) };
    }
    Outcome::Open {
        from,
        sure,
        run,
        remaining: None,
    }
}

/// Whether the whole `body` is one of those that hide nothing.
fn is_no_secret(rule: &Rule, body: &[u8]) -> bool {
    let word = &body[..body.len() - closers(body)];
    let is_word = |it: &&str| {
        let it = it.as_bytes();
        word.eq_ignore_ascii_case(it) || body.eq_ignore_ascii_case(it)
    };
    let is_placeholder = !rule.not_body.is_empty() && placeholder(word) == Some(true);
    is_placeholder || rule.not_body.iter().any(is_word)
}

/// Whether `body` may still grow into one of those.
fn may_be_no_secret(rule: &Rule, body: &[u8]) -> bool {
    let begins = |it: &&str| {
        it.len() >= body.len() && body.eq_ignore_ascii_case(&it.as_bytes()[..body.len()])
    };
    let may_be_placeholder = !rule.not_body.is_empty() && placeholder(body).is_some();
    may_be_placeholder || rule.not_body.iter().any(begins) || is_no_secret(rule, body)
}

/// Bytes at the end of `body` that close what it stands in: `{token: null},`.
fn closers(body: &[u8]) -> usize {
    let end = body.iter().rev().take(CLOSERS_MAX);
    end.take_while(|b| b",;.!)]}".contains(b)).count()
}

/// Whether `body` is a `<placeholder>`; `None` if it neither is nor may become one.
fn placeholder(body: &[u8]) -> Option<bool> {
    let name = body.strip_prefix(b"<")?;
    let whole = name.strip_suffix(b">");
    let name = whole.unwrap_or(name);
    let fits = name.len() <= PLACEHOLDER_BYTES_MAX && name.iter().all(|b| Run::Dotted.holds(*b));
    fits.then_some(whole.is_some_and(|it| !it.is_empty()))
}

fn jwt(block: Block<'_>, at: usize, here: usize, memo: &mut RunMemo) -> Outcome {
    let Block { bytes, eof } = block;
    let header = memo.run_end(Run::Base64Url, bytes, here, eof).end;
    let undecided = Outcome::Undecided { hold: Some(at) };
    if header - here <= JWT_HEADER_BYTES_MAX {
        if header == bytes.len() && !eof {
            return undecided;
        }
        if header - here < JWT_HEADER_BYTES_MIN || bytes.get(header) != Some(&b'.') {
            return Outcome::No;
        }
        let rest = memo.run_end(Run::Dotted, bytes, header + 1, eof).end;
        if rest - header <= JWT_PAYLOAD_BYTES_MIN {
            let more = rest == bytes.len() && !eof;
            return if more { undecided } else { Outcome::No };
        }
    }
    let end = memo.run_end(Run::Dotted, bytes, here, eof).end;
    if end < bytes.len() || eof {
        return Outcome::Hit { from: at, to: end };
    }
    Outcome::Open {
        from: at,
        sure: end,
        run: Run::Dotted,
        remaining: None,
    }
}

fn userinfo(block: Block<'_>, here: usize, memo: &mut RunMemo) -> Outcome {
    let Block { bytes, eof } = block;
    let RunEnd { end, .. } = memo.run_end(Run::Authority, bytes, here, eof);
    let authority = &bytes[here..end.min(here + AUTHORITY_BYTES_MAX + 1)];
    // In `user@host:80` the colon is the port's.
    let split = authority.iter().position(|b| matches!(b, b':' | b'@'));
    let password = split
        .filter(|it| authority[*it] == b':')
        .map(|it| here + it + 1);
    if authority.len() > AUTHORITY_BYTES_MAX {
        return match split.map(|_| password.unwrap_or(here)) {
            None => Outcome::No,
            Some(from) if end < bytes.len() || eof => Outcome::Hit { from, to: end },
            Some(from) => Outcome::Open {
                from,
                sure: end,
                run: Run::Authority,
                remaining: None,
            },
        };
    }
    if end == bytes.len() && !eof {
        let hold = Some(password.unwrap_or(here)).filter(|hold| *hold < end);
        return Outcome::Undecided { hold };
    }
    let Some(sign) = authority.iter().rposition(|b| *b == b'@') else {
        return Outcome::No;
    };
    let to = here + sign;
    let from = match password {
        Some(from) if from <= to => from,
        _ if sign >= URL_TOKEN_BYTES_MIN => here,
        _ => return Outcome::No,
    };
    if from == to || &bytes[from..to] == MASK.as_bytes() {
        return Outcome::No;
    }
    Outcome::Hit { from, to }
}

fn pem(block: Block<'_>, here: usize, memo: &mut RunMemo) -> Outcome {
    const KEY: &[u8] = b"PRIVATE KEY";
    let Block { bytes, eof } = block;
    let label = memo.run_end(Run::PemLabel, bytes, here, eof).end;
    if label - here > PEM_LABEL_BYTES_MAX {
        return Outcome::No;
    }
    let dashes = memo
        .run_end(Run::Dash, bytes, label, eof)
        .end
        .min(label + 5);
    if dashes < label + 5 {
        let more = dashes == bytes.len() && !eof;
        return if more {
            Outcome::Undecided { hold: None }
        } else {
            Outcome::No
        };
    }
    if !bytes[here..label].windows(KEY.len()).any(|it| it == KEY) {
        return Outcome::No;
    }
    let RunEnd { end, sure } = memo.run_end(Run::Pem, bytes, dashes, eof);
    let limit = dashes + PEM_BYTES_MAX;
    if sure >= limit {
        return Outcome::Hit {
            from: dashes,
            to: limit,
        };
    }
    let body = &bytes[dashes..end];
    if end < bytes.len() || eof {
        if body.is_empty() || body == MASK.as_bytes() {
            return Outcome::No;
        }
        return Outcome::Hit {
            from: dashes,
            to: end,
        };
    }
    if sure == dashes || MASK.as_bytes().starts_with(&bytes[dashes..sure]) {
        let hold = Some(dashes).filter(|hold| *hold < bytes.len());
        return Outcome::Undecided { hold };
    }
    Outcome::Open {
        from: dashes,
        sure,
        run: Run::Pem,
        remaining: Some(limit - sure),
    }
}

/// Tries the e-mail rule at `at`, where an `@` stands. A hit may begin up to
/// [`EMAIL_LOCAL_BYTES_MAX`] before it.
pub(crate) fn email_at(block: Block<'_>, at: usize, memo: &mut RunMemo) -> Outcome {
    let Block { bytes, eof } = block;
    let local = bytes[..at]
        .iter()
        .rev()
        .take(EMAIL_LOCAL_BYTES_MAX)
        .take_while(|b| Run::EmailLocal.holds(**b))
        .count();
    let from = at - local;
    // `git@host:path` is an address of a repository, not of a person.
    if local == 0 || &bytes[from..at] == b"git" {
        return Outcome::No;
    }
    let run = memo.run_end(Run::EmailDomain, bytes, at + 1, eof).end;
    let end = run.min(at + 1 + EMAIL_DOMAIN_BYTES_MAX);
    if run == bytes.len() && !eof && run - at <= EMAIL_DOMAIN_BYTES_MAX {
        return Outcome::Undecided { hold: Some(from) };
    }
    let trailing = bytes[at + 1..end]
        .iter()
        .rev()
        .take_while(|b| matches!(b, b'.' | b'-'))
        .count();
    let domain = &bytes[at + 1..end - trailing];
    let Some(dot) = domain.iter().rposition(|b| *b == b'.') else {
        return Outcome::No;
    };
    let top = &domain[dot + 1..];
    // `name@1.2.3` is a version.
    if dot == 0 || top.len() < 2 || !top.iter().all(u8::is_ascii_alphabetic) {
        return Outcome::No;
    }
    Outcome::Hit {
        from,
        to: at + 1 + domain.len(),
    }
}
