//! Lines as `tracing_subscriber` writes them.

use crate::line::FMT_JSON;

const FLAT: &str = "fmt-json-flat";

/// Name on the command line, and in the table.
pub(crate) const CASES: &[(&str, &str)] = &[
    (FMT_JSON, "tracing_subscriber fmt().json()"),
    (FLAT, "fmt().json(), flattened, without spans"),
];

/// Starts it for the whole process; whether it was one of its cases.
pub(crate) fn start(case: &str, show: bool) -> bool {
    let builder = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO);
    let builder = match case {
        FMT_JSON => builder,
        FLAT => builder
            .flatten_event(true)
            .with_span_list(false)
            .with_current_span(false),
        _ => return false,
    };
    if show {
        builder.init();
    } else {
        builder.with_writer(std::io::sink).init();
    }
    true
}
