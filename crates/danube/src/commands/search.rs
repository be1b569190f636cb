//! `danube logs JOB --search REGEX`: the lines that match, as `grep -n` shows them.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches};
use danube_api::client::Client;
use danube_api::{Hit, SearchEnd, SearchLine};

use super::job::id;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Colour, Screen, clean};

/// Bytes of a line of the answer: a hit's text is at most a few KiB, and JSON
/// makes six of one at worst.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// The options that belong to a search.
pub(super) fn options() -> [Arg; 3] {
    let flag = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .requires("search")
    };
    [
        Arg::new("search")
            .long("search")
            .value_name("REGEX")
            .conflicts_with_all([
                "follow",
                "timestamps",
                "strip-ansi",
                "step",
                "from-line",
                "lines",
                "since",
            ])
            .help("Only the lines that match, with their numbers"),
        flag("ignore-case")
            .short('i')
            .help("With --search: upper and lower case are the same"),
        flag("fixed-strings")
            .short('F')
            .help("With --search: a text, not an expression"),
    ]
}

/// Searches to the end of the log, in as many requests as the server wants.
pub(super) fn perform(
    client: &Client,
    pattern: &str,
    matches: &ArgMatches,
    screen: &Screen,
) -> Result<ExitCode, Failure> {
    let mut from = matches.get_one::<u64>("from").copied().unwrap_or(0);
    loop {
        let text = from.to_string();
        let on = |name: &str| matches.get_flag(name).then_some("1");
        let query = [
            ("q", Some(pattern)),
            ("ignore_case", on("ignore-case")),
            ("literal", on("fixed-strings")),
            ("from", Some(text.as_str())),
        ];
        let id = id(matches);
        let answer = client.search(id, &query);
        let answer = answer
            .map_err(|error| Failure::call(&format!("search the log of job {id}"), &error))?;
        let end = print(answer, screen)?;
        if end.finished {
            return Ok(Exit::Ok.into());
        }
        if end.resume <= from && end.hits == 0 {
            return Err(broke("the server doesn't get on with it"));
        }
        from = end.resume;
    }
}

/// Prints the hits as they come.
fn print(answer: impl Read, screen: &Screen) -> Result<SearchEnd, Failure> {
    let mut lines = BufReader::new(answer);
    loop {
        let mut line = Vec::new();
        let read = lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        read.map_err(|error| broke(&error.to_string()))?;
        if line.last() != Some(&b'\n') {
            return Err(broke("the answer ends too early"));
        }
        match serde_json::from_slice(&line) {
            Ok(SearchLine::End { end }) => return Ok(end),
            Ok(SearchLine::Hit(hit)) if screen.is_json() => screen.json(&hit)?,
            Ok(SearchLine::Hit(hit)) => screen.print(&shown(&hit, screen))?,
            Err(error) => return Err(broke(&error.to_string())),
        }
    }
}

fn broke(why: &str) -> Failure {
    Failure::new(Exit::Away, "away", format!("search the log: {why}"))
}

/// As `grep -n` shows it. On a terminal nothing in it can steer that.
fn shown(hit: &Hit, screen: &Screen) -> String {
    let text = &hit.text;
    let found = text.get(hit.start..hit.end);
    let (Some(found), true) = (found, screen.out_is_terminal) else {
        return format!("{}:{text}\n", hit.line);
    };
    let clean = |part: &str| clean(&part.replace('\t', "    "));
    format!(
        "{}:{}{}{}\n",
        screen.paint(Colour::Green, &hit.line.to_string()),
        clean(&text[..hit.start]),
        screen.paint(Colour::Red, &clean(found)),
        clean(&text[hit.end..]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_reads_as_grep_shows_it() {
        let hit = Hit {
            line: 12,
            offset: 3,
            start: 4,
            end: 7,
            text: "one two three".to_owned(),
        };
        let mut screen = Screen::plain();
        assert_eq!(shown(&hit, &screen), "12:one two three\n");
        screen.out_is_terminal = true;
        let steered = Hit {
            text: "one\u{7}two".to_owned(),
            ..hit
        };
        assert_eq!(shown(&steered, &screen), "12:one\u{fffd}two\n");
    }
}
