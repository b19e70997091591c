//! Overrides: a status set by an operator, in the place of the observed one.

use axum::extract::State;

use super::extract::{BodyBytes, Name, caller};
use crate::{
    api::{self, OverrideDraft},
    catalog::{self, LiftOverride, SetOverride},
    http::{
        answer::EndpointResult,
        problems::{Invalid, NotFound, TooLarge},
        serve::connection::HttpPeer,
        state::AppState,
    },
};

/// Sets the effective status of an instance until the override is lifted.
#[utoipa::path(
    put, path = "/services/{service_id}/override",
    params(("service_id" = String, Path)),
    request_body = OverrideDraft,
    responses((status = 200, body = api::InstanceJson), NotFound, TooLarge, Invalid)
)]
pub(in crate::http) async fn set(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = OverrideDraft::read(&body)?;
    let command = SetOverride {
        service_id: id.as_str().into(),
        status: draft.status,
        reason: draft.reason,
    };
    let caller = caller(&peer);
    let instance = shared.catalog.write(&caller, command).await?;
    catalog::log_override(&caller, &instance);
    Ok(shared.changed(&instance, &warnings))
}

/// Lifts an override: the observed status is the effective one again.
#[utoipa::path(
    delete, path = "/services/{service_id}/override",
    params(("service_id" = String, Path)),
    responses((status = 200, body = api::InstanceJson), NotFound)
)]
pub(in crate::http) async fn lift(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    let service_id = id.as_str().into();
    let caller = caller(&peer);
    let command = LiftOverride { service_id };
    let instance = shared.catalog.write(&caller, command).await?;
    catalog::log_override(&caller, &instance);
    Ok(shared.instance(&instance))
}
