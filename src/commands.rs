//! What can be asked of the registry and what is answered, the same whichever door it came by: a body
//! in, a body or a problem out. Never touches a socket.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::{
    api::{self, Command, Defaults, Discover, Parsed, Problem},
    model::{Instance, Revision, Timestamp},
    registry::{Body, Registered, Registry, RegistryError, View},
};

/// How old times of heartbeats in a list may be, in milliseconds.
const BODY_AGE_MS_MAX: u64 = 1000;

/// A cheap handle for doors.
#[derive(Clone, Debug)]
pub struct Commands {
    registry: Registry,
    defaults: Arc<Defaults>,
}

impl Commands {
    /// Commands to one registry; `defaults` stand where a registration says nothing.
    pub fn new(registry: Registry, defaults: Defaults) -> Self {
        Self {
            registry,
            defaults: Arc::new(defaults),
        }
    }

    /// Registers what `body` says; it may name the caller's incarnation.
    ///
    /// # Errors
    /// A field is wrong (422), a newer incarnation is registered (409), or the registry is full (503).
    pub fn register(&self, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let Parsed {
            registration,
            incarnation,
            warnings,
        } = api::registration(body, &self.defaults)?;
        let registered = self.registry.register(registration, incarnation);
        self.registered(registered, &warnings)
    }

    /// The same for a caller who came by a connection of the embedded broker, on which its lease may
    /// hang.
    ///
    /// # Errors
    /// As for [`Self::register`].
    pub fn register_over(&self, connection: u64, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let Parsed {
            registration,
            incarnation,
            warnings,
        } = api::registration(body, &self.defaults)?;
        let registered = self
            .registry
            .register_over(connection, registration, incarnation);
        self.registered(registered, &warnings)
    }

    fn registered(
        &self,
        registered: Result<Registered, RegistryError>,
        warnings: &[String],
    ) -> Result<Vec<u8>, Problem> {
        let instance = registered.map_err(problem)?.instance;
        Ok(api::registered(&instance, self.now(), warnings))
    }

    /// Removes an instance.
    ///
    /// # Errors
    /// A field is wrong (422), the id is unknown (404), or a newer incarnation is registered (409).
    pub fn deregister(&self, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let Command {
            service_id,
            incarnation,
        } = Command::read(body)?;
        self.registry
            .deregister(&service_id, incarnation)
            .map_err(problem)?;
        let message = "Service deregistered successfully";
        Ok(api::done(message, &service_id, self.now()))
    }

    /// Renews a lease.
    ///
    /// # Errors
    /// A field is wrong (422), the id is unknown (404), or a newer incarnation is registered (409).
    pub fn heartbeat(&self, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let Command {
            service_id,
            incarnation,
        } = Command::read(body)?;
        let recorded = self.registry.heartbeat(&service_id, incarnation);
        let recorded = recorded.map_err(problem)?;
        Ok(api::done("Heartbeat received", &service_id, recorded))
    }

    /// The same for a caller who came by a connection of the embedded broker: a lease that hangs on its
    /// connection hangs on this one from now on.
    ///
    /// # Errors
    /// As for [`Self::heartbeat`].
    pub fn heartbeat_over(&self, connection: u64, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let Command {
            service_id,
            incarnation,
        } = Command::read(body)?;
        let recorded = self
            .registry
            .heartbeat_over(connection, &service_id, incarnation);
        let recorded = recorded.map_err(problem)?;
        Ok(api::done("Heartbeat received", &service_id, recorded))
    }

    /// A connection of the embedded broker has closed: what hangs on it is unhealthy.
    pub fn connection_closed(&self, connection: u64) {
        self.registry.connection_closed(connection);
    }

    /// The instances of a service, and the revision of what is answered.
    pub fn discover(&self, name: &str, wanted: &Discover) -> (Bytes, Revision) {
        // Before the look at the service: one that registers in between is behind this revision.
        let newest = self.registry.newest();
        let Some(service) = self.registry.service(name) else {
            let none = std::iter::empty::<&Arc<Instance>>();
            let body = api::discovered(none, |one| self.last_heartbeat(one));
            return (body.into(), newest);
        };
        let view = service.view();
        (self.listed(&view, wanted), view.revision)
    }

    fn listed(&self, view: &View, wanted: &Discover) -> Bytes {
        if wanted.is_plain() {
            return if wanted.healthy_only {
                self.kept(&view.body_healthy, || view.healthy().iter())
            } else {
                self.kept(&view.body_all, || view.instances.values())
            };
        }
        let limit = wanted.limit.unwrap_or(usize::MAX);
        let matching = view.instances.values().filter(|one| wanted.matches(one));
        let last_heartbeat = |one: &Instance| self.last_heartbeat(one);
        api::discovered(matching.take(limit), last_heartbeat).into()
    }

    /// The bytes made within the last second, or new ones.
    fn kept<'v, I: Iterator<Item = &'v Arc<Instance>>>(
        &self,
        slot: &ArcSwapOption<Body>,
        instances: impl FnOnce() -> I,
    ) -> Bytes {
        let now_ms = self.registry.clock().now().mono_ms;
        if let Some(body) = &*slot.load()
            && now_ms.saturating_sub(body.made_ms) < BODY_AGE_MS_MAX
        {
            return body.bytes.clone();
        }
        let made = api::discovered(instances(), |one| self.last_heartbeat(one));
        let bytes = Bytes::from(made.into_boxed_slice());
        slot.store(Some(Arc::new(Body {
            bytes: bytes.clone(),
            made_ms: now_ms,
        })));
        bytes
    }

    fn last_heartbeat(&self, instance: &Instance) -> Timestamp {
        let clock = self.registry.clock();
        clock.wall_of(instance.beat.last_renewed_ms())
    }

    fn now(&self) -> Timestamp {
        self.registry.clock().now().wall
    }
}

/// A refusal of the registry as callers see it.
pub fn problem(error: RegistryError) -> Problem {
    let status = match error {
        RegistryError::NoConnection => return api::connection_needed(),
        RegistryError::Unknown | RegistryError::UnknownRoute => 404,
        RegistryError::Conflict { .. } => 409,
        RegistryError::Full { .. } | RegistryError::RoutesFull { .. } => 503,
    };
    Problem::new(status, error.to_string())
}
