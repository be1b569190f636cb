//! How text is written: what the colours and styles of a terminal (ECMA-48, SGR) are as classes.
//!
//! The policy of the pages allows no style in the text itself, so each colour becomes one of
//! sixteen classes, whose values stand in `danube.css`. A background is a tint there, behind a
//! text that keeps its contrast: no output can hide a text by writing it black on black.

use std::fmt::Write as _;

/// Parameters of one sequence that count. Terminals take as few.
const PARAMS_MAX: usize = 32;

/// How the next character is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pen {
    front: Option<Colour>,
    back: Option<Colour>,
    is_bold: bool,
    is_dim: bool,
    is_italic: bool,
    is_underlined: bool,
    is_struck: bool,
    is_inverse: bool,
}

/// One of the sixteen colours, from black to bright white.
type Colour = u8;

impl Pen {
    /// As the parameters of an SGR sequence say, after what was before.
    pub(super) fn select(&mut self, params: &str) {
        let all: Vec<&str> = params.split(';').take(PARAMS_MAX).collect();
        let mut at = 0;
        while let Some(param) = all.get(at) {
            at += 1;
            if param.contains(':') {
                let parts: Vec<&str> = param.split(':').take(PARAMS_MAX).collect();
                self.with_parts(&parts);
                continue;
            }
            match number(param) {
                Some(which @ (38 | 48)) => {
                    let (colour, taken) = extended(&all[at..]);
                    at += taken;
                    self.colour(which, colour);
                }
                Some(code) => self.code(code),
                None => {}
            }
        }
    }

    /// One parameter whose parts have colons between them (ISO 8613-6).
    fn with_parts(&mut self, parts: &[&str]) {
        match number(parts[0]) {
            // `2:` may be followed by a colour space, which nobody gives.
            Some(which @ (38 | 48)) => {
                let mut rest = parts[1..].to_vec();
                if rest.first() == Some(&"2") && rest.len() > 4 {
                    rest.remove(1);
                }
                self.colour(which, extended(&rest).0);
            }
            Some(4) => self.is_underlined = parts[1] != "0",
            _ => {}
        }
    }

    fn colour(&mut self, which: u16, colour: Option<Colour>) {
        match (which, colour) {
            (38, Some(colour)) => self.front = Some(colour),
            (48, Some(colour)) => self.back = Some(colour),
            _ => {}
        }
    }

    fn code(&mut self, code: u16) {
        let low = |code: u16| u8::try_from(code % 10).ok();
        match code {
            0 => *self = Self::default(),
            1 => self.is_bold = true,
            2 => self.is_dim = true,
            3 => self.is_italic = true,
            4 | 21 => self.is_underlined = true,
            7 => self.is_inverse = true,
            9 => self.is_struck = true,
            22 => (self.is_bold, self.is_dim) = (false, false),
            23 => self.is_italic = false,
            24 => self.is_underlined = false,
            27 => self.is_inverse = false,
            29 => self.is_struck = false,
            30..=37 => self.front = low(code),
            39 => self.front = None,
            40..=47 => self.back = low(code),
            49 => self.back = None,
            90..=97 => self.front = low(code).map(|it| it + 8),
            100..=107 => self.back = low(code).map(|it| it + 8),
            // 8 among them: what hides a text hides it from no reader here.
            _ => {}
        }
    }

    /// The classes of a text written so; empty of a plain one.
    pub(super) fn class(self) -> String {
        let (mut front, mut back) = (self.front, self.back.map(Some));
        if self.is_inverse {
            (front, back) = (self.back, Some(self.front));
        }
        let mut class = String::new();
        let mut add = |text: &str| {
            if !class.is_empty() {
                class.push(' ');
            }
            class.push_str(text);
        };
        let mut name = String::new();
        if let Some(colour) = front {
            let _ = write!(name, "f{colour}");
            add(&name);
        }
        match back {
            Some(Some(colour)) => {
                name.clear();
                let _ = write!(name, "g{colour}");
                add(&name);
            }
            // The colour of the text behind it.
            Some(None) => add("gt"),
            None => {}
        }
        for (is_on, name) in [
            (self.is_bold, "b"),
            (self.is_dim, "d"),
            (self.is_italic, "i"),
            (self.is_underlined, "u"),
            (self.is_struck, "s"),
        ] {
            if is_on {
                add(name);
            }
        }
        class
    }
}

/// A parameter; one that is left out is 0.
fn number(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(0);
    }
    text.parse().ok()
}

/// A colour of 256 or of all, and how many parameters told it.
fn extended(params: &[&str]) -> (Option<Colour>, usize) {
    let value = |at: usize| params.get(at).and_then(|it| number(it));
    match value(0) {
        Some(5) => {
            let index = value(1).and_then(|it| u8::try_from(it).ok());
            (index.map(of_256), 2)
        }
        Some(2) => {
            let part = |at| value(at).map(|it| u8::try_from(it).unwrap_or(u8::MAX));
            let colour = match (part(1), part(2), part(3)) {
                (Some(red), Some(green), Some(blue)) => Some(nearest([red, green, blue])),
                _ => None,
            };
            (colour, 4)
        }
        _ => (None, 1),
    }
}

/// Of xterm's 256 colours: sixteen, a cube of 6 × 6 × 6, and 24 greys.
fn of_256(index: u8) -> Colour {
    let level = |step: u8| if step == 0 { 0 } else { 55 + step * 40 };
    match index {
        0..=15 => index,
        16..=231 => {
            let at = index - 16;
            nearest([level(at / 36), level(at / 6 % 6), level(at % 6)])
        }
        232..=255 => nearest([8 + (index - 232) * 10; 3]),
    }
}

/// The one of the sixteen that a colour looks like most: by hue, which is what tells output
/// apart, and bright or not.
fn nearest([red, green, blue]: [u8; 3]) -> Colour {
    /// Less between the strongest and the weakest part is a grey.
    const GREY_MAX: u8 = 40;
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most - least <= GREY_MAX {
        return match most {
            0..=63 => 0,
            64..=143 => 8,
            144..=215 => 7,
            216..=255 => 15,
        };
    }
    let middle = least + (most - least) / 2;
    let hue = [red, green, blue]
        .iter()
        .rev()
        .fold(0, |bits, part| bits << 1 | u8::from(*part > middle));
    if most > 215 { hue + 8 } else { hue }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(params: &[&str]) -> String {
        let mut pen = Pen::default();
        for params in params {
            pen.select(params);
        }
        pen.class()
    }

    #[test]
    fn colours_and_styles_are_classes() {
        for (params, expected) in [
            (&["31"][..], "f1"),
            (&["1;32"], "f2 b"),
            (&["1;2;3;4;9;93;104"], "f11 g12 b d i u s"),
            (&["31", ""], ""),
            (&["31;1", "0;4"], "u"),
            (&["31;44", "39"], "g4"),
            (&["1;2", "22"], ""),
            (&["38;5;9"], "f9"),
            (&["38;5;196"], "f9"),
            (&["38;5;22;1"], "f2 b"),
            (&["48;5;240"], "g8"),
            (&["38;2;10;20;250;4"], "f12 u"),
            (&["38:2::255:255:0"], "f11"),
            (&["38:2:0:150:150"], "f6"),
            (&["4:3"], "u"),
            (&["4", "4:0"], ""),
            // Inverse is the one colour behind the other.
            (&["7"], "gt"),
            (&["7;31"], "g1"),
            (&["7;31;42"], "f2 g1"),
            (&["7", "27"], ""),
        ] {
            assert_eq!(class(params), expected, "{params:?}");
        }
    }

    #[test]
    fn what_no_terminal_knows_changes_nothing() {
        for params in [
            "8", "38", "38;5", "38;2;1;2", "38;5;999", "99999999", "x;y", "38:9:1", ":::",
        ] {
            assert_eq!(class(&[params]), "", "{params}");
        }
        assert_eq!(class(&[&"31;1;".repeat(10_000)]), "f1 b");
    }
}
