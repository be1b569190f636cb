//! Reads a secret value without showing it.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use danube_model::limits::CREDENTIAL_VALUE_BYTES_MAX;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::exit::Exit;
use crate::failure::Failure;

/// One byte more than a value may have: then the server says that it is too long.
const READ_BYTES_MAX: u64 = CREDENTIAL_VALUE_BYTES_MAX as u64 + 1;

/// Keys that are taken: a terminal has no more than a line to give, corrections
/// included.
const TYPED_BYTES_MAX: usize = 4 * CREDENTIAL_VALUE_BYTES_MAX;

/// The value, from where the flags say.
pub(super) fn read(matches: &ArgMatches) -> Result<String, Failure> {
    if let Some(path) = matches.get_one::<PathBuf>("value-file") {
        return from_file(path);
    }
    if matches.get_flag("prompt") {
        return from_terminal();
    }
    from_input("--prompt asks for it without showing it")
}

/// The value on standard input; `otherwise` says what to do when that is a terminal.
pub(in crate::commands) fn from_input(otherwise: &str) -> Result<String, Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        let message = "standard input is a terminal, which would show the value";
        return Err(Failure::usage(message).hint(otherwise));
    }
    whole(input.lock(), "standard input")
}

/// The value in a file, as it is.
pub(in crate::commands) fn from_file(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| Failure::usage(format!("read the value from {name}: {error}")))?;
    whole(file, &name)
}

/// Without the line ends behind it, which editors and `echo` leave.
pub(in crate::commands) fn one_line(mut text: String) -> String {
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    text
}

fn whole(from: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(READ_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("read the value from {name}: {error}")))?;
    // The error of the conversion would hold the bytes.
    let text = String::from_utf8(bytes).ok();
    let text = text.ok_or_else(|| Failure::usage(format!("the value in {name} isn't UTF-8")))?;
    if text.trim().is_empty() {
        return Err(Failure::usage(format!("{name} holds no value")));
    }
    Ok(text)
}

/// The terminal of the process: it shows nothing and hands over each key as it is
/// pressed, until this goes. Ctrl-C too, because whoever is killed by it can't turn
/// the echo on again.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn open() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        let off = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.local_modes.remove(off);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing better can be done when the terminal is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

fn from_terminal() -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!("ask for the value on the terminal: {error}"))
            .hint("--value-file and --value-stdin need no terminal")
    };
    let mut quiet = Quiet::open().map_err(failed)?;
    quiet.terminal.write_all(b"value: ").map_err(failed)?;
    let typed = typed(
        BufReader::new(&quiet.terminal)
            .bytes()
            .take(TYPED_BYTES_MAX),
    )
    .map_err(failed)?;
    drop(quiet);
    let Some(line) = typed else {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted",
            "interrupted",
        ));
    };
    let line = String::from_utf8(line).ok();
    let line = line.ok_or_else(|| Failure::usage("the value isn't UTF-8"))?;
    if line.trim().is_empty() {
        return Err(Failure::usage("no value was given"));
    }
    Ok(line)
}

/// The line that somebody typed; none when they broke off.
fn typed(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Option<Vec<u8>>> {
    const CTRL_C: u8 = 0x03;
    const CTRL_D: u8 = 0x04;
    const CTRL_U: u8 = 0x15;
    const BACKSPACE: [u8; 2] = [0x08, 0x7f];
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\n' | b'\r' | CTRL_D => break,
            CTRL_C => return Ok(None),
            CTRL_U => line.clear(),
            key if BACKSPACE.contains(&key) => {
                // A whole character, of as many bytes as it has.
                while line.pop().is_some_and(|it| it & 0xc0 == 0x80) {}
            }
            key => line.push(key),
        }
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_can_be_corrected_and_broken_off() {
        let check = |keys: &str, expected: Option<&str>| {
            let line = typed(keys.bytes().map(Ok)).unwrap();
            let line = line.map(|it| String::from_utf8(it).unwrap());
            assert_eq!(line.as_deref(), expected, "{keys:?}");
        };
        check("abc\nmore", Some("abc"));
        check("abx\u{7f}c\r", Some("abc"));
        check("aö\u{8}\u{8}\u{8}b\n", Some("b"));
        check("wrong\u{15}right\n", Some("right"));
        check("abc\u{3}", None);
        check("abc\u{4}", Some("abc"));
    }

    #[test]
    fn a_password_loses_the_line_ends_behind_it_and_nothing_else() {
        assert_eq!(one_line(" a b \r\n\n".into()), " a b ");
        assert_eq!(one_line("a\nb".into()), "a\nb");
    }
}
