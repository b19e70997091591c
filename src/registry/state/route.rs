//! Setting and removing the gateway's routes.

use std::sync::Arc;

use super::{Events, Numbered, State};
use crate::{
    model::{Event, EventKind, Revision, Route, RouteDraft},
    registry::{Refusal, clock::Now},
};

impl State {
    pub(in crate::registry) fn set_route(
        &mut self,
        draft: RouteDraft,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Route>, Refusal> {
        let route = draft.at(self.revision.next());
        match self.routes.get(&route.route_id) {
            Some(known) if known.same_as(&route) => return Ok(Arc::clone(known)),
            None if self.routes.len() >= self.config.routes_max.get() => {
                return Err(Refusal::RoutesFull {
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
    ) -> Result<Arc<Route>, Refusal> {
        let route = self.routes.remove(id).ok_or(Refusal::UnknownRoute)?;
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
