mod reports;
mod results;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{CheckTable, Due, FinishedProbe, Judgement, ScheduledProbe};
use crate::{
    health::{Config, Outcome},
    model::{
        Check, CheckKind, Instance, LastSeen, Lease, Metadata, Registration, Revision, ServiceId,
        ServiceName, Status, Timestamp,
    },
    outbound::{Pace, Shares},
};

const INTERVAL: u64 = 5000;
/// Free places for every pace.
const ROOM: Shares = Shares {
    all: 9,
    unproven: 9,
    slow: 9,
};
/// No free place.
const FULL: Shares = Shares {
    all: 0,
    unproven: 0,
    slow: 0,
};

fn check(name: &str, kind: CheckKind) -> Check {
    Check {
        name: name.into(),
        kind,
        interval: Duration::from_millis(INTERVAL),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 2,
        options: None,
    }
}

fn tcp(name: &str) -> Check {
    let host = "10.0.0.1".into();
    check(name, CheckKind::Tcp { host, port: 1 })
}

fn ttl() -> Check {
    check("beat", CheckKind::Ttl)
}

fn instance(id: &str, checks: &[Check]) -> Instance {
    let registration = Registration {
        service_id: ServiceId::parse(id).expect("an id"),
        service_name: ServiceName::parse("s").expect("a name"),
        host: "10.0.0.1".into(),
        port: 1,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(300),
        lease: crate::model::LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: checks.into(),
    };
    Instance {
        registration: Arc::new(registration),
        observed: Status::Starting,
        overridden: None,
        lease: Lease::Running,
        registered_at: Timestamp::default(),
        revision: Revision(1),
        incarnation: 1,
        reason: None,
        owner: None,
        last_seen: Arc::new(LastSeen::new(0)),
        bytes: 0,
        encoded: OnceLock::new(),
    }
}

fn observed(status: Status, instance: Instance) -> Instance {
    Instance {
        observed: status,
        ..instance
    }
}

fn table() -> CheckTable {
    CheckTable::new(Config::default(), fastrand::Rng::with_seed(7))
}

/// Takes the turn that is due, which must be one.
#[track_caller]
fn turn(table: &mut CheckTable, now_ms: u64) -> ScheduledProbe {
    match table.take_due(now_ms, &ROOM) {
        Some(Due::Probe(turn)) => turn,
        other => panic!("no turn at {now_ms}: {other:?}"),
    }
}

fn ended(outcome: Outcome, at_ms: u64) -> FinishedProbe {
    FinishedProbe {
        outcome,
        began_ms: at_ms,
        at_ms,
        latency: Duration::from_millis(1),
        text: outcome.as_str().into(),
    }
}

/// Ends a turn, and books the next.
fn end(
    table: &mut CheckTable,
    turn: &ScheduledProbe,
    outcome: Outcome,
    at_ms: u64,
) -> Option<Judgement> {
    let judgement = table.record(turn.check, ended(outcome, at_ms));
    table.book_next(turn, at_ms);
    judgement
}

#[test]
fn twenty_thousand_at_once_are_spread_from_the_first_turn_on() {
    let mut table = table();
    for i in 0..20_000 {
        table.observe(&instance(&format!("i{i}"), &[tcp("t")]), Revision(i), 0);
    }
    let mut begun = HashMap::<_, Vec<u64>>::new();
    // Every millisecond of the first second, then of three intervals.
    let mut per_ms = Vec::new();
    for now in 0..1000 + 3 * INTERVAL {
        let mut n = 0;
        while let Some(Due::Probe(turn)) = table.take_due(now, &ROOM) {
            begun.entry(turn.check).or_default().push(now);
            end(&mut table, &turn, Outcome::Passed, now);
            n += 1;
        }
        per_ms.push(n);
    }
    assert_eq!(begun.len(), 20_000);
    assert!(
        begun.values().all(|turns| turns[0] <= 1000),
        "all within a second"
    );
    let busiest_first = per_ms[..1000].iter().max();
    assert!(
        busiest_first < Some(&60),
        "20 are the mean, not {busiest_first:?}"
    );
    let later = usize::try_from(1000 + INTERVAL).expect("small");
    let busiest_later = per_ms[later..].iter().max();
    assert!(
        busiest_later < Some(&25),
        "4 are the mean, not {busiest_later:?}"
    );
    for turns in begun.values() {
        // From the second turn on, each keeps its phase.
        assert!(
            turns[2..]
                .windows(2)
                .all(|pair| pair[1] - pair[0] == INTERVAL)
        );
        assert!(turns.len() >= 3, "{turns:?}");
    }
}

#[test]
fn after_a_restart_statuses_are_kept_and_probes_are_spread() {
    let mut table = table();
    for i in 0..1000 {
        let known = observed(Status::Healthy, instance(&format!("i{i}"), &[tcp("t")]));
        let judgement = table.observe(&known, Revision(1), 0).expect("a judgement");
        assert_eq!(judgement.status, Status::Healthy);
    }
    let mut due = 0;
    while let Some(Due::Probe(_)) = table.take_due(INTERVAL / 10, &ROOM) {
        due += 1;
    }
    assert!(
        (50..200).contains(&due),
        "{due} of 1000 in a tenth of the interval"
    );
    let down = observed(Status::Unhealthy, instance("down", &[tcp("a"), tcp("b")]));
    let judgement = table.observe(&down, Revision(1), 0).expect("a judgement");
    assert_eq!(judgement.status, Status::Unhealthy);
}

#[test]
fn registering_again_adds_nothing() {
    let mut table = table();
    let known = instance("i", &[tcp("t")]);
    for revision in 1..1000 {
        table.observe(&known, Revision(revision), revision);
    }
    assert_eq!(table.sizes().checks, 1);
    assert_eq!(table.schedule.len(), 1);
    turn(&mut table, 2000);
    assert!(table.take_due(u64::MAX, &ROOM).is_none());
}

#[test]
fn runs_of_outcomes_become_judgements() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("t")]), Revision(1), 0);
    let mut now = 1000;
    for (outcome, expected) in [
        (Outcome::Skipped, None),
        (Outcome::Failed, None),
        (Outcome::Passed, Some(Status::Healthy)),
        (Outcome::Failed, None),
        (Outcome::Skipped, None),
        (Outcome::TimedOut, Some(Status::Unhealthy)),
        (Outcome::Denied, None),
        (Outcome::Passed, Some(Status::Healthy)),
        (Outcome::Passed, None),
    ] {
        let turn = turn(&mut table, now);
        let judgement = end(&mut table, &turn, outcome, now);
        assert_eq!(
            judgement.map(|judgement| judgement.status),
            expected,
            "{outcome:?}"
        );
        now += INTERVAL;
    }
}

#[test]
fn all_checks_of_an_instance_count() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("a"), tcp("b")]), Revision(1), 0);
    let [a, b] = [turn(&mut table, 1000), turn(&mut table, 1000)];
    let mut say = |turn: &ScheduledProbe, outcome, at| {
        let judgement = table.record(turn.check, ended(outcome, at));
        judgement.map(|judgement| (judgement.status, judgement.reason))
    };
    assert_eq!(
        say(&a, Outcome::Passed, 1),
        None,
        "the other has no verdict"
    );
    assert_eq!(say(&b, Outcome::Passed, 2), Some((Status::Healthy, None)));
    assert_eq!(say(&b, Outcome::Failed, 3), None);
    let name = b.source.name(&b.of).to_owned();
    let reason = Some(format!("check \"{name}\": timed_out"));
    assert_eq!(
        say(&b, Outcome::TimedOut, 4),
        Some((Status::Unhealthy, reason))
    );
    assert_eq!(say(&a, Outcome::Failed, 5), None);
    assert_eq!(
        say(&a, Outcome::Failed, 6).map(|one| one.0),
        Some(Status::Unhealthy)
    );
    assert_eq!(
        say(&b, Outcome::Passed, 7).map(|one| one.0),
        Some(Status::Unhealthy)
    );
    assert_eq!(say(&a, Outcome::Passed, 8), Some((Status::Healthy, None)));
}

#[test]
fn a_check_that_is_unchanged_keeps_its_verdict() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("a")]), Revision(1), 0);
    let a = turn(&mut table, 1000);
    end(&mut table, &a, Outcome::Passed, 1000);

    // Another address, and a second check: the first keeps its verdict, the instance waits for the second.
    let grown = instance("i", &[tcp("b"), tcp("a")]);
    assert!(table.observe(&grown, Revision(2), 1500).is_none());
    let mut b = turn(&mut table, 2500);
    if b.source.name(&b.of) == "a" {
        b = turn(&mut table, 2500);
    }
    assert_eq!(b.source.name(&b.of), "b");
    let judgement = end(&mut table, &b, Outcome::Passed, 2500).expect("a judgement");
    assert_eq!(judgement.status, Status::Healthy);
    assert!(Arc::ptr_eq(&judgement.of, &grown.registration));

    // The first alone again: it is healthy without a new probe.
    let shrunk = instance("i", &[tcp("a")]);
    let judgement = table
        .observe(&shrunk, Revision(3), 3000)
        .expect("a judgement");
    assert_eq!(judgement.status, Status::Healthy);
    assert_eq!(table.sizes().checks, 1);
    let (_, kept) = table.kept("i").expect("kept");
    assert_eq!(kept[0].results.len(), 1, "the earlier result");
}

#[test]
fn a_late_outcome_of_an_old_definition_is_ignored() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("a")]), Revision(1), 0);
    let late = turn(&mut table, 1000);
    let changed = Check {
        unhealthy_after: 1,
        ..tcp("a")
    };
    table.observe(&instance("i", &[changed]), Revision(2), 1000);
    assert!(end(&mut table, &late, Outcome::Failed, 1500).is_none());
    let (_, kept) = table.kept("i").expect("kept");
    assert_eq!((kept[0].results.len(), kept[0].verdict.says()), (0, None));
    assert_eq!(table.schedule.len(), 1, "and schedules no probe");

    // Nor does one of an instance that left, or of its successor.
    let late = turn(&mut table, 3000);
    table.forget("i", Revision(3));
    table.observe(&instance("i", &[tcp("a")]), Revision(4), 3000);
    assert!(end(&mut table, &late, Outcome::Passed, 3500).is_none());
    assert_eq!(table.schedule.len(), 1);
}

#[test]
fn an_outcome_that_began_before_the_last_changes_nothing() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("a")]), Revision(1), 0);
    let turn = turn(&mut table, 1000);
    let judgement = table.record(turn.check, ended(Outcome::Passed, 1200));
    assert!(judgement.is_some());
    for _ in 0..5 {
        let stale = FinishedProbe {
            began_ms: 1000,
            ..ended(Outcome::TimedOut, 2000)
        };
        assert!(table.record(turn.check, stale).is_none());
    }
}

#[test]
fn older_revisions_are_ignored() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("a"), tcp("b")]), Revision(5), 0);
    table.observe(&instance("i", &[tcp("a")]), Revision(4), 0);
    table.forget("i", Revision(3));
    table.forget("i", Revision(5));
    assert_eq!(table.sizes().checks, 2);
    table.forget("i", Revision(6));
    assert_eq!(table.sizes().checks, 0);
    assert_eq!(table.next_due(), None);
}

#[test]
fn a_removed_instance_is_forgotten() {
    let mut table = table();
    for id in ["a", "b"] {
        table.observe(&instance(id, &[tcp("t"), ttl()]), Revision(1), 0);
    }
    table.retain(&HashSet::from([ServiceId::parse("b").expect("an id")]));
    assert!(table.kept("a").is_none());
    assert!(table.kept("b").is_some());
    assert_eq!((table.sizes().checks, table.schedule.len()), (2, 2));
    // Checks that were taken away leave nothing behind either.
    table.observe(&instance("b", &[]), Revision(2), 0);
    assert_eq!((table.sizes().checks, table.schedule.len()), (0, 0));
    assert!(table.targets.is_empty());
}

#[test]
fn a_ttl_check_follows_the_heartbeats() {
    #[track_caller]
    fn look(table: &mut CheckTable, now_ms: u64) -> Option<Status> {
        match table.take_due(now_ms, &FULL) {
            Some(Due::Looked { judgement, .. }) => judgement.map(|one| one.status),
            other => panic!("nothing to look at, at {now_ms}: {other:?}"),
        }
    }
    let mut table = table();
    let known = instance("i", &[ttl()]);
    table.observe(&known, Revision(1), 0);
    assert_eq!(
        look(&mut table, 1000),
        Some(Status::Healthy),
        "registering is a sign of life"
    );
    assert_eq!(table.next_due(), Some(INTERVAL + 1));
    known.last_seen.record_heartbeat(4000);
    assert_eq!(look(&mut table, INTERVAL + 1), None);
    assert_eq!(table.next_due(), Some(4000 + INTERVAL + 1));
    // A passing check of another kind is no heartbeat.
    known.last_seen.record_pass(8000);
    assert_eq!(look(&mut table, 9001), Some(Status::Unhealthy));
    // Observed every second from now on, reported once.
    for now in (10_001..20_000).step_by(1000) {
        assert_eq!(table.next_due(), Some(now));
        assert_eq!(look(&mut table, now), None);
    }
    let (_, kept) = table.kept("i").expect("kept");
    assert_eq!(kept[0].results.len(), 3);
    known.last_seen.record_heartbeat(19_500);
    assert_eq!(
        look(&mut table, 20_001),
        Some(Status::Healthy),
        "noticed within a second"
    );
}

#[test]
fn slow_and_new_checks_do_not_delay_fast_ones() {
    let no_slow = Shares { slow: 0, ..ROOM };
    let no_unproven = Shares {
        slow: 0,
        unproven: 0,
        ..ROOM
    };
    for (outcome, latency_ms, is_slow) in [
        (Outcome::TimedOut, 200, true),
        (Outcome::Passed, 1_000, true),
        (Outcome::Failed, 30_000, true),
        (Outcome::Failed, 999, false),
    ] {
        let mut table = table();
        for id in ["slow", "fast"] {
            table.observe(&instance(id, &[tcp("t")]), Revision(1), 0);
        }
        assert!(table.take_due(1000, &no_unproven).is_none(), "both are new");
        assert_eq!(table.sizes().waiting, 2);
        for _ in 0..2 {
            let turn = turn(&mut table, 1000);
            assert_eq!(turn.pace, Pace::New);
            let is_other = turn.of.service_id.as_str() == "fast";
            let latency = Duration::from_millis(if is_other { 1 } else { latency_ms });
            let outcome = if is_other { Outcome::Passed } else { outcome };
            let ended = FinishedProbe {
                latency,
                ..ended(outcome, 1000)
            };
            table.record(turn.check, ended);
            table.book_next(&turn, 1000);
        }
        let now = 1000 + INTERVAL;
        let mut due = Vec::new();
        while let Some(Due::Probe(turn)) = table.take_due(now, &no_slow) {
            due.push(turn.of.service_id.as_str().to_owned());
        }
        due.sort();
        let expected: &[_] = if is_slow {
            &["fast"]
        } else {
            &["fast", "slow"]
        };
        assert_eq!(due, expected, "{outcome:?} after {latency_ms} ms");
        if is_slow {
            assert_eq!(
                turn(&mut table, now).pace,
                Pace::Slow,
                "there is a place now"
            );
        }
        assert_eq!(table.sizes().waiting, 0);
    }
}

#[test]
fn without_a_free_place_a_check_stays_due() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("t")]), Revision(1), 0);
    let first = turn(&mut table, 1000);
    end(&mut table, &first, Outcome::Passed, 1000);
    assert!(table.take_due(1000 + INTERVAL, &FULL).is_none());
    assert!(table.next_due() <= Some(1000 + INTERVAL));
    assert_eq!(turn(&mut table, 1000 + INTERVAL).check, first.check);
}
