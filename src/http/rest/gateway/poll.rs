//! The configuration of gateways as an answer, at once or when it changed.

use axum::{
    extract::{RawQuery, State},
    response::IntoResponse,
};

use crate::{
    api::{Discover, schema},
    http::{
        answer::{Answer, json},
        serve::connection::Peer,
        state::Shared,
        watch::{Waiting, is_current},
    },
};

/// Every route with its healthy endpoints and their weights.
#[utoipa::path(
    get, path = "/gateway/config", tag = "gateway",
    params(
        ("index" = Option<String>, Query, description = "X-Muster-Index of an earlier answer: answer when it is no longer so"),
        ("wait" = Option<String>, Query, description = "With `index`: at the latest after this time, default 30s"),
    ),
    responses(
        (status = 200, body = schema::GatewayConfig, headers(("X-Muster-Index" = String, description = "The cursor of the last change of any of it"))),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
        (status = 429, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn config(
    State(shared): State<Shared>,
    peer: Peer,
    RawQuery(query): RawQuery,
) -> Answer {
    let wanted = Discover::from_query(query.as_deref())?;
    let mut changes = shared.gateway.subscribe();
    let mut config = shared.gateway_config();
    if let Some(seen) = wanted.index {
        let mut waiting = None;
        while is_current(&shared.registry, seen, config.index) {
            let waiting = match &waiting {
                Some(waiting) => waiting,
                None => match Waiting::begin(&shared, &peer, wanted.wait) {
                    Ok(begun) => waiting.insert(begun),
                    Err(refused) => return Ok(refused.into_response()),
                },
            };
            let changed = async { drop(changes.changed().await) };
            let goes_on = waiting.changed(&shared, changed).await;
            config = shared.gateway_config();
            if !goes_on {
                break;
            }
        }
    }
    Ok(shared.with_index(json(config.body.clone()), config.index))
}
