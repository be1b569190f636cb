//! The server log: JSON lines, or text on a terminal, through [`tracing`].
//!
//! An event's `target` is its logger (`danube.api`), its field `event` its name; what
//! a library writes has neither and appears as event `log`. `trace_id`, `span_id` and
//! `request_id` come from fields of that name of the event or of the spans around it.

mod filter;
mod ids;
mod layer;
mod line;
mod text;
mod writer;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use tracing::{Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt;

pub use filter::{Filter, FilterError, level_name};
pub use layer::Tap;
pub(crate) use layer::{Lines, Redaction, Sink};
pub(crate) use line::Style;
pub use line::{Redact, Suspects};

use crate::current::Current;
use crate::otlp::SpanLayer;
use filter::{Live, LiveHandle};
use line::{Fields, Head, Scratch, finish};
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
    /// A quick look at a whole line, so that `redact` needn't be asked about each of
    /// its values; without, it always is.
    pub suspects: Option<Box<Suspects>>,
    /// Also told of each line.
    pub tap: Option<Tap>,
    /// Also told of spans; heard by [`init`] only, since [`build`] hands over a
    /// subscriber that it can be stacked on.
    pub spans: Option<SpanLayer>,
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
            suspects: None,
            tap: None,
            spans: None,
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
        self.set(Filter::parse(text)?);
        Ok(())
    }

    /// The same with one that was read before.
    pub fn set(&self, filter: Filter) {
        self.live.set(filter);
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
pub fn init(mut options: LogOptions) -> io::Result<(LogHandle, LogGuard)> {
    let spans = options.spans.take();
    let (subscriber, handle, guard) = build(options)?;
    // Not an `Option` of a layer: without an export a span costs nothing for it.
    let set = match spans {
        Some(spans) => tracing::subscriber::set_global_default(subscriber.with(spans)),
        None => tracing::subscriber::set_global_default(subscriber),
    };
    set.map_err(|_| io::Error::other("a log is already running in this process"))?;
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
        suspects,
        tap,
        spans: _,
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
    let tell = {
        let tap = tap.clone();
        Box::new(move |lines| tell_dropped(style, logger, lines, tap.as_ref()))
    };
    let writer = Writer::start(out, tell)?;
    let sink: Sink = {
        let writer = writer.clone();
        Box::new(move |line, is_error| writer.push(line, is_error))
    };
    let lines = Lines {
        style,
        redaction: Redaction {
            value: redact,
            suspects,
        },
        sink,
        tap,
        clock: SystemTime::now,
    };
    let (live, live_handle) = Live::new(filter, own);
    let subscriber = tracing_subscriber::registry()
        .with(live)
        .with(Current)
        .with(lines);
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
        .with(Current)
        .with(lines)
}

fn duplicate(of: impl AsFd) -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(File::from(of.as_fd().try_clone_to_owned()?)))
}

/// The line that tells of lost ones, which the tap is told of too.
fn tell_dropped(style: Style, logger: &str, lines: u64, tap: Option<&Tap>) -> Vec<u8> {
    let time = SystemTime::now();
    let line = |style| {
        let mut scratch = Scratch::default();
        let mut fields = Fields::new(&mut scratch, style, None);
        fields.name("log_lines_dropped");
        fields.number("lines", lines);
        let level = Level::WARN;
        finish(
            fields,
            &Head {
                time,
                level,
                logger,
            },
        );
        scratch.line
    };
    if let Some(tap) = tap {
        tap(line(Style::Json).trim_end_matches('\n'), Level::WARN);
    }
    line(style).into_bytes()
}
