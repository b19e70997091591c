//! Which events somebody wants.

use crate::model::{Event, EventKind, ServiceName};

/// Which events somebody wants: of whom, and of which kinds. The default is all of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Only this service's; none means all events, those of routes among them.
    pub service: Option<ServiceName>,
    /// Only these kinds; none means all.
    pub kinds: Box<[EventKind]>,
}

impl Filter {
    /// All events of one service.
    pub fn of(service: ServiceName) -> Self {
        Self {
            service: Some(service),
            kinds: Box::default(),
        }
    }

    /// True when nothing is left out.
    pub fn is_all(&self) -> bool {
        self.service.is_none() && self.kinds.is_empty()
    }

    /// True when the event is of a wanted kind and service.
    pub fn wants(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&event.kind);
        kind && (self.service.is_none() || self.service == event.service_name)
    }
}
