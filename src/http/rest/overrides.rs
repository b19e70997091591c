//! An operator's word, which wins over what the checks say.

use axum::extract::State;

use super::extract::{Name, Text};
use crate::{
    api::{OverrideDraft, schema},
    catalog::{Caller, Door, LiftOverride, SetOverride},
    http::{answer::Answer, state::Shared},
};

/// Sets what stands for the status of an instance until it is lifted.
#[utoipa::path(
    put, path = "/services/{service_id}/override", tag = "operations",
    params(("service_id" = String, Path)),
    request_body = schema::OverrideDraft,
    responses(
        (status = 200, body = schema::Instance),
        (status = 404, body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than `http.body_max`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn set(
    State(shared): State<Shared>,
    id: Name,
    Text(body): Text,
) -> Answer {
    let (draft, warnings) = OverrideDraft::read(&body)?;
    let command = SetOverride {
        service_id: id.as_str().into(),
        status: draft.status,
        reason: draft.reason,
    };
    let caller = Caller::by(Door::Rest);
    let instance = shared.catalog.write(&caller, command).await?;
    Ok(shared.changed(&instance, &warnings))
}

/// Lifts it: the checks have their say again.
#[utoipa::path(
    delete, path = "/services/{service_id}/override", tag = "operations",
    params(("service_id" = String, Path)),
    responses(
        (status = 200, body = schema::Instance),
        (status = 404, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn lift(State(shared): State<Shared>, id: Name) -> Answer {
    let service_id = id.as_str().into();
    let caller = Caller::by(Door::Rest);
    let instance = shared.catalog.write(&caller, LiftOverride { service_id });
    let instance = instance.await?;
    Ok(shared.instance(&instance))
}
