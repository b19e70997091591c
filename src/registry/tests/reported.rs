//! Instances that report their own status.

use super::registry;
use crate::{
    model::{Edit, EventKind, Patch, Registration, Status},
    registry::{Change, PatchInstance, Register, RegisterReported, Registered, Registry},
};

/// An instance without a check.
fn registration(id: &str, name: &str) -> Registration {
    Registration {
        health_check_url: None,
        ..super::registration(id, name, 80)
    }
}

fn report(registry: &Registry, registration: Registration, status: Status) -> Registered {
    let command = RegisterReported {
        registration,
        incarnation: None,
        status,
    };
    registry.submit(command, None).now().unwrap().unwrap()
}

#[test]
fn a_reported_status_counts_from_the_first_event_on() {
    let registry = registry(16);
    let registered = report(&registry, registration("a", "web"), Status::Unhealthy);
    assert_eq!(registered.change, Change::New);
    assert_eq!(registered.instance.status(), Status::Unhealthy);
    let again = report(&registry, registration("a", "web"), Status::Healthy);
    assert_eq!(again.change, Change::Renewed);
    let mut other = registration("a", "web");
    other.port = 81;
    let other = report(&registry, other, Status::Stopping);
    assert_eq!(other.instance.status(), Status::Stopping);
    let events = registry.since(Default::default(), 10).unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.status.unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            (EventKind::Registered, Status::Unhealthy),
            (EventKind::Healthy, Status::Healthy),
            (EventKind::Updated, Status::Stopping),
        ]
    );
}

#[test]
fn a_patch_keeps_a_reported_status_and_a_plain_registration_ends_it() {
    let registry = registry(16);
    report(&registry, registration("a", "web"), Status::Unhealthy);
    let patch = PatchInstance {
        service_id: "a".into(),
        patch: Patch {
            weight: Edit::Set(7),
            ..Patch::default()
        },
    };
    let patched = registry.submit(patch, None).now().unwrap().unwrap();
    assert_eq!(patched.status(), Status::Unhealthy);
    let plain = Register {
        registration: registration("a", "web"),
        incarnation: None,
    };
    let plain = registry.submit(plain, None).now().unwrap().unwrap();
    assert_eq!(plain.instance.status(), Status::Healthy);
}

#[test]
fn a_check_counts_more_than_a_report() {
    let registry = registry(16);
    let mut checked = registration("a", "web");
    checked.health_check_url = Some("http://127.0.0.1/".into());
    for _ in 0..2 {
        let registered = report(&registry, checked.clone(), Status::Healthy);
        assert_eq!(registered.instance.status(), Status::Starting);
    }
}
