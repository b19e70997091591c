//! One line of the log for each change that a client made, for the doors to call once the change is in effect. The
//! log limits how often each of these lines is written. Renewals and the canary's changes are not logged.

use std::fmt;

use super::{Caller, Door, Identity};
use crate::{
    model::{Instance, Route, Status},
    registry::{Change, Registered},
};

/// An instance was registered, or its registration changed.
pub fn log_registered(caller: &Caller, registered: &Registered) {
    if caller.door == Door::Canary {
        return;
    }
    let what = match registered.change {
        Change::New => "registered",
        Change::Updated => "registered again with changes",
        Change::Renewed => return,
    };
    let registration = &registered.instance.registration;
    let (id, service) = (&registration.service_id, &registration.service_name);
    let (host, port) = (&registration.host, registration.port);
    tracing::info!(
        service.id = %id,
        service.name = %service,
        "instance \"{id}\" of service \"{service}\" is {what} at {host}:{port} {caller}"
    );
}

/// An instance was deregistered.
pub fn log_deregistered(caller: &Caller, instance: &Instance) {
    if caller.door == Door::Canary {
        return;
    }
    let registration = &instance.registration;
    let (id, service) = (&registration.service_id, &registration.service_name);
    tracing::info!(
        service.id = %id,
        service.name = %service,
        "instance \"{id}\" of service \"{service}\" is deregistered {caller}"
    );
}

/// An operator's override was set or lifted.
pub fn log_override(caller: &Caller, instance: &Instance) {
    let id = &instance.registration.service_id;
    match &instance.overridden {
        Some(set) => {
            let status = Status::from(set.status);
            let reason = set.reason.as_deref();
            let reason = reason.unwrap_or("no reason is given");
            tracing::info!(
                service.id = %id,
                "the status of instance \"{id}\" is overridden with {status} {caller}: {reason}"
            );
        }
        None => tracing::info!(
            service.id = %id,
            "the override of instance \"{id}\" is lifted {caller}"
        ),
    }
}

/// A gateway route was set.
pub fn log_route_set(caller: &Caller, route: &Route) {
    let (id, service) = (&route.route_id, &route.service_name);
    let prefix = &route.path_prefix;
    tracing::info!(
        route.id = %id,
        "route \"{id}\" is set: {prefix} goes to service \"{service}\" {caller}"
    );
}

/// A gateway route was removed.
pub fn log_route_removed(caller: &Caller, route: &Route) {
    let id = &route.route_id;
    tracing::info!(route.id = %id, "route \"{id}\" is removed {caller}");
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let door = match self.door {
            Door::Rest => "over REST",
            Door::Eureka => "over Eureka",
            Door::Consul => "over the Consul API",
            Door::Amqp => "over AMQP",
            Door::Canary => "by the canary",
            Door::Health => "by the health checks",
            Door::Broker => "by the broker",
            Door::Embedding => "by the program",
        };
        f.write_str(door)?;
        if let Identity::Of(principal) = &self.identity {
            write!(f, " by \"{}\"", principal.name())?;
        }
        match (self.address, self.connection) {
            (Some(address), _) => write!(f, " from {address}"),
            (None, Some(connection)) => write!(f, " by connection {connection}"),
            (None, None) => Ok(()),
        }
    }
}
