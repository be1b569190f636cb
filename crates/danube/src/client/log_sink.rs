//! Where the bytes of a log go: as they are, safe for a terminal, or as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::failure::Failure;
use crate::terminal::{Sanitizer, Screen};

/// Bytes of one JSON object's text: a line without an end must not grow for ever.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Takes the log piece by piece.
pub(crate) enum LogSink {
    /// Every byte, for pipes and files.
    Exact,
    /// What may reach a terminal.
    Terminal(Sanitizer),
    /// One object a line.
    Json {
        /// The line so far.
        line: Vec<u8>,
        /// Logical offset of its first byte; none in a derived text.
        offset: Option<u64>,
    },
}

impl LogSink {
    /// The sink that fits the screen. `offset` is where the log begins.
    pub(crate) fn new(screen: &Screen, offset: Option<u64>) -> Self {
        if screen.is_json() {
            let line = Vec::new();
            Self::Json { line, offset }
        } else if screen.out_is_terminal {
            Self::Terminal(Sanitizer::default())
        } else {
            Self::Exact
        }
    }

    /// Writes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8], screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Exact => screen.bytes(bytes),
            Self::Terminal(sanitizer) => {
                let mut out = Vec::with_capacity(bytes.len());
                sanitizer.push(bytes, &mut out);
                screen.bytes(&out)
            }
            Self::Json { line, offset } => {
                let mut out = String::new();
                for &byte in bytes {
                    line.push(byte);
                    if byte == b'\n' || line.len() >= LINE_BYTES_MAX {
                        object(line, offset, &mut out);
                    }
                }
                screen.print(&out)
            }
        }
    }

    /// Says that bytes are missing here.
    pub(crate) fn gap(&mut self, missing: u64, screen: &Screen) -> Result<(), Failure> {
        if let Self::Json { line, offset } = self {
            let mut out = String::new();
            if !line.is_empty() {
                object(line, offset, &mut out);
            }
            let from = offset.unwrap_or_default();
            *offset = Some(from + missing);
            out.push_str(&json!({"gap": {"from": from, "to": from + missing}}).to_string());
            out.push('\n');
            return screen.print(&out);
        }
        let text = format!("\n[danube: {missing} bytes are missing here]\n");
        self.write(text.as_bytes(), screen)
    }

    /// Writes what is left.
    pub(crate) fn finish(&mut self, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Exact => Ok(()),
            Self::Terminal(sanitizer) => {
                let mut out = Vec::new();
                sanitizer.finish(&mut out);
                screen.bytes(&out)
            }
            Self::Json { line, offset } => {
                let mut out = String::new();
                if !line.is_empty() {
                    object(line, offset, &mut out);
                }
                screen.print(&out)
            }
        }
    }
}

/// The same fields as the events of the log's stream have; the text keeps its
/// line end, so that all texts together are the log.
fn object(line: &mut Vec<u8>, offset: &mut Option<u64>, out: &mut String) {
    let mut object = match std::str::from_utf8(line) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(&line), "encoding": "base64" }),
    };
    if let Some(offset) = offset {
        object["offset"] = json!(*offset);
        *offset += line.len() as u64;
    }
    out.push_str(&object.to_string());
    out.push('\n');
    line.clear();
}
