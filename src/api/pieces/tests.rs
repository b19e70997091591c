use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::SnapshotWriter;
use crate::{
    api::{self, ServicesJson, SnapshotBody, SnapshotJson},
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
        owner: None,
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

/// Every service, instance and route is there, in order.
#[track_caller]
fn check(services: &[(&str, Vec<Arc<Instance>>)], routes: Option<&[Arc<Route>]>) {
    let cursor = Cursor {
        epoch: Epoch(0xab),
        revision: Revision(7),
    };
    let written = api::snapshot(
        SnapshotBody {
            cursor,
            services: services.iter().map(|(name, list)| (*name, list)),
            routes,
        },
        |_| Timestamp(0),
    );
    let read: SnapshotJson = serde_json::from_slice(&written).unwrap();
    assert_eq!(
        (&*read.epoch, read.revision, &*read.cursor),
        ("ab", 7, "ab-7")
    );
    assert_eq!(read.services.len(), services.len());
    for (name, instances) in services {
        let ids = read.services[*name].iter().map(|one| &*one.service_id);
        assert!(
            ids.eq(instances.iter().map(|one| one.id().as_str())),
            "{name}"
        );
    }
    let ids = read.routes.as_ref();
    let ids = ids.map(|routes| routes.iter().map(|one| &*one.route_id).collect::<Vec<_>>());
    let expected = routes.map(|routes| routes.iter().map(|one| one.route_id.as_str()).collect());
    assert_eq!(ids, expected);
}

#[test]
fn a_snapshot_is_written_in_any_form() {
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

#[test]
fn a_snapshot_of_services_only_has_no_other_keys() {
    let mut writer = SnapshotWriter::default();
    let mut out = Vec::new();
    writer.begin_bare(&mut out);
    writer.service(&mut out, "a");
    writer.instance(&mut out, &instance("1", "a"), Timestamp(0));
    writer.instance(&mut out, &instance("2", "a"), Timestamp(0));
    writer.service(&mut out, "b");
    writer.end_bare(&mut out);
    let read: ServicesJson = serde_json::from_slice(&out).unwrap();
    assert_eq!((read.0["a"].len(), read.0["b"].len()), (2, 0));
}
