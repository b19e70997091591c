//! One queue: show, read, purge, delete.

use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::count;
use crate::{
    api,
    broker::{pages::MessagesPage, vhost::QueueView},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::{Invalid, NotFound},
        rest::extract::Name,
        serve::connection::HttpPeer,
        state::AppState,
    },
    security::Right,
};

/// How many messages are answered without a `count`.
const COUNT_DEFAULT: usize = 10;

/// The result of a purge.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerPurged)]
pub(in crate::http) struct QueuePurged {
    /// How many messages were dropped.
    purged: u64,
}

/// The result of a deletion.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDeleted)]
pub(in crate::http) struct QueueDeleted {
    /// True.
    deleted: bool,
    /// How many messages went with the queue.
    messages: u64,
}

fn unknown(of: &Name) -> HttpProblem {
    let (vhost, name) = (of.as_str(), of.second());
    let detail = format!("there is no queue \"{name}\" in vhost \"{vhost}\"");
    HttpProblem::new(404, detail)
}

/// One queue.
#[utoipa::path(
    get, path = "/broker/queues/{vhost}/{name}",
    params(
        ("vhost" = String, Path, description = "%2F is the default vhost"),
        ("name" = String, Path),
    ),
    responses((status = 200, body = QueueView), NotFound)
)]
pub(in crate::http) async fn queue(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
) -> EndpointResult {
    shared.require_broker(&peer, Some(of.as_str()), Right::Read)?;
    let queue = shared.pages()?.queue(of.as_str(), of.second()).await;
    Ok(json(queue.ok_or_else(|| unknown(&of))?))
}

/// Deletes a queue with its messages, also an exclusive one.
#[utoipa::path(
    delete, path = "/broker/queues/{vhost}/{name}",
    params(
        ("vhost" = String, Path, description = "%2F is the default vhost"),
        ("name" = String, Path),
    ),
    responses((status = 200, body = QueueDeleted), NotFound)
)]
pub(in crate::http) async fn delete(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
) -> EndpointResult {
    shared.require_broker(&peer, Some(of.as_str()), Right::Write)?;
    let dropped = shared.pages()?.delete(of.as_str(), of.second()).await;
    let dropped = dropped.ok_or_else(|| unknown(&of))?;
    tracing::info!(
        queue.name = of.second(),
        queue.vhost = of.as_str(),
        messages = dropped,
        "queue was deleted over HTTP"
    );
    let answer = QueueDeleted {
        deleted: true,
        messages: dropped as u64,
    };
    Ok(json(api::encode(&answer)))
}

/// The first messages of a queue; they stay there.
#[utoipa::path(
    get, path = "/broker/queues/{vhost}/{name}/messages",
    params(
        ("vhost" = String, Path, description = "%2F is the default vhost"),
        ("name" = String, Path),
        ("count" = Option<usize>, Query, description = "The most messages, default 10"),
    ),
    responses((status = 200, body = MessagesPage), NotFound, Invalid)
)]
pub(in crate::http) async fn messages(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    shared.require_broker(&peer, Some(of.as_str()), Right::Read)?;
    let mut wanted = COUNT_DEFAULT;
    for (key, value) in api::pairs(query.as_deref().unwrap_or_default()) {
        if key == "count" {
            wanted = count("count", &value)?;
        }
    }
    let wanted = wanted.min(shared.config.broker.messages_max.get());
    let messages = shared
        .pages()?
        .messages(of.as_str(), of.second(), wanted)
        .await;
    Ok(json(messages.ok_or_else(|| unknown(&of))?))
}

/// Drops the ready messages of a queue; unacknowledged ones stay with their consumers.
#[utoipa::path(
    delete, path = "/broker/queues/{vhost}/{name}/messages",
    params(
        ("vhost" = String, Path, description = "%2F is the default vhost"),
        ("name" = String, Path),
    ),
    responses((status = 200, body = QueuePurged), NotFound)
)]
pub(in crate::http) async fn purge(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
) -> EndpointResult {
    shared.require_broker(&peer, Some(of.as_str()), Right::Write)?;
    let purged = shared.pages()?.purge(of.as_str(), of.second()).await;
    let purged = purged.ok_or_else(|| unknown(&of))?;
    tracing::info!(
        queue.name = of.second(),
        queue.vhost = of.as_str(),
        messages = purged,
        "queue was purged over HTTP"
    );
    let purged = purged as u64;
    Ok(json(api::encode(&QueuePurged { purged })))
}
