use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::SnapshotWriter;
use crate::{
    api::{self, SnapshotBody},
    model::{
        Cursor, Epoch, Instance, LastSeen, Lease, Metadata, Registration, Revision, Route, RouteId,
        ServiceId, ServiceName, Status, Timestamp,
    },
};

fn instance(id: &str, service: &str) -> Arc<Instance> {
    let registration = Registration {
        service_id: ServiceId::parse(id).unwrap(),
        service_name: ServiceName::parse(service).unwrap(),
        host: "127.0.0.1".into(),
        port: 80,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(300),
        lease: crate::model::LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: Box::default(),
    };
    Arc::new(Instance {
        registration: Arc::new(registration),
        observed: Status::Healthy,
        overridden: None,
        lease: Lease::Running,
        registered_at: Timestamp(0),
        revision: Revision(1),
        incarnation: 1,
        reason: None,
        last_seen: Arc::new(LastSeen::new(0)),
        bytes: 0,
        encoded: OnceLock::new(),
    })
}

fn route(id: &str) -> Arc<Route> {
    Arc::new(Route {
        route_id: RouteId::parse(id).unwrap(),
        path_prefix: "/".into(),
        service_name: ServiceName::parse("a").unwrap(),
        strip_prefix: false,
        methods: Box::default(),
        priority: 0,
        revision: Revision(2),
        encoded: OnceLock::new(),
    })
}

/// Piece by piece or as a whole: the same bytes.
#[track_caller]
fn check(services: &[(&str, Vec<Arc<Instance>>)], routes: Option<&[Arc<Route>]>) {
    let cursor = Cursor {
        epoch: Epoch(0xab),
        revision: Revision(7),
    };
    let mut writer = SnapshotWriter::default();
    let mut out = Vec::new();
    writer.begin(&mut out, cursor);
    for (name, instances) in services {
        writer.service(&mut out, name);
        for one in instances {
            writer.instance(&mut out, one, Timestamp(0));
        }
    }
    if let Some(routes) = routes {
        writer.routes(&mut out);
        for one in routes {
            writer.route(&mut out, one);
        }
    }
    writer.end(&mut out);
    let whole = SnapshotBody {
        epoch: cursor.epoch,
        revision: cursor.revision,
        services: services.iter().map(|(name, list)| (*name, list)),
        routes,
    };
    let whole = api::snapshot(whole, |_| Timestamp(0));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        String::from_utf8(whole).unwrap()
    );
}

#[test]
fn pieces_are_the_same_bytes_as_the_whole() {
    let some = vec![instance("1", "a"), instance("2", "a")];
    let services = [
        ("a", some),
        ("b \"", vec![]),
        ("c", vec![instance("3", "c")]),
    ];
    let routes = [route("x"), route("y")];
    check(&[], None);
    check(&[], Some(&[]));
    check(&services, None);
    check(&services, Some(&routes));
    check(&services[..1], Some(&routes[..1]));
}
