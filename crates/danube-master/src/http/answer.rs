//! Problems as responses, and JSON bodies as values.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, PROBLEM_TYPE, Problem};

/// A problem on its way out.
pub(crate) struct Refusal(pub(crate) Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).expect("a problem holds nothing but texts");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(PROBLEM_TYPE),
        );
        if problem.code == Code::Unauthorized {
            headers.insert(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_static("Bearer"),
            );
        }
        if matches!(
            problem.code,
            Code::TooMany | Code::QueueFull | Code::Unavailable
        ) {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

/// What handlers return.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// The body as JSON. The parser's message names line and column, never content.
pub(crate) fn json(headers: &HeaderMap, body: &[u8]) -> Result<serde_json::Value, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|it| it.to_str().ok())
        .unwrap_or("application/json");
    let essence = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "the body must be JSON: send `Content-Type: application/json`",
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "ends too early",
            _ => "isn't valid JSON",
        };
        Problem::new(
            Code::Malformed,
            format!(
                "the body {what} at line {}, column {}",
                error.line(),
                error.column()
            ),
        )
    })
}
