//! A backup of the store, streamed.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::stream::unfold;

use crate::{
    api,
    http::{
        answer::{EndpointResult, HttpProblem},
        state::AppState,
    },
};

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Everything that the store holds at this moment, with the messages of the broker and the secrets of webhooks, for
/// `musterd restore`.
#[utoipa::path(
    get, path = "/system/snapshot",
    responses(
        (status = 200, description = "The backup; whole if it ends with its checksum", content_type = "application/octet-stream"),
        (status = 409, description = "There is no store", body = api::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn snapshot(State(shared): State<AppState>) -> EndpointResult {
    let Some(snapshots) = &shared.snapshots else {
        let why = "no backup without a store: store.path is empty, everything is in memory";
        return Err(HttpProblem::new(409, why));
    };
    let pieces = unfold(snapshots.begin(), async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, BYTES);
    Ok(response)
}
