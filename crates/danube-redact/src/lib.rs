//! Takes secrets out of a byte stream: registered values in all their
//! encodings, and patterns that look like a secret. Streaming, no I/O.
//!
//! ```
//! use danube_redact::{Redactor, Rules, Secrets};
//!
//! let secrets = Secrets::new(Rules::builtin());
//! secrets.register(b"correct-horse-battery").expect("long enough");
//!
//! let mut out = Vec::new();
//! let mut redactor = Redactor::new(&secrets);
//! redactor.push(b"login with correct-horse", &mut out); // any split will do
//! redactor.push(b"-battery and password=hunter2\n", &mut out);
//! redactor.finish(&mut out);
//! assert_eq!(out, b"login with [redacted] and password=[redacted]\n");
//! ```
//!
//! What it promises:
//! - **Any split of the input, with [`Redactor::flush_partial`] at any place,
//!   gives the same bytes.** Whether a byte is masked depends on the bytes
//!   around it, never on how they arrived.
//! - Ranges that overlap or touch become one [`MASK`], of fixed text.
//! - Everything else passes unchanged, also NULs and invalid UTF-8, in constant
//!   memory and linear time.
//!
//! What no masker can do: stop a program that wants to leak. Encrypting a
//! secret, reversing it or printing one character a line defeats any search.
//!
//! Rules of one's own ([`UserRule`], [`Rules::with_user`]) are checked and compiled
//! at once and keep the same promises:
//!
//! ```
//! use danube_redact::{Rules, Secrets, UserRule};
//!
//! let rule = UserRule {
//!     id: "acme_key".to_owned(),
//!     keyword: "acme".to_owned(),
//!     pattern: r"acme-id: (?<secret>\d+)".to_owned(),
//!     case_sensitive: false,
//! };
//! let rules = Rules::builtin().with_user(&[rule]).expect("no mistakes");
//! assert_eq!(Secrets::new(rules).redact("acme-id: 17"), "acme-id: [redacted]");
//! ```
//!
//! How it works: every rule and every value is matched *at a position*, looking
//! at most a bounded distance back and ahead (`matcher`, `user`, `needles`), so a
//! match found later can never reach into bytes already released. `engine` scans a
//! block, `redactor` keeps what is undecided and merges the ranges. `prefilter`
//! and `needles` say quickly where it is worth to look; they use vector
//! instructions where there are any ([`Simd`]), and all engines lead to the same
//! output, which `oracle` checks. A text with escape sequences is scanned without
//! them (`visible`), and as it came only inside them.

mod ansi;
mod byteset;
mod class;
mod encode;
mod engine;
mod keywords;
mod live;
mod locked;
mod matcher;
mod needles;
mod prefilter;
mod ranges;
mod redactor;
mod rules;
mod secrets;
mod texts;
mod user;
mod visible;
mod wiped;
mod words;

/// For tests and `fuzz/` alone.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod oracle;

use std::collections::BTreeMap;

pub use live::LiveRules;
pub use prefilter::Simd;
pub use redactor::Redactor;
pub use rules::Rules;
pub use secrets::{Refused, Secrets};
pub use texts::Texts;
pub use user::{RuleError, RuleField, UserRule};

/// What stands in the output where a secret stood. Fixed, so that it says
/// nothing of the secret's length.
pub const MASK: &str = "[redacted]";

/// How often each rule struck, by rule id; registered values count as
/// [`RULE_VALUE`]. Overlapping values count as one, and so do overlapping matches
/// of one [`UserRule`].
pub type Counts = BTreeMap<&'static str, u64>;

/// The id under which registered values are counted.
pub const RULE_VALUE: &str = "value";
