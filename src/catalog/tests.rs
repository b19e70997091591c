//! Every write passes the one point where permissions are judged. That the doors use it, their own tests show,
//! with [`take_judged`].

use std::{cell::RefCell, sync::Arc, time::Duration};

use super::{
    Caller, Catalog, CloseConnection, Deregister, Door, Heartbeat, LiftOverride, Observe,
    Operation, PatchInstance, Refusal, Register, RegisterReported, RemoveRoute, SetOverride,
    SetRoute,
};
use crate::{
    model::{
        CANARY, LeaseKind, Metadata, OverrideStatus, Patch, Registration, RouteDraft, RouteId,
        ServiceId, ServiceName, Status,
    },
    registry::{Config, Registry},
};

thread_local! {
    static JUDGED: RefCell<Vec<(Door, Operation)>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn judged(caller: &Caller, operation: Operation) {
    JUDGED.with_borrow_mut(|judged| judged.push((caller.door, operation)));
}

/// What this thread has judged since the last call, in order.
pub(crate) fn take_judged() -> Vec<(Door, Operation)> {
    JUDGED.take()
}

pub(super) fn registration(id: &str, name: &str) -> Registration {
    Registration {
        service_id: ServiceId::parse(id).unwrap(),
        service_name: ServiceName::parse(name).unwrap(),
        host: "127.0.0.1".into(),
        port: 80,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(60),
        lease: LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: Box::default(),
    }
}

fn route(id: &str) -> RouteDraft {
    RouteDraft {
        route_id: RouteId::parse(id).unwrap(),
        path_prefix: "/".into(),
        service_name: ServiceName::parse("web").unwrap(),
        strip_prefix: false,
        methods: Box::default(),
        priority: 0,
    }
}

/// Registers with a status that the instance reports.
fn report(catalog: &Catalog, caller: &Caller, registration: &Registration) {
    let reported = RegisterReported {
        registration: registration.clone(),
        incarnation: None,
        status: Status::Healthy,
    };
    catalog.write(caller, reported).now().unwrap().unwrap();
}

/// Submits each kind of write, in an order in which all are accepted, and says what it was.
fn write_all(catalog: &Catalog, caller: &Caller) -> Vec<Operation> {
    let register = Register {
        registration: registration("a", "web"),
        incarnation: None,
    };
    let registered = catalog.write(caller, register).now().unwrap().unwrap();
    let registration = Arc::clone(&registered.instance.registration);
    report(catalog, caller, &registration);
    let registration = Arc::clone(&catalog.instance(caller, "a").unwrap().registration);
    let (service_id, incarnation): (Box<str>, _) = ("a".into(), None);
    let id = || service_id.clone();
    let heartbeat = Heartbeat {
        service_id: id(),
        incarnation,
    };
    catalog.write(caller, heartbeat).now().unwrap().unwrap();
    let beat = catalog.heartbeat(caller, "a", None);
    beat.now().unwrap().unwrap();
    let patch = PatchInstance {
        service_id: id(),
        patch: Patch::default(),
    };
    catalog.write(caller, patch).now().unwrap().unwrap();
    let set = SetOverride {
        service_id: id(),
        status: OverrideStatus::Stopping,
        reason: None,
    };
    catalog.write(caller, set).now().unwrap().unwrap();
    let lift = LiftOverride { service_id: id() };
    catalog.write(caller, lift).now().unwrap().unwrap();
    let observe = Observe {
        registration: Arc::clone(&registration),
        observed: Status::Healthy,
        reason: None,
    };
    assert!(catalog.write(caller, observe).now().unwrap().unwrap());
    catalog.check_passed(caller, &registration);
    let route = route("r");
    catalog
        .write(caller, SetRoute { route })
        .now()
        .unwrap()
        .unwrap();
    let remove = RemoveRoute {
        route_id: "r".into(),
    };
    catalog.write(caller, remove).now().unwrap().unwrap();
    let closed = CloseConnection { connection: 7 };
    catalog.write(caller, closed).now().unwrap().unwrap();
    let deregister = Deregister {
        service_id: id(),
        incarnation,
    };
    catalog.write(caller, deregister).now().unwrap().unwrap();
    vec![
        Operation::Register,
        Operation::Register,
        Operation::Heartbeat,
        Operation::Heartbeat,
        Operation::Patch,
        Operation::Override,
        Operation::Override,
        Operation::Observe,
        Operation::Observe,
        Operation::Route,
        Operation::Route,
        Operation::CloseConnection,
        Operation::Deregister,
    ]
}

#[tokio::test]
async fn each_write_is_judged_once_by_its_door() {
    for door in Door::ALL {
        let catalog = Catalog::new(Registry::new(Config::default()));
        take_judged();
        let written = write_all(&catalog, &Caller::by(door));
        let expected: Vec<_> = written.into_iter().map(|one| (door, one)).collect();
        assert_eq!(take_judged(), expected, "{door:?}");
    }
}

#[tokio::test]
async fn the_canarys_id_and_service_name_are_reserved() {
    let register = |id: &str, name: &str| Register {
        registration: registration(id, name),
        incarnation: None,
    };
    for door in [Door::Rest, Door::Eureka, Door::Amqp, Door::Embedding] {
        let catalog = Catalog::new(Registry::new(Config::default()));
        let caller = Caller::by(door);
        for (id, name) in [(CANARY, "web"), ("a", CANARY)] {
            let refused = catalog.write(&caller, register(id, name)).now().unwrap();
            assert_eq!(refused.unwrap_err(), Refusal::Reserved, "{id} in {name}");
        }
        let canary = Caller::daemon(Door::Canary);
        let registered = catalog.write(&canary, register(CANARY, CANARY));
        registered.now().unwrap().unwrap();
        let deregister = Deregister {
            service_id: CANARY.into(),
            incarnation: None,
        };
        let refused = catalog.write(&caller, deregister.clone()).now().unwrap();
        assert_eq!(refused.unwrap_err(), Refusal::Reserved);
        catalog.write(&canary, deregister).now().unwrap().unwrap();
    }
    assert_eq!(
        (Refusal::Reserved.status(), Refusal::Reserved.field()),
        (422, Some("service_id"))
    );
}
