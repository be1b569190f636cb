//! Errors on the wire: RFC 9457 "Problem Details for HTTP APIs".

use danube_model::Mistake;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Code;

/// The media type of a problem.
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// The body of every answer that isn't a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// `urn:danube:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means; the same for every problem with it.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time and what to do.
    pub detail: String,
    /// Stable; branch on it.
    pub code: Code,
    /// Every mistake of the request, when there are some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// One mistake in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body.
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Problem {
    /// A problem with this code; `detail` is for the caller.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:danube:error:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            errors: Vec::new(),
        }
    }

    /// The problem that lists these mistakes of a body.
    #[must_use]
    pub fn invalid(mistakes: &[Mistake]) -> Self {
        let detail = match mistakes.len() {
            1 => "1 mistake; nothing was changed".to_owned(),
            count => format!("{count} mistakes; nothing was changed"),
        };
        let errors = mistakes.iter().map(|it| FieldProblem {
            pointer: it.pointer.clone(),
            message: it.sentence(),
        });
        Self {
            errors: errors.collect(),
            ..Self::new(Code::Invalid, detail)
        }
    }
}
