//! Services of the agent: registered, deregistered, put into maintenance.

use axum::extract::State;

use super::{
    answer::{self, ConsulError, ConsulResult},
    call::ConsulCall,
    definitions,
    nodes::{self, NODE_SERVICE, SeenInstance},
    query::{go_bool, shown},
    state::ConsulState,
};
use crate::{
    catalog::{self, Deregister, LiftOverride, Refusal, Register, RegisterKeeping, SetOverride},
    model::{OverrideStatus, Registration},
};

/// The longest reason of a maintenance, in characters; more are cut off.
const REASON_CHARS_MAX: usize = 1000;

/// `PUT /v1/agent/service/register`
pub(super) async fn register(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let fields = call.fields()?;
    let registration = definitions::service(&state, &fields, None)?;
    let replaces = call.query.is_set("replace-existing-checks");
    state.register(&call, registration, replaces).await?;
    Ok(answer::done())
}

/// `PUT /v1/agent/service/deregister/{id}`
pub(super) async fn deregister(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    state.agent_service(&call, call.name())?;
    let command = Deregister {
        service_id: call.name().into(),
        incarnation: None,
    };
    let caller = call.caller();
    let instance = state.app.catalog.write(&caller, command).await;
    let instance = instance.map_err(|refusal| unknown_service(call.name(), refusal))?;
    catalog::log_deregistered(&caller, &instance);
    Ok(answer::done())
}

/// `PUT /v1/agent/service/maintenance/{id}?enable=&reason=`
pub(super) async fn maintenance(
    State(state): State<ConsulState>,
    call: ConsulCall,
) -> ConsulResult {
    let enable = enable(&call)?;
    state.agent_service(&call, call.name())?;
    let set = state.set_maintenance(&call, call.name(), enable).await;
    set.map_err(|refusal| unknown_service(call.name(), refusal))?;
    Ok(answer::done())
}

/// `PUT /v1/agent/maintenance?enable=&reason=`, of the whole node.
pub(super) async fn node_maintenance(
    State(state): State<ConsulState>,
    call: ConsulCall,
) -> ConsulResult {
    let enable = enable(&call)?;
    let id = nodes::node_entry_id(&state.node.name);
    if enable {
        state.ensure_node_entry(&call, None).await?;
    }
    match state.set_maintenance(&call, &id, enable).await {
        Ok(()) => (),
        // There is nothing to lift.
        Err(Refusal::Unknown) if !enable => (),
        Err(refusal) => return Err(refusal.into()),
    }
    state.drop_empty_node_entry(&call, &id).await?;
    Ok(answer::done())
}

fn enable(call: &ConsulCall) -> Result<bool, ConsulError> {
    match call.query.get("enable") {
        None | Some("") => Err(ConsulError::bad("Missing value for enable")),
        Some(text) => go_bool(text).ok_or_else(|| {
            let text = shown(text);
            ConsulError::bad(format!(
                "Invalid value for enable: \"{text}\"; it must be true or false"
            ))
        }),
    }
}

/// The refusal about a service that the path names.
pub(super) fn unknown_service(id: &str, refusal: Refusal) -> ConsulError {
    match refusal {
        Refusal::Unknown => ConsulError::unknown(format!(
            "Unknown service ID \"{}\". Ensure that the service ID is passed, not the service name.",
            shown(id)
        )),
        other => other.into(),
    }
}

impl ConsulState {
    /// Registers a service, with the checks it has already or without.
    pub(super) async fn register(
        &self,
        call: &ConsulCall,
        registration: Registration,
        replaces_checks: bool,
    ) -> Result<(), ConsulError> {
        let (caller, catalog) = (call.caller(), &self.app.catalog);
        let registered = match replaces_checks {
            true => {
                let register = Register {
                    registration,
                    incarnation: None,
                };
                catalog.write(&caller, register).await?
            }
            false => {
                catalog
                    .write(&caller, RegisterKeeping { registration })
                    .await?
            }
        };
        catalog::log_registered(&caller, &registered);
        Ok(())
    }

    /// A service of the local node that the caller may see.
    pub(super) fn agent_service(
        &self,
        call: &ConsulCall,
        id: &str,
    ) -> Result<SeenInstance, ConsulError> {
        let found = self.app.catalog.instance(&call.caller(), id);
        let seen = found.map(|instance| SeenInstance::of(&instance));
        let seen = seen
            .filter(|seen| seen.node.is_none() && !nodes::is_hidden(seen.instance.name().as_str()));
        seen.ok_or_else(|| unknown_service(id, Refusal::Unknown))
    }

    async fn set_maintenance(
        &self,
        call: &ConsulCall,
        id: &str,
        enable: bool,
    ) -> Result<(), Refusal> {
        let (caller, catalog) = (call.caller(), &self.app.catalog);
        let instance = match enable {
            true => {
                let reason = call.query.get("reason").unwrap_or_default();
                let reason = reason.chars().filter(|c| !c.is_control());
                let reason: String = reason.take(REASON_CHARS_MAX).collect();
                let reason = match reason.is_empty() {
                    true => "Maintenance mode is enabled, but no reason was provided.",
                    false => reason.as_str(),
                };
                let set = SetOverride {
                    service_id: id.into(),
                    status: OverrideStatus::Unhealthy,
                    reason: Some(reason.into()),
                };
                catalog.write(&caller, set).await?
            }
            false => {
                let service_id = id.into();
                catalog.write(&caller, LiftOverride { service_id }).await?
            }
        };
        catalog::log_override(&caller, &instance);
        Ok(())
    }

    /// Registers the entry of a node, unless there is one.
    pub(super) async fn ensure_node_entry(
        &self,
        call: &ConsulCall,
        node: Option<&definitions::OtherNode>,
    ) -> Result<(), ConsulError> {
        let registration = definitions::node_entry(self, node, Box::default())?;
        let known = self.app.registry.instance(registration.service_id.as_str());
        let is_same = |known: &Registration| {
            known.metadata.same_as(&registration.metadata) && known.host == registration.host
        };
        if known.is_some_and(|known| is_same(&known.registration)) {
            return Ok(());
        }
        let command = RegisterKeeping { registration };
        self.app.catalog.write(&call.caller(), command).await?;
        Ok(())
    }

    /// Removes the entry of the local node when it says nothing any more.
    pub(super) async fn drop_empty_node_entry(
        &self,
        call: &ConsulCall,
        id: &str,
    ) -> Result<(), ConsulError> {
        let Some(known) = self.app.registry.instance(id) else {
            return Ok(());
        };
        let is_empty = known.registration.checks.is_empty() && known.overridden.is_none();
        let is_local = SeenInstance::of(&known).node.is_none();
        if !is_empty || !is_local || known.name().as_str() != NODE_SERVICE {
            return Ok(());
        }
        let command = Deregister {
            service_id: id.into(),
            incarnation: Some(known.incarnation),
        };
        match self.app.catalog.write(&call.caller(), command).await {
            Ok(_) | Err(Refusal::Unknown | Refusal::Conflict { .. }) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }
}
