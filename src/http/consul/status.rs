//! The status of the cluster: this daemon is its only server and leads it.

use axum::extract::State;
use serde_json::json;

use super::{
    answer::{self, ConsulResult},
    call::ConsulCall,
    state::ConsulState,
};

/// `GET /v1/status/leader`
pub(super) async fn leader(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    Ok(answer::ok(&json!(state.server_address()), &call.query))
}

/// `GET /v1/status/peers`
pub(super) async fn peers(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    Ok(answer::ok(&json!([state.server_address()]), &call.query))
}
