//! The server log: JSON lines, or text on a terminal, through [`tracing`].
//!
//! An event's `target` is its logger (`danube.api`), its field `event` its name; what
//! a library writes has neither and appears as event `log`. `trace_id`, `span_id` and
//! `request_id` come from fields of that name of the event or of the spans around it.

mod filter;
mod layer;
mod line;
mod writer;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt;

pub use filter::{Filter, FilterError, level_name};
pub(crate) use layer::{Lines, Sink};
pub use line::Redact;
pub(crate) use line::Style;

use filter::{Live, LiveHandle};
use line::{Fields, Head, Ids, Scratch, finish};
use writer::Writer;

/// How long the guard waits for the last lines when it is dropped: enough for any
/// reader that is alive, and a stuck one doesn't hold up the end.
pub const FLUSH_AT_END: Duration = Duration::from_secs(2);

/// Look of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON lines.
    Json,
    /// For a person.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("unknown log format; allowed are json and text"),
        }
    }
}

/// Where the lines go.
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Anything else; never a terminal.
    Writer(Box<dyn Write + Send>),
}

/// Settings of the log.
pub struct LogOptions {
    /// Which events are written.
    pub filter: Filter,
    /// `None`: text on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// Where the lines go.
    pub output: Output,
    /// Takes secrets out of every string value; given the field's name and the value.
    pub redact: Option<Box<Redact>>,
    /// First parts of our own loggers' names: only these follow a bare level below
    /// `warning`, libraries don't.
    pub own: &'static [&'static str],
    /// Logger of the line that tells of lost lines.
    pub logger: &'static str,
}

impl LogOptions {
    /// Standard output, `info`, no redaction.
    pub fn new(own: &'static [&'static str], logger: &'static str) -> Self {
        let filter = Filter::parse("").expect("an empty filter is the default");
        Self {
            filter,
            format: None,
            output: Output::Stdout,
            redact: None,
            own,
            logger,
        }
    }
}

/// Changes and reads the log while it runs. Cloning it is cheap.
#[derive(Clone)]
pub struct LogHandle {
    live: LiveHandle,
    writer: Writer,
}

impl LogHandle {
    /// Changes which events are written, at once.
    ///
    /// # Errors
    /// When the filter is wrong; then nothing changes.
    pub fn set_filter(&self, text: &str) -> Result<(), FilterError> {
        self.live.set(Filter::parse(text)?);
        Ok(())
    }

    /// The filter as it stands.
    pub fn filter(&self) -> Filter {
        self.live.get()
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Waits until all lines so far are written; `false` at the deadline.
    pub fn flush(&self, deadline: Duration) -> bool {
        self.writer.flush(deadline)
    }
}

/// Ends the log when dropped: waits at most [`FLUSH_AT_END`] for the last lines.
#[must_use = "dropping the guard ends the log"]
pub struct LogGuard(Writer);

impl LogGuard {
    /// Ends the log; `false` when the last lines were not written by the deadline.
    pub fn finish(self, deadline: Duration) -> bool {
        self.0.close(deadline)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.close(FLUSH_AT_END);
    }
}

/// Starts the log for the whole process.
///
/// # Errors
/// When the output can't be had, the thread doesn't start, or a log is there already.
pub fn init(options: LogOptions) -> io::Result<(LogHandle, LogGuard)> {
    let (subscriber, handle, guard) = build(options)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| io::Error::other("a log is already running in this process"))?;
    Ok((handle, guard))
}

/// Like [`init`], but hands over the subscriber, so that further layers can be
/// stacked on it or a test can run it in a scope.
///
/// # Errors
/// When the output can't be had or the thread doesn't start.
pub fn build(
    options: LogOptions,
) -> io::Result<(
    impl Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    LogHandle,
    LogGuard,
)> {
    let LogOptions {
        filter,
        format,
        output,
        redact,
        own,
        logger,
    } = options;
    let (out, terminal): (Box<dyn Write + Send>, bool) = match output {
        // A descriptor of our own: the lock of `io::stdout` stays with those who print.
        Output::Stdout => (duplicate(io::stdout())?, io::stdout().is_terminal()),
        Output::Stderr => (duplicate(io::stderr())?, io::stderr().is_terminal()),
        Output::Writer(writer) => (writer, false),
    };
    let style = match format {
        Some(LogFormat::Json) => Style::Json,
        None if !terminal => Style::Json,
        // https://no-color.org: any value but the empty one switches colours off.
        _ => Style::Text {
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
        },
    };
    let tell = Box::new(move |lines| dropped_line(style, logger, lines, SystemTime::now()));
    let writer = Writer::start(out, tell)?;
    let sink: Sink = {
        let writer = writer.clone();
        Box::new(move |line, is_error| writer.push(line, is_error))
    };
    let redact = redact.map_or_else(|| Arc::from(no_redaction()), Arc::from);
    let lines = Lines {
        style,
        redact,
        sink,
        clock: SystemTime::now,
    };
    let (live, live_handle) = Live::new(filter, own);
    let subscriber = tracing_subscriber::registry().with(live).with(lines);
    let handle = LogHandle {
        live: live_handle,
        writer: writer.clone(),
    };
    Ok((subscriber, handle, LogGuard(writer)))
}

/// A stack of the filter and the given lines, for the recorder.
pub(crate) fn stack(
    filter: Filter,
    own: &'static [&'static str],
    lines: Lines,
) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry()
        .with(Live::new(filter, own).0)
        .with(lines)
}

pub(crate) fn no_redaction() -> Box<Redact> {
    Box::new(|_, value| Cow::Borrowed(value))
}

fn duplicate(of: impl AsFd) -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(File::from(of.as_fd().try_clone_to_owned()?)))
}

/// The line that tells of lost ones.
fn dropped_line(style: Style, logger: &str, lines: u64, time: SystemTime) -> Vec<u8> {
    let mut scratch = Scratch::default();
    let redact = no_redaction();
    let mut fields = Fields::new(&mut scratch, style, &*redact);
    fields.name("log_lines_dropped");
    fields.number("lines", lines);
    finish(
        fields,
        &Head {
            time,
            level: Level::WARN,
            logger,
            outer: Ids::default(),
        },
    );
    scratch.line.into_bytes()
}
