use std::time::Duration;

use super::{Events, Machine, at, registration, state, taken};

/// Ten instances with leases of 300 s, of which all but `n_alive` stop renewing.
fn guarded(n_alive: usize) -> (Machine, Events) {
    let (mut state, mut out) = (state(), Vec::new());
    for n in 0..10 {
        let mut one = registration(&format!("i{n}"), "web");
        one.ttl = Duration::from_secs(300);
        state.register(one, None, at(n), &mut out).unwrap();
    }
    out.clear();
    for n in 0..n_alive {
        state
            .table
            .instance(&format!("i{n}"))
            .unwrap()
            .last_seen
            .record_heartbeat(at(295).mono_ms);
    }
    (state, out)
}

#[test]
fn leases_that_end_one_by_one_do_not_engage_the_guard() {
    let (mut state, mut out) = guarded(5);
    state.expire(at(310), &mut out);
    let expected: Vec<_> = (5..10).map(|n| format!("expired i{n} -")).collect();
    assert_eq!(taken(&mut out), expected, "half is not more than half");
}

#[test]
fn leases_that_end_together_are_held_and_can_be_renewed() {
    let (mut state, mut out) = guarded(0);
    state.expire(at(302), &mut out);
    let events = taken(&mut out);
    assert_eq!(events[0], "guard_engaged - -");
    assert_eq!(
        events[1..],
        [
            "unhealthy i0 unhealthy",
            "unhealthy i1 unhealthy",
            "unhealthy i2 unhealthy"
        ]
    );
    state.expire(at(310), &mut out);
    assert_eq!(
        taken(&mut out).len(),
        7,
        "the others are held as they run out"
    );
    assert_eq!(
        state.table.service("web").unwrap().view().instances.len(),
        10
    );
    assert_eq!(
        state.table.service("web").unwrap().view().healthy().len(),
        0
    );

    for n in 0..6 {
        state
            .table
            .instance(&format!("i{n}"))
            .unwrap()
            .last_seen
            .record_heartbeat(at(311).mono_ms);
    }
    state.expire(at(312), &mut out);
    let mut events = taken(&mut out);
    events.sort();
    let mut expected: Vec<_> = (6..10).map(|n| format!("expired i{n} -")).collect();
    expected.push("guard_released - -".to_owned());
    expected.extend((0..6).map(|n| format!("healthy i{n} healthy")));
    assert_eq!(
        events, expected,
        "most came back: the guard ends, the silent ones go"
    );
    assert_eq!(state.leases.len(), 6);
    assert!(state.guards.is_empty());
}

#[test]
fn a_guard_ends_after_hold_max_without_recoveries() {
    let (mut state, mut out) = guarded(0);
    state.expire(at(310), &mut out);
    out.clear();
    state.expire(at(909), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
    state.expire(at(910), &mut out);
    let events = taken(&mut out);
    assert_eq!(events[0], "guard_released - -");
    assert_eq!(events.len(), 11);
    assert_eq!(
        state.table.service("web").unwrap().view().instances.len(),
        0
    );
}

#[test]
fn an_instance_that_recovers_and_stops_again_is_held_again() {
    let (mut state, mut out) = guarded(0);
    state.expire(at(310), &mut out);
    out.clear();
    state
        .table
        .instance("i0")
        .unwrap()
        .last_seen
        .record_heartbeat(at(311).mono_ms);
    state.expire(at(312), &mut out);
    assert_eq!(taken(&mut out), ["healthy i0 healthy"]);
    state.expire(at(611), &mut out);
    assert_eq!(taken(&mut out), ["unhealthy i0 unhealthy"]);
    for second in 612..700 {
        state.expire(at(second), &mut out);
    }
    assert_eq!(taken(&mut out), [""; 0], "it stays held");
}

#[test]
fn a_held_instance_can_register_again_or_leave() {
    let (mut state, mut out) = guarded(0);
    state.expire(at(310), &mut out);
    out.clear();
    let mut one = registration("i0", "web");
    one.ttl = Duration::from_secs(300);
    state.register(one, None, at(311), &mut out).unwrap();
    assert_eq!(taken(&mut out), ["healthy i0 healthy"]);
    state.deregister("i1", None, at(311), &mut out).unwrap();
    assert_eq!(taken(&mut out), ["deregistered i1 -"]);
}

#[test]
fn heartbeats_within_a_short_ttl_do_not_engage_the_guard() {
    let (mut state, mut out) = (state(), Vec::new());
    for n in 0..10 {
        let mut one = registration(&format!("i{n}"), "web");
        one.ttl = Duration::from_secs(15);
        state.register(one, None, at(0), &mut out).unwrap();
    }
    out.clear();
    for n in 1..10 {
        state
            .table
            .instance(&format!("i{n}"))
            .unwrap()
            .last_seen
            .record_heartbeat(at(10).mono_ms);
    }
    state.expire(at(15), &mut out);
    assert_eq!(taken(&mut out), ["expired i0 -"]);
}
