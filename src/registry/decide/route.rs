//! Gateway routes that are set and removed.

use std::sync::Arc;

use crate::{
    model::{EventKind, Revision, Route},
    registry::{Command, Draft, Operation, Refusal, RemoveRoute, SetRoute, Target},
};

impl Command for SetRoute {
    type Outcome = Arc<Route>;

    const OPERATION: Operation = Operation::Route;

    fn target(&self) -> Target<'_> {
        Target::Route {
            id: self.route.route_id.as_str(),
            service: Some(&self.route.service_name),
        }
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Arc<Route>, Refusal> {
        let known = draft.route(self.route.route_id.as_str());
        if known.as_ref().is_some_and(|known| !draft.sees_route(known)) {
            return Err(Refusal::IdTaken);
        }
        let mut route = self.route.at(Revision::default());
        let known = match known {
            Some(known) if known.same_as(&route) => return Ok(known),
            known => known,
        };
        let bytes = known.as_ref().map_or(0, |known| known.memory());
        let bytes = route.memory().saturating_sub(bytes);
        draft.has_room(0, usize::from(known.is_none()), bytes)?;
        route.revision = draft.upcoming_revision();
        let route = Arc::new(route);
        draft.put_route(&route, known.as_deref(), EventKind::RouteSet);
        Ok(route)
    }
}

impl Command for RemoveRoute {
    type Outcome = Arc<Route>;

    const OPERATION: Operation = Operation::Route;

    fn target(&self) -> Target<'_> {
        Target::Route {
            id: &self.route_id,
            service: None,
        }
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Arc<Route>, Refusal> {
        let route = draft.route(&self.route_id);
        let route = route.filter(|route| draft.sees_route(route));
        let route = route.ok_or(Refusal::UnknownRoute)?;
        draft.put_route(&route, Some(&route), EventKind::RouteRemoved);
        Ok(route)
    }
}
