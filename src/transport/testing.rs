//! The instances that the tests of this room register.

use std::time::Duration;

use crate::model::{Metadata, Registration, RouteDraft, RouteId, ServiceId, ServiceName};

pub(super) fn registration(service: &str, id: &str) -> Registration {
    Registration {
        service_id: ServiceId::parse(id).unwrap(),
        service_name: ServiceName::parse(service).unwrap(),
        host: "127.0.0.1".into(),
        port: 8080,
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

pub(super) fn draft(id: &str, service: &str) -> RouteDraft {
    RouteDraft {
        route_id: RouteId::parse(id).unwrap(),
        path_prefix: "/api".into(),
        service_name: ServiceName::parse(service).unwrap(),
        strip_prefix: false,
        methods: Box::default(),
        priority: 0,
    }
}
