//! The verdict about a write by an identity: of the names in the command here, of the instance that is registered
//! while the command is decided.

use std::sync::Arc;

use crate::{
    model::{Instance, Route},
    registry::{InstanceRights, Operation, Refusal, Target},
    security::{Principal, Protected, Right},
};

/// The refusal that names what is missing.
pub fn missing(principal: &Principal, resource: Protected, name: &str, right: Right) -> Refusal {
    let who = principal.name();
    let what = match name {
        "" => format!("identity \"{who}\" has no {right} access to {resource}"),
        name => format!("identity \"{who}\" has no {right} access to {resource} \"{name}\""),
    };
    Refusal::Forbidden(what.into())
}

fn require(
    principal: &Principal,
    resource: Protected,
    name: &str,
    right: Right,
) -> Result<(), Refusal> {
    match principal.allows(resource, name, right) {
        true => Ok(()),
        false => Err(missing(principal, resource, name, right)),
    }
}

/// Judges a command by what it says.
pub(super) fn judge(
    principal: &Principal,
    operation: Operation,
    target: Target<'_>,
) -> Result<(), Refusal> {
    match (operation, target) {
        (Operation::Register, Target::Registration(registration)) => {
            let name = registration.service_name.as_str();
            require(principal, Protected::Service, name, Right::Write)
        }
        (_, Target::Instance(_)) => match principal.allows_some(Protected::Service, Right::Write) {
            // The rest depends on the instance.
            true => Ok(()),
            false => Err(missing(principal, Protected::Service, "", Right::Write)),
        },
        (Operation::Route, Target::Route { id, service }) => {
            require(principal, Protected::Route, id, Right::Write)?;
            service.map_or(Ok(()), |service| {
                require(principal, Protected::Service, service.as_str(), Right::Read)
            })
        }
        // These come from the daemon only.
        _ => Err(missing(principal, Protected::System, "", Right::Write)),
    }
}

/// What an identity may do with an instance that is registered.
#[derive(Debug)]
pub(super) struct CallerRights(pub(super) Principal);

impl InstanceRights for CallerRights {
    fn owner(&self) -> Arc<str> {
        Arc::clone(self.0.name())
    }

    fn renew(&self, known: &Instance) -> Result<(), Refusal> {
        let name = known.name().as_str();
        if !self.0.allows(Protected::Service, name, Right::Read) {
            return Err(Refusal::Unknown);
        }
        require(&self.0, Protected::Service, name, Right::Write)
    }

    fn sees_route(&self, known: &Route) -> bool {
        let name = known.service_name.as_str();
        self.0.allows(Protected::Service, name, Right::Read)
    }

    fn change(&self, known: &Instance) -> Result<(), Refusal> {
        self.renew(known)?;
        let is_own = |owner: &Arc<str>| *owner == *self.0.name();
        if known.owner.as_ref().is_none_or(is_own) {
            return Ok(());
        }
        let name = known.name().as_str();
        require(&self.0, Protected::Service, name, Right::WriteAny).map_err(|refusal| {
            let owner = known.owner.as_deref().unwrap_or_default();
            let id = known.id();
            Refusal::Forbidden(format!("{refusal}: \"{id}\" was registered by \"{owner}\"").into())
        })
    }
}
