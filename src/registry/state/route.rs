//! Setting and removing the gateway's routes.

use std::sync::{Arc, OnceLock};

use super::{Events, Numbered, State};
use crate::{
    model::{Event, EventKind, Revision, Route, RouteId, ServiceName},
    registry::{RegistryError, clock::Now},
};

/// What a caller says of a route.
#[derive(Clone, Debug)]
pub struct RouteDraft {
    /// Its identity.
    pub route_id: RouteId,
    /// Starts with "/"; matches whole segments.
    pub path_prefix: Box<str>,
    /// Who gets the requests.
    pub service_name: ServiceName,
    /// Whether the gateway takes the prefix off before it forwards.
    pub strip_prefix: bool,
    /// Upper-case methods it is for; none means all.
    pub methods: Box<[Box<str>]>,
    /// Decides between routes with prefixes of the same length: the higher one.
    pub priority: i32,
}

impl RouteDraft {
    fn numbered(self, revision: Revision) -> Route {
        Route {
            route_id: self.route_id,
            path_prefix: self.path_prefix,
            service_name: self.service_name,
            strip_prefix: self.strip_prefix,
            methods: self.methods,
            priority: self.priority,
            revision,
            encoded: OnceLock::new(),
        }
    }
}

impl State {
    pub(in crate::registry) fn set_route(
        &mut self,
        draft: RouteDraft,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Route>, RegistryError> {
        let route = draft.numbered(self.revision.next());
        match self.routes.get(&route.route_id) {
            Some(known) if known.same_as(&route) => return Ok(Arc::clone(known)),
            None if self.routes.len() >= self.config.routes_max.get() => {
                return Err(RegistryError::RoutesFull {
                    max: self.config.routes_max.get(),
                });
            }
            _ => (),
        }
        self.next_revision();
        let route = Arc::new(route);
        self.routes
            .insert(route.route_id.clone(), Arc::clone(&route));
        self.publish_routes(EventKind::RouteSet, &route, now, out);
        Ok(route)
    }

    pub(in crate::registry) fn remove_route(
        &mut self,
        id: &str,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Route>, RegistryError> {
        let route = self.routes.remove(id).ok_or(RegistryError::UnknownRoute)?;
        self.next_revision();
        self.publish_routes(EventKind::RouteRemoved, &route, now, out);
        Ok(route)
    }

    fn publish_routes(&self, kind: EventKind, route: &Arc<Route>, now: Now, out: &mut Events) {
        self.route_table.publish(self.revision, &self.routes);
        let event = Event {
            route: Some(Arc::clone(route)),
            ..self.bare_event(kind, self.revision, now)
        };
        out.push(Numbered {
            event,
            previous: Revision::default(),
        });
    }
}
