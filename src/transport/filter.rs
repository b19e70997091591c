//! Which events a subscriber gets.

use crate::{
    catalog::Sight,
    model::{CANARY, Event, EventKind, ServiceName},
};

/// Which events a subscriber gets: of which services, and of which kinds. The default is all of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Only this service's; none means all events, those of routes among them.
    pub service: Option<ServiceName>,
    /// Only these kinds; none means all.
    pub kinds: Box<[EventKind]>,
    /// Leaves out the events of the migration's canary; the cursor passes them.
    pub without_canary: bool,
    /// What the subscriber may see; the cursor passes all other events.
    pub sight: Sight,
}

impl Filter {
    /// All events of one service.
    pub fn of(service: ServiceName) -> Self {
        Self {
            service: Some(service),
            ..Self::default()
        }
    }

    /// True when it selects all that clients do, and so the notices too.
    pub fn is_all(&self) -> bool {
        self.service.is_none() && self.kinds.is_empty()
    }

    /// True when the event is of a wanted kind and service.
    pub fn wants(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&event.kind);
        let service = self.service.is_none() || self.service == event.service_name;
        kind && service
            && self.sight.sees_event(event)
            && !(self.without_canary && is_canary(event.service_name.as_ref()))
    }
}

/// True for the service of the migration's canary.
pub(super) fn is_canary(service: Option<&ServiceName>) -> bool {
    service.is_some_and(|name| name.as_str() == CANARY)
}
