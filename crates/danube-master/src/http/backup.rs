//! Streams a backup of the server. It is a GET, because it changes nothing.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use danube_api::{Code, Problem};
use danube_model::Timestamp;
use futures_util::stream::unfold;
use serde::Deserialize;

use super::answer::Answer;
use super::caller::ManagerOnRecord;
use super::logs::switch;
use crate::app::Shared;
use crate::backup;

/// What goes along.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupQuery {
    /// `0`: without the sealing keys, the admin key and the settings file. Such a backup
    /// can only be restored by whoever has the sealing keys.
    keys: Option<String>,
}

/// Takes a backup: everything that a server needs to go on elsewhere, as it is now.
///
/// The archive is whole if its last file is `manifest.json`; an answer that breaks off is
/// none. With the keys in it, it opens every secret: keep it as safe as the server.
#[utoipa::path(get, path = "/api/v1/admin/backup", tag = "admin", params(BackupQuery),
    responses((status = 200, description = "A tar; docs/backup.md describes it", content_type = "application/x-tar"),
        (status = 409, description = "Another one is being taken", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for the copy of the database", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn backup(
    State(app): State<Shared>,
    ManagerOnRecord(caller): ManagerOnRecord,
    method: Method,
    query: Result<Query<BackupQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let with_keys = query.keys.is_none() || switch("keys", query.keys.as_deref())?;
    let body = if method == Method::HEAD {
        // Nobody would take it.
        Body::empty()
    } else {
        let pieces = backup::begin(&app, caller.name, with_keys).await?;
        Body::from_stream(unfold(pieces, |mut pieces| async move {
            pieces.recv().await.map(|piece| (piece, pieces))
        }))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-tar"),
    );
    let name = format!("attachment; filename=\"{}\"", file_name(Timestamp::now()));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// A name that sorts by time and is one on every system.
fn file_name(at: Timestamp) -> String {
    let digits: String = at.to_string().chars().filter(|it| *it != ':').collect();
    let seconds = digits.split('.').next().unwrap_or(&digits);
    format!("danube-backup-{seconds}Z.tar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_called_after_its_second() {
        let at = Timestamp::parse("2026-01-31T12:34:56.789Z").unwrap();
        assert_eq!(file_name(at), "danube-backup-2026-01-31T123456Z.tar");
    }
}
