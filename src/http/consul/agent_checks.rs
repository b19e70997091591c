//! Checks of the agent: registered, deregistered, and reported on.

use axum::{extract::State, http::Method};

use super::{
    agent::unknown_service,
    answer::{self, ConsulError, ConsulResult},
    call::ConsulCall,
    checks::FoundCheck,
    definitions, nodes,
    query::shown,
    state::ConsulState,
};
use crate::{
    catalog::{ChangeCheck, Refusal},
    model::{Check, Standing},
};

/// `PUT /v1/agent/check/register`
pub(super) async fn register(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let fields = call.fields()?;
    let name = fields.text("Name")?;
    if name.is_empty() {
        return Err(ConsulError::bad("Missing check name"));
    }
    let check = definitions::check(&state, &fields, &name)?;
    let service = fields.text("ServiceID")?;
    if service.is_empty() {
        let mut check = check;
        if let Some(options) = &mut check.options {
            // Only services are removed.
            options.remove_after = None;
        }
        let id = nodes::node_entry_id(&state.node.name);
        state.ensure_node_entry(&call, None).await?;
        state.set_check(&call, &id, check).await?;
        return Ok(answer::done());
    }
    state.agent_service(&call, &service)?;
    let set = state.set_check(&call, &service, check).await;
    set.map_err(|refusal| match refusal {
        Refusal::Unknown => ConsulError::new(
            500,
            format!("ServiceID \"{}\" does not exist", shown(&service)),
        ),
        other => unknown_service(&service, other),
    })?;
    Ok(answer::done())
}

/// `PUT /v1/agent/check/deregister/{id}`
pub(super) async fn deregister(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let found = state.agent_check(&call)?;
    let id = found.seen.instance.id().clone();
    state.remove_check(&call, id.as_str(), &found.name).await?;
    state.drop_empty_node_entry(&call, id.as_str()).await?;
    Ok(answer::done())
}

/// `PUT /v1/agent/check/pass/{id}?note=`
pub(super) async fn pass(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let note = call.query.get("note").unwrap_or_default().to_owned();
    report(&state, &call, Standing::Passing, &note).await
}

/// `PUT /v1/agent/check/warn/{id}?note=`
pub(super) async fn warn(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let note = call.query.get("note").unwrap_or_default().to_owned();
    report(&state, &call, Standing::Warning, &note).await
}

/// `PUT /v1/agent/check/fail/{id}?note=`
pub(super) async fn fail(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let note = call.query.get("note").unwrap_or_default().to_owned();
    report(&state, &call, Standing::Critical, &note).await
}

/// `PUT /v1/agent/check/update/{id}` with `Status` and `Output`.
pub(super) async fn update(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    debug_assert!(call.method == Method::PUT);
    let fields = call.fields()?;
    let status = fields.text("Status")?;
    let Some(standing) = Standing::parse(&status) else {
        return Err(ConsulError::bad(format!(
            "Invalid check status: \"{}\"",
            shown(&status)
        )));
    };
    let output = fields.text("Output")?;
    report(&state, &call, standing, &output).await
}

async fn report(
    state: &ConsulState,
    call: &ConsulCall,
    standing: Standing,
    text: &str,
) -> ConsulResult {
    let found = state.agent_check(call)?;
    let id = found.seen.instance.id().as_str();
    let (caller, catalog) = (call.caller(), &state.app.catalog);
    if found.is_heartbeat && standing == Standing::Passing {
        catalog.heartbeat(&caller, id, None).await?;
        return Ok(answer::done());
    }
    catalog.may_report(&caller, id)?;
    let probes = &state.app.probes;
    if found.is_reported && probes.report_standing(id, &found.name, standing, text) {
        return Ok(answer::done());
    }
    Err(ConsulError::unknown(format!(
        "CheckID \"{}\" does not have associated TTL",
        shown(call.name())
    )))
}

impl ConsulState {
    /// The check that the path names.
    fn agent_check(&self, call: &ConsulCall) -> Result<FoundCheck, ConsulError> {
        let sight = self.app.catalog.sight(&call.caller());
        self.find_check(&sight, call.name()).ok_or_else(|| {
            ConsulError::unknown(format!(
                "Unknown check ID \"{}\". Ensure that the check ID is passed, not the check name.",
                shown(call.name())
            ))
        })
    }

    /// Adds a check to an instance, or replaces the one of the same name.
    pub(super) async fn set_check(
        &self,
        call: &ConsulCall,
        id: &str,
        check: Check,
    ) -> Result<(), Refusal> {
        let command = ChangeCheck {
            service_id: id.into(),
            name: check.name.clone(),
            check: Some(check),
        };
        self.app
            .catalog
            .write(&call.caller(), command)
            .await
            .map(drop)
    }

    /// Removes a check from an instance.
    pub(super) async fn remove_check(
        &self,
        call: &ConsulCall,
        id: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        let command = ChangeCheck {
            service_id: id.into(),
            name: name.into(),
            check: None,
        };
        self.app
            .catalog
            .write(&call.caller(), command)
            .await
            .map(drop)
    }
}
