//! Checks that clients report on: what they say, warnings, thresholds, and what follows when one stays critical.

use std::time::Duration;

use super::{INTERVAL, ROOM, check, end, instance, observed, table, tcp, turn};
use crate::{
    health::{
        Outcome,
        table::{CheckTable, Due, StandingReport},
    },
    model::{Check, CheckKind, CheckOptions, Revision, Standing, Status},
};

fn options(initial: Standing) -> CheckOptions {
    CheckOptions {
        title: "".into(),
        notes: "".into(),
        initial,
        warning_after: 0,
        remove_after: None,
    }
}

fn with(check: Check, options: CheckOptions) -> Check {
    Check {
        options: Some(Box::new(options)),
        ..check
    }
}

fn reported(initial: Standing) -> Check {
    with(check("beat", CheckKind::Ttl), options(initial))
}

/// Reports, and answers with the status of the instance if it changed.
#[track_caller]
fn report(table: &mut CheckTable, standing: Standing, text: &str, at_ms: u64) -> Option<Status> {
    let report = StandingReport {
        id: "i",
        check: "beat",
        standing,
        text,
    };
    let judgement = table
        .report(report, at_ms)
        .expect("a check that is reported on");
    judgement.map(|judgement| judgement.status)
}

#[track_caller]
fn shown(table: &mut CheckTable) -> Vec<(Standing, String)> {
    let changed = table.take_shown();
    let checks = changed.iter().flat_map(|(_, checks)| &checks.0);
    checks
        .map(|one| (one.standing, one.output.to_string()))
        .collect()
}

#[test]
fn a_report_is_a_verdict_until_the_next_one_is_overdue() {
    let mut table = table();
    table.observe(
        &instance("i", &[reported(Standing::Critical)]),
        Revision(1),
        0,
    );
    assert_eq!(shown(&mut table), [(Standing::Critical, String::new())]);
    assert!(table.take_due(1000, &ROOM).is_none(), "nothing probes it");
    assert_eq!(
        report(&mut table, Standing::Passing, "a", 1000),
        Some(Status::Healthy)
    );
    assert_eq!(report(&mut table, Standing::Warning, "b", 2000), None);
    assert_eq!(shown(&mut table), [(Standing::Warning, "b".to_owned())]);
    assert_eq!(report(&mut table, Standing::Warning, "b", 3000), None);
    assert_eq!(shown(&mut table), [], "nothing new");
    assert!(table.take_due(3000 + INTERVAL, &ROOM).is_none());
    let Some(Due::Looked { outcome, judgement }) = table.take_due(3001 + INTERVAL, &ROOM) else {
        panic!("it is overdue");
    };
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(
        judgement.map(|judgement| judgement.status),
        Some(Status::Unhealthy)
    );
    let expired = "TTL expired (last output before timeout follows): b";
    assert_eq!(
        shown(&mut table),
        [(Standing::Critical, expired.to_owned())]
    );
    assert!(table.take_due(1_000_000, &ROOM).is_none(), "once");
    assert_eq!(
        report(&mut table, Standing::Passing, "", 1_000_001),
        Some(Status::Healthy)
    );
    assert_eq!(shown(&mut table), [(Standing::Passing, String::new())]);
}

#[test]
fn reports_change_the_verdict_however_often() {
    let mut table = table();
    table.observe(
        &instance("i", &[reported(Standing::Critical)]),
        Revision(1),
        0,
    );
    for at in 0..20 {
        let (standing, status) = match at % 2 {
            0 => (Standing::Passing, Status::Healthy),
            _ => (Standing::Critical, Status::Unhealthy),
        };
        assert_eq!(
            report(&mut table, standing, "", 10 + at),
            Some(status),
            "{at}"
        );
    }
    assert_eq!(table.sizes().flapping, 0);
}

#[test]
fn a_check_says_its_first_status_until_it_has_a_result() {
    for (initial, of_instance) in [
        (Standing::Passing, Status::Healthy),
        (Standing::Warning, Status::Healthy),
        (Standing::Critical, Status::Starting),
    ] {
        let mut table = table();
        let instance = observed(of_instance, instance("i", &[reported(initial)]));
        table.observe(&instance, Revision(1), 0);
        assert_eq!(shown(&mut table), [(initial, String::new())]);
    }
}

#[test]
fn a_report_on_another_kind_of_check_is_refused() {
    let mut table = table();
    let listed = [with(tcp("beat"), options(Standing::Critical))];
    table.observe(&instance("i", &listed), Revision(1), 0);
    for (id, check) in [("i", "beat"), ("i", "other"), ("j", "beat")] {
        let report = StandingReport {
            id,
            check,
            standing: Standing::Passing,
            text: "",
        };
        assert!(table.report(report, 1).is_none(), "{id} {check}");
    }
}

#[test]
fn failures_warn_before_they_are_critical() {
    let mut table = table();
    let rules = CheckOptions {
        warning_after: 2,
        ..options(Standing::Critical)
    };
    let check = Check {
        unhealthy_after: 3,
        ..with(tcp("t"), rules)
    };
    table.observe(&instance("i", &[check]), Revision(1), 0);
    let mut now_ms = 1000;
    let mut seen = Vec::new();
    let (passed, failed) = (Outcome::Passed, Outcome::Failed);
    for outcome in [passed, failed, failed, failed, passed, Outcome::Warned] {
        let turn = turn(&mut table, now_ms);
        end(&mut table, &turn, outcome, now_ms);
        now_ms += 2 * INTERVAL;
        seen.extend(shown(&mut table).into_iter().map(|(standing, _)| standing));
    }
    let (passing, warning) = (Standing::Passing, Standing::Warning);
    assert_eq!(
        seen,
        [
            passing,
            passing,
            warning,
            Standing::Critical,
            passing,
            warning
        ]
    );
}

#[test]
fn an_instance_is_removed_when_its_check_stays_critical() {
    let mut table = table();
    let rules = CheckOptions {
        remove_after: Some(Duration::from_secs(90)),
        ..options(Standing::Passing)
    };
    let listed = [with(check("beat", CheckKind::Ttl), rules)];
    let healthy = observed(Status::Healthy, instance("i", &listed));
    table.observe(&healthy, Revision(1), 0);
    assert_eq!(
        report(&mut table, Standing::Critical, "", 1000),
        Some(Status::Unhealthy)
    );
    assert!(table.take_removal(90_999).is_none());
    // A pass in between starts the time again.
    report(&mut table, Standing::Passing, "", 90_999);
    report(&mut table, Standing::Critical, "", 100_000);
    assert!(table.take_removal(189_999).is_none());
    assert!(table.next_due() <= Some(190_000));
    let removal = table.take_removal(190_000).expect("it is due");
    assert_eq!(removal.of.service_id.as_str(), "i");
    assert!(
        removal.reason.contains("\"beat\" was critical for 90s"),
        "{}",
        removal.reason
    );
    // One that could not be removed is asked for again.
    assert!(table.take_removal(190_001).is_none());
    assert!(table.take_removal(220_000).is_some());
    table.forget("i", Revision(2));
    assert!(table.take_removal(u64::MAX).is_none());
}
