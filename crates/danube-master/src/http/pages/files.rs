//! The files that pages load.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use danube_pages::assets;

use super::frame::sent;

/// A file, for ever under this version's address.
pub(super) async fn file(
    headers: HeaderMap,
    Path((version, name)): Path<(String, String)>,
) -> Response {
    let Some(asset) = assets::find(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let gzip = headers.get(header::ACCEPT_ENCODING);
    let packed = gzip.is_some_and(|it| it.to_str().is_ok_and(|it| it.contains("gzip")));
    let mut response = sent(asset.text.as_bytes().to_vec(), asset.kind, packed);
    let headers = response.headers_mut();
    // A page of another version of the server gets what there is, and asks again next time.
    let is_this = version == format!("{:016x}", assets::VERSION);
    if is_this {
        let forever = "public, max-age=31536000, immutable";
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(forever));
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}
