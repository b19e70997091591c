//! Owners of instances in rows of this version and of the one before.

use super::*;
use crate::{
    model::{Metadata, Registration, ServiceId},
    registry::codec::registration,
};

fn owned(owner: Option<&str>) -> Instance {
    let registration = Registration {
        service_id: ServiceId::parse("a").unwrap(),
        service_name: ServiceName::parse("web").unwrap(),
        host: "127.0.0.1".into(),
        port: 80,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: std::time::Duration::from_secs(60),
        lease: crate::model::LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: Box::default(),
    };
    Instance {
        bytes: Instance::memory(&registration),
        registration: Arc::new(registration),
        observed: Status::Healthy,
        overridden: None,
        lease: Lease::Running,
        registered_at: Timestamp(7),
        revision: Revision(8),
        incarnation: 9,
        reason: None,
        owner: owner.map(Arc::from),
        last_seen: Arc::new(LastSeen::new(0)),
        encoded: OnceLock::new(),
    }
}

#[test]
fn an_owner_is_read_as_it_was_written() {
    for owner in [None, Some("ci"), Some("amqp:worker")] {
        let mut row = Vec::new();
        put_instance(&mut row, &owned(owner));
        let read = instance(&row).unwrap();
        assert_eq!(read.owner.as_deref(), owner);
        assert_eq!(read.incarnation, 9);
    }
}

/// Version 1 wrote the same without an owner behind the reason.
#[test]
fn rows_without_owners_are_read() {
    let mut row = Vec::new();
    put_instance(&mut row, &owned(None));
    assert_eq!((row[0], row.pop()), (VERSION, Some(0)));
    row[0] = WITHOUT_OWNERS;
    let read = instance(&row).unwrap();
    assert_eq!((read.owner, read.revision), (None, Revision(8)));

    let known = Arc::new(owned(None));
    let event_of = |instance| Event {
        epoch: Epoch(1),
        revision: Revision(8),
        kind: EventKind::Registered,
        service_id: None,
        service_name: None,
        status: Some(Status::Healthy),
        previous_status: None,
        reason: None,
        timestamp: Timestamp(7),
        instance: Some(instance),
        route: None,
        encoded: OnceLock::new(),
    };
    let mut row = Vec::new();
    put_event(&mut row, &event_of(Arc::clone(&known)));
    // Behind the instance: no name of a guarded service, and no route.
    assert_eq!(row[row.len() - 3..], [0, 0, 0]);
    row.pop();
    row[0] = WITHOUT_OWNERS;
    let read = event(&row, Epoch(1)).unwrap();
    let shown = read.instance.unwrap();
    let mut same = Vec::new();
    registration::put(&mut same, &shown.registration);
    let mut before = Vec::new();
    registration::put(&mut before, &known.registration);
    assert_eq!((same, shown.incarnation), (before, 9));
}
