//! What the tests of the watchers share.

use std::time::Duration;

use crate::{
    model::{Metadata, Registration, RouteDraft, RouteId, ServiceId, ServiceName},
    registry::{Config, Registry},
};

pub(in crate::http) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub(in crate::http) fn registration(id: &str, service: &str, port: u16) -> Registration {
    Registration {
        service_id: ServiceId::parse(id).unwrap(),
        service_name: name(service),
        host: "127.0.0.1".into(),
        port,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(300),
        lease: crate::model::LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: Box::default(),
    }
}

pub(in crate::http) fn route(id: &str, path_prefix: &str, service: &str) -> RouteDraft {
    RouteDraft {
        route_id: RouteId::parse(id).unwrap(),
        path_prefix: path_prefix.into(),
        service_name: name(service),
        strip_prefix: false,
        methods: Box::default(),
        priority: 0,
    }
}

pub(in crate::http) fn registry(log_entries_max: usize) -> Registry {
    Registry::new(Config {
        log_entries_max: log_entries_max.into(),
        ..Config::default()
    })
}

/// Registers an instance of that name and port in a service.
pub(in crate::http) fn register(registry: &Registry, id: &str, service: &str, port: u16) {
    registry
        .register(registration(id, service, port), None)
        .unwrap();
}
