//! Labels as types: a closed set is a fieldless enum, so a wrong value does not
//! compile and its cell is found by an index, without a lock.

/// What new values of an open label become once the family is full.
pub const OTHER: &str = "__other__";

/// A closed set of label values. Declare one with [`label_enum!`](crate::label_enum).
pub trait LabelEnum: Copy + Send + Sync + 'static {
    /// How many values there are.
    const COUNT: usize = Self::VALUES.len();
    /// The values as written, by index.
    const VALUES: &'static [&'static str];
    /// The values themselves, by index.
    const ALL: &'static [Self];
    /// Position in [`Self::VALUES`].
    fn index(self) -> usize;
    /// The value as written.
    fn as_str(self) -> &'static str {
        Self::VALUES[self.index()]
    }
}

/// Declares a closed set of label values.
///
/// ```
/// danube_telemetry::label_enum! {
///     /// How it went.
///     pub enum Outcome { Success = "success", Error = "error" }
/// }
/// use danube_telemetry::LabelEnum;
/// assert_eq!(Outcome::Error.as_str(), "error");
/// ```
#[macro_export]
macro_rules! label_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name {
            $(#[doc = concat!("`", $value, "`.")] $(#[$vmeta])* $variant,)+
        }
        impl $crate::metric::LabelEnum for $name {
            const VALUES: &'static [&'static str] = &[$($value),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// The closed labels of a family taken together: `()`, one enum, or a pair.
pub trait ClosedKey: Copy + Send + Sync + 'static {
    /// How many cells a series needs.
    const CELLS: usize;
    /// The value sets, in label order.
    const SETS: &'static [&'static [&'static str]];
    /// Which cell.
    fn cell(self) -> usize;
}

impl ClosedKey for () {
    const CELLS: usize = 1;
    const SETS: &'static [&'static [&'static str]] = &[];
    fn cell(self) -> usize {
        0
    }
}

impl<L: LabelEnum> ClosedKey for L {
    const CELLS: usize = L::COUNT;
    const SETS: &'static [&'static [&'static str]] = &[L::VALUES];
    fn cell(self) -> usize {
        self.index()
    }
}

impl<A: LabelEnum, B: LabelEnum> ClosedKey for (A, B) {
    const CELLS: usize = A::COUNT * B::COUNT;
    const SETS: &'static [&'static [&'static str]] = &[A::VALUES, B::VALUES];
    fn cell(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }
}

/// Appends `value` escaped for a label; both text formats escape it alike.
pub(super) fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Longest label value that is kept; the rest is cut off. A name of a kilobyte
/// would be paid for at every scrape.
const LABEL_BYTES_MAX: usize = 256;

/// What is kept of a label value: all of it, or whole characters of its beginning.
pub(super) fn cut(value: &str) -> &str {
    if value.len() <= LABEL_BYTES_MAX {
        return value;
    }
    let mut end = LABEL_BYTES_MAX;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

/// Reads rendered labels (`a="x",b="y"`) back into names and values. Text that is
/// not of that form ends the list.
pub fn pairs(rendered: &str) -> Vec<(&str, String)> {
    let mut out = Vec::new();
    let mut rest = rendered;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = None;
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = Some(at);
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c)) => value.push(c),
                    None => break,
                },
                c => value.push(c),
            }
        }
        let Some(end) = end else { break };
        out.push((name.trim_start_matches(',').trim(), value));
        rest = &after[end + 1..];
    }
    out
}
