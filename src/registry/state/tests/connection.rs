use std::{sync::Arc, time::Duration};

use super::{Events, Machine, at, registration, state, taken, tcp_check};
use crate::{
    model::{Lease, LeaseKind, OverrideStatus, Registration, Status},
    registry::{Change, Refusal},
};

fn hanging(id: &str) -> Registration {
    Registration {
        lease: LeaseKind::Connection,
        ..registration(id, "web")
    }
}

/// Instance "a" over connection 7, registered at second 0.
fn bound() -> (Machine, Events) {
    let (mut state, mut out) = (state(), Vec::new());
    state
        .register_over(7, hanging("a"), None, at(0), &mut out)
        .unwrap();
    out.clear();
    (state, out)
}

fn lease(state: &Machine) -> Lease {
    state.table.instance("a").expect("known").lease
}

#[test]
fn a_lease_on_an_open_connection_does_not_expire() {
    let (mut state, mut out) = bound();
    state.expire(at(100_000), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
    assert_eq!((state.leases.len(), state.connection_leases.len()), (0, 1));
    state.deregister("a", None, at(100_000), &mut out).unwrap();
    assert_eq!(taken(&mut out), ["deregistered a -"]);
    assert_eq!(state.connection_closed(7, at(100_001), &mut out), 0);
    assert_eq!(taken(&mut out), [""; 0]);
}

#[test]
fn an_instance_of_a_closed_connection_has_its_ttl_to_reconnect() {
    let (mut state, mut out) = bound();
    assert_eq!(state.connection_closed(8, at(1), &mut out), 0);
    assert_eq!(taken(&mut out), [""; 0], "another connection");
    assert_eq!(state.connection_closed(7, at(1000), &mut out), 1);
    let reason = out[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("its AMQP connection closed"));
    assert_eq!(taken(&mut out), ["unhealthy a unhealthy"]);
    state.expire(at(1059), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
    state.expire(at(1060), &mut out);
    assert_eq!(taken(&mut out), ["expired a -"]);
}

#[test]
fn a_lost_instance_recovers_by_registering_or_a_heartbeat_over_a_connection() {
    let (mut state, mut out) = bound();
    state.connection_closed(7, at(10), &mut out);
    out.clear();
    let again = state
        .register_over(8, hanging("a"), None, at(11), &mut out)
        .unwrap();
    assert_eq!(again.change, Change::Renewed);
    assert_eq!(taken(&mut out), ["healthy a healthy"]);
    assert_eq!(lease(&state), Lease::Connection(8));

    state.connection_closed(8, at(20), &mut out);
    out.clear();
    let old = Some(again.instance.incarnation - 1);
    let refused = state.heartbeat_over("a", old, 9, at(21), &mut out);
    let current = again.instance.incarnation;
    assert_eq!(refused, Err(Refusal::Conflict { current }));
    state
        .heartbeat_over("a", Some(current), 9, at(21), &mut out)
        .unwrap();
    assert_eq!(taken(&mut out), ["healthy a healthy"]);
    assert_eq!(lease(&state), Lease::Connection(9));
    assert_eq!(state.connection_closed(8, at(22), &mut out), 0);
    assert_eq!(
        taken(&mut out),
        [""; 0],
        "its lease is on another connection"
    );
    state.expire(at(1000), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
}

#[test]
fn an_instance_moved_to_another_connection_is_not_lost() {
    let (mut state, mut out) = bound();
    state
        .register_over(8, hanging("a"), None, at(1), &mut out)
        .unwrap();
    assert_eq!(state.connection_closed(7, at(2), &mut out), 0);
    assert_eq!(taken(&mut out), [""; 0]);
    assert_eq!(lease(&state), Lease::Connection(8));
}

#[test]
fn a_heartbeat_without_a_connection_extends_the_lease_only() {
    let (mut state, mut out) = bound();
    state.connection_closed(7, at(10), &mut out);
    out.clear();
    let known = state.table.instance("a").unwrap();
    known.last_seen.record_heartbeat(at(60).mono_ms);
    state.expire(at(119), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
    let lost = state.table.instance("a").unwrap();
    assert_eq!(lost.status(), Status::Unhealthy);
    state.expire(at(120), &mut out);
    assert_eq!(taken(&mut out), ["expired a -"]);
}

#[test]
fn overrides_and_checks_take_precedence_over_a_lost_connection() {
    let (mut state, mut out) = bound();
    let drain = Some((OverrideStatus::Stopping, None));
    state.set_override("a", drain, at(1), &mut out).unwrap();
    out.clear();
    state.connection_closed(7, at(2), &mut out);
    assert_eq!(taken(&mut out), [""; 0], "it stays stopping");
    state.set_override("a", None, at(3), &mut out).unwrap();
    assert_eq!(taken(&mut out), ["unhealthy a unhealthy"]);

    let mut checked = hanging("a");
    checked.checks = [tcp_check("one")].into();
    state
        .register_over(8, checked, None, at(4), &mut out)
        .unwrap();
    assert_eq!(taken(&mut out), ["updated a starting"]);
    let of = Arc::clone(&state.table.instance("a").unwrap().registration);
    state.connection_closed(8, at(5), &mut out);
    out.clear();
    assert!(state.set_observed(&of, Status::Healthy, None, at(6), &mut out));
    assert_eq!(taken(&mut out), [""; 0], "its connection is still gone");
    state.heartbeat_over("a", None, 9, at(7), &mut out).unwrap();
    assert_eq!(taken(&mut out), ["healthy a healthy"]);
}

#[test]
fn another_kind_of_lease_or_another_service_is_an_update_like_any_other() {
    let (mut state, mut out) = bound();
    let mut moved = hanging("a");
    moved.service_name = registration("a", "api").service_name;
    state
        .register_over(7, moved, None, at(1), &mut out)
        .unwrap();
    assert_eq!(
        taken(&mut out),
        ["deregistered a -", "registered a healthy"]
    );
    assert_eq!((state.leases.len(), state.connection_leases.len()), (0, 1));
    state
        .register(registration("a", "api"), None, at(2), &mut out)
        .unwrap();
    assert_eq!(taken(&mut out), ["updated a healthy"]);
    assert_eq!((state.leases.len(), state.connection_leases.len()), (1, 0));
    assert_eq!(state.connection_closed(7, at(3), &mut out), 0);
    let mut hangs = hanging("a");
    hangs.service_name = registration("a", "api").service_name;
    let refused = state.register(hangs, None, at(3), &mut out).unwrap_err();
    assert_eq!(refused, Refusal::NoConnection);
    state.heartbeat_over("a", None, 7, at(4), &mut out).unwrap();
    assert_eq!(lease(&state), Lease::Running, "its lease follows its ttl");
}

#[test]
fn the_guard_holds_lost_instances_and_ignores_open_connections() {
    let (mut state, mut out) = (state(), Vec::new());
    for n in 0..20_u64 {
        let mut one = hanging(&format!("i{n:02}"));
        one.ttl = Duration::from_secs(60);
        state
            .register_over(n / 10, one, None, at(0), &mut out)
            .unwrap();
    }
    let mut alone = registration("ttl", "web");
    alone.ttl = Duration::from_secs(60);
    state.register(alone, None, at(900), &mut out).unwrap();
    out.clear();
    state.expire(at(960), &mut out);
    assert_eq!(taken(&mut out), ["expired ttl -"], "the others are open");

    state.connection_closed(0, at(1000), &mut out);
    state.connection_closed(1, at(1000), &mut out);
    out.clear();
    state.expire(at(1060), &mut out);
    assert_eq!(taken(&mut out), ["guard_engaged - -"], "unhealthy already");
    let one = |state: &Machine| state.table.instance("i00").unwrap();
    assert_eq!(one(&state).lease, Lease::Held);
    one(&state).last_seen.record_heartbeat(at(1061).mono_ms);
    state.expire(at(1062), &mut out);
    assert_eq!(
        one(&state).lease,
        Lease::Lost,
        "a longer lease, but no connection"
    );
    state
        .heartbeat_over("i00", None, 5, at(1063), &mut out)
        .unwrap();
    assert_eq!(taken(&mut out), ["healthy i00 healthy"]);
    for n in 1..20 {
        let id = format!("i{n:02}");
        state
            .heartbeat_over(&id, None, 5, at(1064), &mut out)
            .unwrap();
    }
    out.clear();
    state.expire(at(1065), &mut out);
    assert_eq!(taken(&mut out), ["guard_released - -"]);
    state.expire(at(10_000), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
}
