//! What a caller may read: lists and streams are filtered by it.

use crate::{
    model::{Event, Route},
    registry::{Routes, Snapshot},
    security::{Principal, Protected, Right},
};

/// What a caller may read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Sight {
    /// Everything.
    #[default]
    All,
    /// What an identity may.
    Of(Principal),
}

impl Sight {
    fn reads(&self, resource: Protected, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(principal) => principal.allows(resource, name, Right::Read),
        }
    }

    fn reads_all(&self, resource: Protected) -> bool {
        match self {
            Self::All => true,
            Self::Of(principal) => principal.sees_all(resource),
        }
    }

    /// Whether every event of the registry is seen.
    pub fn is_whole(&self) -> bool {
        self.reads_all(Protected::Service) && self.reads_all(Protected::Route)
    }

    /// Whether every service is seen.
    pub fn sees_all_services(&self) -> bool {
        self.reads_all(Protected::Service)
    }

    /// Whether a service is seen.
    pub fn sees(&self, service: &str) -> bool {
        self.reads(Protected::Service, service)
    }

    /// Whether a route is seen, with the service that it names.
    pub fn sees_route(&self, route: &Route) -> bool {
        self.reads(Protected::Route, route.route_id.as_str())
            && self.sees(route.service_name.as_str())
    }

    /// Whether an event is seen.
    pub fn sees_event(&self, event: &Event) -> bool {
        match (&event.service_name, &event.route) {
            (Some(name), _) => self.sees(name.as_str()),
            (None, Some(route)) => self.sees_route(route),
            (None, None) => self.is_whole(),
        }
    }

    /// Whether notices of the migration are seen.
    pub fn sees_notices(&self) -> bool {
        self.reads(Protected::Migration, "")
    }

    /// Whether a webhook is seen that follows this service, or all.
    pub fn sees_watcher(&self, service: Option<&str>) -> bool {
        self.reads(Protected::Watcher, service.unwrap_or("*"))
    }

    /// The routes that are seen.
    pub fn routes(&self, routes: &Routes) -> Routes {
        let seen = routes.list.iter().filter(|route| self.sees_route(route));
        Routes {
            revision: routes.revision,
            list: seen.cloned().collect(),
        }
    }

    /// What is seen of a snapshot.
    #[must_use]
    pub fn of(&self, mut snapshot: Snapshot) -> Snapshot {
        if self.is_whole() {
            return snapshot;
        }
        let seen = |name: &str| self.sees(name);
        snapshot
            .services
            .retain(|(service, _)| seen(service.name().as_str()));
        snapshot.routes = self.routes(&snapshot.routes).into();
        snapshot
    }
}
