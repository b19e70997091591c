use std::{sync::Arc, time::Duration};

use super::{Machine, at, registration, state, taken, tcp_check};
use crate::{
    model::{LeaseKind, OverrideStatus, RemoveAfter, RouteDraft, RouteId, ServiceName, Status},
    registry::{CloseConnection, Config, GuardConfig, Refusal},
};

#[test]
fn a_lease_without_an_end_stays_until_it_is_deregistered() {
    let (mut state, mut out) = (state(), Vec::new());
    let mut one = registration("a", "web");
    one.lease = LeaseKind::Unlimited;
    one.checks = [tcp_check("one")].into();
    let known = state.register(one.clone(), None, at(0), &mut out).unwrap();
    let of = Arc::clone(&known.instance.registration);
    state.set_observed(&of, Status::Unhealthy, None, at(1), &mut out);
    out.clear();
    state.expire(at(10_000_000), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
    assert_eq!(state.leases.len(), 0);
    one.lease = LeaseKind::Ttl;
    state.register(one, None, at(10_000_000), &mut out).unwrap();
    assert_eq!(state.leases.len(), 1, "it has a ttl from now on");
    state
        .deregister("a", None, at(10_000_001), &mut out)
        .unwrap();
    assert_eq!(state.leases.len(), 0);
}

#[test]
fn an_instance_whose_checks_fail_is_removed_when_the_configuration_says() {
    let after = |seconds| RemoveAfter::After(Duration::from_secs(seconds).into());
    check(RemoveAfter::Ttl, Status::Unhealthy, Some(60));
    check(after(10), Status::Unhealthy, Some(60));
    check(after(600), Status::Unhealthy, Some(600));
    check(RemoveAfter::Never, Status::Unhealthy, None);
    check(RemoveAfter::Never, Status::Starting, Some(60));
    check(RemoveAfter::Never, Status::Healthy, Some(60));

    #[track_caller]
    fn check(remove_after: RemoveAfter, observed: Status, removed_at: Option<u64>) {
        let mut state = Machine::new(Config::default(), remove_after);
        let mut out = Vec::new();
        let mut one = registration("a", "web");
        one.checks = [tcp_check("one")].into();
        let known = state.register(one, None, at(0), &mut out).unwrap().instance;
        state.set_observed(&known.registration, observed, None, at(1), &mut out);
        out.clear();
        if let Some(seconds) = removed_at {
            state.expire(at(seconds - 1), &mut out);
            assert_eq!(taken(&mut out), [""; 0], "{remove_after:?}, {observed}");
            state.expire(at(seconds), &mut out);
            assert_eq!(taken(&mut out), ["expired a -"]);
            return;
        }
        state.expire(at(1_000_000), &mut out);
        assert_eq!(taken(&mut out), [""; 0], "{remove_after:?}, {observed}");
        state.set_observed(
            &known.registration,
            Status::Healthy,
            None,
            at(1_000_001),
            &mut out,
        );
        out.clear();
        state.expire(at(1_000_002), &mut out);
        assert_eq!(
            taken(&mut out),
            ["expired a -"],
            "healthy, and silent for long"
        );
    }
}

#[test]
fn mass_changes_are_cut_into_turns_of_at_most_64() {
    let config = Config {
        guard: GuardConfig {
            enabled: false,
            ..Config::default().guard
        },
        ..Config::default()
    };
    let (mut state, mut out) = (Machine::new(config, RemoveAfter::Ttl), Vec::new());
    for n in 0..200 {
        let one = registration(&format!("t{n}"), "web");
        state.register(one, None, at(0), &mut out).unwrap();
        let mut one = registration(&format!("c{n}"), "web");
        one.lease = LeaseKind::Connection;
        state.register_over(7, one, None, at(0), &mut out).unwrap();
    }
    out.clear();
    assert_eq!(state.expire(at(60), &mut out), 4, "64, 64, 64 and 8");
    assert_eq!(taken(&mut out).len(), 200);
    let mut turns = Vec::new();
    loop {
        let closed = CloseConnection { connection: 7 };
        let closed = state.run(closed, None, at(61), &mut out).unwrap();
        turns.push(closed.lost);
        if !closed.more {
            break;
        }
    }
    assert_eq!(turns, [64, 64, 64, 8]);
    assert_eq!(taken(&mut out).len(), 200);
}

#[test]
fn the_reason_of_the_last_change_stays_with_the_instance() {
    let (mut state, mut out) = (state(), Vec::new());
    let mut one = registration("a", "web");
    one.checks = [tcp_check("one")].into();
    let known = state.register(one, None, at(0), &mut out).unwrap().instance;
    assert_eq!(known.reason, None);
    let of = &known.registration;
    state.set_observed(of, Status::Unhealthy, Some("refused"), at(1), &mut out);
    let reason = |state: &Machine| state.table.instance("a").unwrap().reason.clone();
    assert_eq!(reason(&state).as_deref(), Some("refused"));
    let drain = Some((OverrideStatus::Stopping, Some("deploy".into())));
    state.set_override("a", drain, at(2), &mut out).unwrap();
    assert_eq!(reason(&state).as_deref(), Some("deploy"));
}

#[test]
fn memory_has_a_limit_that_a_refusal_names() {
    let config = Config {
        memory_max: bytesize::ByteSize::kib(64).into(),
        ..Config::default()
    };
    let (mut state, mut out) = (Machine::new(config, RemoveAfter::Ttl), Vec::new());
    let mut n = 0;
    let refused = loop {
        let one = registration(&format!("i{n}"), "web");
        match state.register(one, None, at(0), &mut out) {
            Ok(_) => n += 1,
            Err(refused) => break refused,
        }
    };
    assert!(n > 10, "only {n} fit");
    assert_eq!(refused.status(), 507);
    assert!(
        refused
            .to_string()
            .contains("registry.memory_max is 64.0 KiB"),
        "{refused}"
    );
    let same = registration("i0", "web");
    state.register(same, None, at(1), &mut out).unwrap();
    let draft = RouteDraft {
        route_id: RouteId::parse("r").unwrap(),
        path_prefix: "/".repeat(2000).into(),
        service_name: ServiceName::parse("web").unwrap(),
        strip_prefix: false,
        methods: Box::default(),
        priority: 0,
    };
    let refused = state.set_route(draft.clone(), at(1), &mut out).unwrap_err();
    assert_eq!(refused.status(), 507, "{refused}");
    for id in 0..n {
        state
            .deregister(&format!("i{id}"), None, at(2), &mut out)
            .unwrap();
    }
    assert_eq!(state.bytes, 0);
    state.set_route(draft, at(3), &mut out).unwrap();
    assert!(state.bytes > 2000);
    state.remove_route("r", at(4), &mut out).unwrap();
    assert_eq!(state.bytes, 0);
}

#[test]
fn a_full_registry_refuses_new_ids_only() {
    let config = Config {
        instances_max: 1.into(),
        ..Config::default()
    };
    let (mut state, mut out) = (Machine::new(config, RemoveAfter::Ttl), Vec::new());
    state
        .register(registration("a", "web"), None, at(0), &mut out)
        .unwrap();
    let refused = state.register(registration("b", "web"), None, at(0), &mut out);
    assert_eq!(refused.unwrap_err(), Refusal::Full { max: 1 });
    assert!(
        state
            .register(registration("a", "web"), None, at(0), &mut out)
            .is_ok()
    );
}
