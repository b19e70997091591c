//! The configuration of gateways as an answer, at once or when it changed.

use axum::{
    extract::{RawQuery, State},
    response::IntoResponse,
};

use crate::{
    api::{self, Discover},
    http::{
        answer::{EndpointResult, json},
        problems::{Invalid, TooMany},
        serve::connection::HttpPeer,
        state::AppState,
        watch::{LongPoll, is_current},
    },
};

/// Every route with its healthy endpoints and their weights.
#[utoipa::path(
    get, path = "/gateway/config",
    params(
        ("index" = Option<String>, Query, description = "X-Muster-Index of an earlier answer: answer when it has changed"),
        ("wait" = Option<String>, Query, description = "With `index`: at the latest after this time, default 30s"),
    ),
    responses(
        (status = 200, body = api::GatewayAnswer<'static>, headers(("X-Muster-Index" = String, description = "The cursor of the last change of any of it"))),
        Invalid, TooMany,
    )
)]
pub(in crate::http) async fn config(
    State(shared): State<AppState>,
    peer: HttpPeer,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let wanted = Discover::from_query(query.as_deref())?;
    let mut changes = shared.gateway.follow();
    let mut current = shared.gateway.instances();
    if let Some(seen) = wanted.index {
        let mut waiting = None;
        while is_current(&shared.registry, seen, current.index) {
            let waiting = match &waiting {
                Some(waiting) => waiting,
                None => match LongPoll::begin(&shared, &peer, "*", wanted.wait) {
                    Ok(begun) => waiting.insert(begun),
                    Err(refused) => return Ok(refused.into_response()),
                },
            };
            let changed = async { drop(changes.changed().await) };
            let goes_on = waiting.changed(&shared, changed).await;
            current = shared.gateway.instances();
            if !goes_on {
                break;
            }
        }
    }
    let body = super::body(&shared, &shared.sight(&peer), &current);
    Ok(shared.with_index(json(body), current.index))
}
