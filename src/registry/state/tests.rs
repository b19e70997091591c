mod connection;
mod guard;
mod limits;
mod machine;

use std::{sync::Arc, time::Duration};

use self::machine::{Events, Machine};
use crate::{
    model::{
        Check, CheckKind, Edit, EventKind, LeaseKind, Metadata, OverrideStatus, Patch,
        Registration, RemoveAfter, RouteDraft, RouteId, ServiceId, ServiceName, Status, Timestamp,
    },
    registry::{Change, Config, Now, PatchInstance, Refusal},
};

fn at(seconds: u64) -> Now {
    Now {
        mono_ms: seconds * 1000,
        wall: Timestamp(1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000),
    }
}

fn state() -> Machine {
    Machine::new(Config::default(), RemoveAfter::Ttl)
}

fn registration(id: &str, name: &str) -> Registration {
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

fn tcp_check(name: &str) -> Check {
    Check {
        name: name.into(),
        kind: CheckKind::Tcp {
            host: "127.0.0.1".into(),
            port: 80,
        },
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        healthy_after: 1,
        unhealthy_after: 3,
        options: None,
    }
}

/// `kind service_id status` of each event, and an empty log for the next step.
fn taken(out: &mut Events) -> Vec<String> {
    out.drain(..)
        .map(|event| {
            let id = event.service_id.as_ref().map_or("-", |id| id.as_str());
            let status = event.status.map_or("-", Status::as_str);
            format!("{} {id} {status}", event.kind)
        })
        .collect()
}

#[test]
fn registering_again_is_an_upsert() {
    let (mut state, mut out) = (state(), Vec::new());
    let first = state
        .register(registration("a", "web"), None, at(0), &mut out)
        .unwrap();
    assert_eq!(first.change, Change::New);
    assert_eq!(taken(&mut out), ["registered a healthy"]);

    let same = state
        .register(registration("a", "web"), None, at(5), &mut out)
        .unwrap();
    assert_eq!(same.change, Change::Renewed);
    assert_eq!(taken(&mut out), [""; 0]);
    assert!(
        same.instance.incarnation > first.instance.incarnation,
        "another caller"
    );
    assert_eq!(same.instance.revision, first.instance.revision);
    assert_eq!(same.instance.last_seen.last_renewed_ms(), 5000);

    let mut other = registration("a", "web");
    other.port = 81;
    let current = Some(same.instance.incarnation);
    let other = state.register(other, current, at(6), &mut out).unwrap();
    assert_eq!(other.change, Change::Updated);
    assert_eq!(other.instance.registered_at, at(0).wall);
    assert_eq!(Some(other.instance.incarnation), current, "the same caller");
    assert_eq!(taken(&mut out), ["updated a healthy"]);
    assert_eq!(
        state.leases.len(),
        1,
        "one timer however often it registers"
    );
}

#[test]
fn an_edit_renews_no_lease() {
    let (mut state, mut out) = (state(), Vec::new());
    let known = state
        .register(registration("a", "web"), None, at(0), &mut out)
        .unwrap()
        .instance;
    out.clear();
    let patch = Patch {
        weight: Edit::Set(7),
        ..Patch::default()
    };
    let service_id = "a".into();
    let command = PatchInstance { service_id, patch };
    let edited = state.run(command, None, at(30), &mut out).unwrap();
    assert_eq!(taken(&mut out), ["updated a healthy"]);
    assert_eq!(edited.incarnation, known.incarnation);
    assert_eq!(edited.last_seen.last_renewed_ms(), 0);
    state.expire(at(60), &mut out);
    assert_eq!(taken(&mut out), ["expired a -"]);
}

#[test]
fn another_service_name_leaves_the_old_one() {
    let (mut state, mut out) = (state(), Vec::new());
    state
        .register(registration("a", "web"), None, at(0), &mut out)
        .unwrap();
    out.clear();
    state
        .register(registration("a", "api"), None, at(1), &mut out)
        .unwrap();
    let names: Vec<_> = out
        .iter()
        .map(|event| event.service_name.clone().unwrap().to_string())
        .collect();
    assert_eq!(names, ["web", "api"]);
    assert_eq!(
        taken(&mut out),
        ["deregistered a -", "registered a healthy"]
    );
    assert!(
        state
            .table
            .service("web")
            .unwrap()
            .view()
            .instances
            .is_empty()
    );
    assert_eq!(
        state.table.service("api").unwrap().view().instances.len(),
        1
    );
    assert_eq!(state.leases.len(), 1);
}

#[test]
fn a_call_with_an_old_incarnation_changes_nothing() {
    let (mut state, mut out) = (state(), Vec::new());
    let old = state
        .register(registration("a", "web"), None, at(0), &mut out)
        .unwrap();
    let new = state
        .register(registration("a", "web"), None, at(1), &mut out)
        .unwrap();
    out.clear();
    let old = Some(old.instance.incarnation);
    let conflict = Refusal::Conflict {
        current: new.instance.incarnation,
    };
    assert_eq!(
        state.deregister("a", old, at(2), &mut out).unwrap_err(),
        conflict
    );
    let again = state.register(registration("a", "api"), old, at(2), &mut out);
    assert_eq!(again.unwrap_err(), conflict);
    assert_eq!(taken(&mut out), [""; 0]);
    let current = new.instance.incarnation;
    for other in [0, current + 1, u64::MAX] {
        let other = Some(other);
        let again = state.register(registration("a", "web"), other, at(2), &mut out);
        assert_eq!(
            again.unwrap_err(),
            conflict,
            "a number that nobody was given"
        );
        let done = state.heartbeat_over("a", other, 1, at(2), &mut out);
        assert_eq!(done.unwrap_err(), conflict);
        let left = state.deregister("a", other, at(2), &mut out);
        assert_eq!(left.unwrap_err(), conflict);
    }
    assert_eq!(taken(&mut out), [""; 0]);
    let known = state.table.instance("a").unwrap();
    assert_eq!(
        known.last_seen.last_renewed_ms(),
        1000,
        "nothing is renewed"
    );
    state
        .deregister("a", Some(current), at(3), &mut out)
        .unwrap();
    assert_eq!(taken(&mut out), ["deregistered a -"]);
    assert_eq!(
        state.deregister("a", None, at(3), &mut out).unwrap_err(),
        Refusal::Unknown
    );
}

#[test]
fn a_lease_runs_out_unless_it_is_renewed() {
    let (mut state, mut out) = (state(), Vec::new());
    for id in ["a", "b"] {
        state
            .register(registration(id, "web"), None, at(0), &mut out)
            .unwrap();
    }
    out.clear();
    state
        .table
        .instance("a")
        .unwrap()
        .last_seen
        .record_heartbeat(at(50).mono_ms);
    state.expire(at(59), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
    state.expire(at(60), &mut out);
    assert_eq!(taken(&mut out), ["expired b -"]);
    state.expire(at(109), &mut out);
    assert_eq!(taken(&mut out), [""; 0]);
    state.expire(at(110), &mut out);
    assert_eq!(taken(&mut out), ["expired a -"]);
    assert_eq!(state.leases.len(), 0);
}

#[test]
fn a_shorter_lease_ends_sooner() {
    let (mut state, mut out) = (state(), Vec::new());
    state
        .register(registration("a", "web"), None, at(0), &mut out)
        .unwrap();
    let mut short = registration("a", "web");
    short.ttl = Duration::from_secs(5);
    state.register(short, None, at(1), &mut out).unwrap();
    out.clear();
    state.expire(at(6), &mut out);
    assert_eq!(taken(&mut out), ["expired a -"]);
}

#[test]
fn an_override_wins_until_it_is_lifted() {
    let (mut state, mut out) = (state(), Vec::new());
    state
        .register(registration("a", "web"), None, at(0), &mut out)
        .unwrap();
    out.clear();
    let drain = || Some((OverrideStatus::Stopping, Some("drain".into())));
    state.set_override("a", drain(), at(1), &mut out).unwrap();
    assert_eq!(taken(&mut out), ["stopping a stopping"]);
    state.set_override("a", drain(), at(2), &mut out).unwrap();
    assert_eq!(taken(&mut out), [""; 0], "the same word again");

    let registration_now = Arc::clone(&state.table.instance("a").unwrap().registration);
    assert!(state.set_observed(&registration_now, Status::Unhealthy, None, at(3), &mut out));
    assert_eq!(
        taken(&mut out),
        [""; 0],
        "the effective status is the operator's"
    );
    let mut other = registration("a", "web");
    other.port = 81;
    state.register(other, None, at(4), &mut out).unwrap();
    assert_eq!(
        taken(&mut out),
        ["updated a stopping"],
        "also across a registration"
    );

    state.set_override("a", None, at(5), &mut out).unwrap();
    assert_eq!(
        taken(&mut out),
        ["healthy a healthy"],
        "it has no check any more to fail"
    );
}

#[test]
fn checks_keep_their_verdict_while_their_definition_stays() {
    let (one, two) = (tcp_check("one"), tcp_check("two"));
    check(Status::Healthy, &[&one], &[&one], Status::Healthy);
    check(Status::Unhealthy, &[&one], &[&one], Status::Unhealthy);
    check(Status::Healthy, &[&one], &[&two], Status::Starting);
    check(Status::Healthy, &[&one], &[&one, &two], Status::Starting);
    check(Status::Unhealthy, &[&one], &[&one, &two], Status::Unhealthy);
    check(Status::Unhealthy, &[&one], &[&two], Status::Starting);
    check(Status::Unhealthy, &[&one], &[], Status::Healthy);
    check(Status::Healthy, &[], &[&one], Status::Starting);

    #[track_caller]
    fn check(observed: Status, before: &[&Check], after: &[&Check], expected: Status) {
        let with = |checks: &[&Check], port| Registration {
            checks: checks.iter().map(|check| (*check).clone()).collect(),
            port,
            ..registration("a", "web")
        };
        let (mut state, mut out) = (state(), Vec::new());
        let first = state
            .register(with(before, 80), None, at(0), &mut out)
            .unwrap()
            .instance;
        state.set_observed(&first.registration, observed, None, at(1), &mut out);
        let second = state
            .register(with(after, 81), None, at(2), &mut out)
            .unwrap()
            .instance;
        assert_eq!(
            second.observed, expected,
            "{observed}: {before:?}, then {after:?}"
        );
    }
}

#[test]
fn a_late_verdict_does_not_change_a_new_registration() {
    let (mut state, mut out) = (state(), Vec::new());
    let mut checked = registration("a", "web");
    checked.checks = [tcp_check("one")].into();
    let first = state
        .register(checked.clone(), None, at(0), &mut out)
        .unwrap()
        .instance;
    assert_eq!(taken(&mut out), ["registered a starting"]);
    checked.port = 81;
    let second = state
        .register(checked, None, at(1), &mut out)
        .unwrap()
        .instance;
    out.clear();
    assert!(!state.set_observed(&first.registration, Status::Healthy, None, at(2), &mut out));
    assert_eq!(taken(&mut out), [""; 0]);
    assert!(state.set_observed(&second.registration, Status::Healthy, None, at(2), &mut out));
    assert_eq!(taken(&mut out), ["healthy a healthy"]);
}

#[test]
fn routes_are_events_and_the_best_one_is_found() {
    let (mut state, mut out) = (state(), Vec::new());
    let draft = |id: &str, prefix: &str, priority| RouteDraft {
        route_id: RouteId::parse(id).unwrap(),
        path_prefix: prefix.into(),
        service_name: ServiceName::parse(id).unwrap(),
        strip_prefix: false,
        methods: Box::default(),
        priority,
    };
    for (id, prefix, priority) in [
        ("root", "/", 9),
        ("users", "/api/users", 0),
        ("best", "/api/users", 1),
    ] {
        state
            .set_route(draft(id, prefix, priority), at(0), &mut out)
            .unwrap();
    }
    assert_eq!(taken(&mut out), ["route_set - -"; 3]);
    state
        .set_route(draft("root", "/", 9), at(0), &mut out)
        .unwrap();
    assert_eq!(taken(&mut out), [""; 0], "nothing changed");
    let routes = state.route_table.routes.load_full();
    let find = |path| routes.resolve(path, None).unwrap().route_id.to_string();
    assert_eq!(find("/api/users/1"), "best");
    assert_eq!(find("/api/users"), "best");
    assert_eq!(find("/api/users2"), "root");
    state.remove_route("best", at(1), &mut out).unwrap();
    assert_eq!(out[0].kind, EventKind::RouteRemoved);
    assert_eq!(
        state.remove_route("best", at(1), &mut out).unwrap_err(),
        Refusal::UnknownRoute
    );
}
