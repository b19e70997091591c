use std::time::Duration;

use super::fixture::{Stage, config};
use crate::{
    api::{MigrationAction, MigrationMode, StoredMigration},
    migration::{
        config::{Config, ReturnSetting},
        phase::Phase,
        state::{Act, MigrationState},
        window::Measurements,
    },
    model::{Mode, Modes},
};

#[test]
fn a_migration_continues_in_its_phase_whose_soak_begins_again() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsQueue);
    let before = stage.state.report();
    let soak = stage.config().soak.as_secs();
    stage.seconds(soak - 1);
    stage.restart();
    let report = stage.state.report();
    assert_eq!(report.state, "running");
    assert_eq!(report.phase, Some("events queue"));
    let notice = stage.last("migration.resumed");
    assert!(
        notice.contains("phase \"events queue\" continues"),
        "{notice}"
    );
    let p95 = |report: &crate::api::MigrationReport| {
        let known = report.baseline.iter().map(|one| (one.p95_ms, one.samples));
        known.collect::<Vec<_>>()
    };
    assert_eq!(p95(&report), p95(&before));
    assert!(p95(&report).iter().all(|(p95, _)| p95.is_some()));
    let entered = |report: &crate::api::MigrationReport| {
        let phases = report.phases.iter();
        phases
            .map(|phase| (phase.name, phase.state, phase.entered))
            .collect::<Vec<_>>()
    };
    assert_eq!(entered(&report), entered(&before));
    let known = report
        .history
        .iter()
        .map(|step| (step.at, step.text.clone()));
    let old = before
        .history
        .iter()
        .map(|step| (step.at, step.text.clone()));
    assert_eq!(
        known.take(before.history.len()).collect::<Vec<_>>(),
        old.collect::<Vec<_>>()
    );
    assert_eq!(report.history[1].figures, before.history[1].figures);
    stage.seconds(soak - 1);
    assert_eq!(stage.state.phase(), Some(Phase::EventsQueue));
    stage.until_state("completed");
    stage.restart();
    assert_eq!(stage.state.name(), "completed");
}

#[test]
fn a_baseline_is_measured_from_the_start() {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.seconds(19);
    stage.restart();
    stage.seconds(19);
    assert_eq!(stage.state.phase(), Some(Phase::Baseline));
    stage.until_state("completed");
}

#[test]
fn a_paused_migration_stays_paused() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::HealthQueue);
    stage.ask(MigrationAction::Pause).unwrap();
    stage.restart();
    stage.seconds(500);
    assert_eq!(stage.state.name(), "paused");
    assert!(stage.waits_for().contains("paused by an operator"));
    stage.ask(MigrationAction::Resume).unwrap();
    stage.until_state("completed");
}

#[test]
fn a_rollback_under_way_is_completed() {
    for word in ["flip", "drain", "canary", "latency"] {
        let mut stage = Stage::usual();
        stage.start(MigrationMode::Auto);
        stage.until_phase(Phase::EventsQueue);
        stage.world.silent_since = Some(stage.now.mono_ms);
        let stage_of = |stage: &Stage| {
            let rollback = stage.state.report().rollback;
            rollback.map(|rollback| rollback.stage.to_string())
        };
        while stage_of(&stage).as_deref() != Some(word) {
            let act = stage.step();
            if stage_of(&stage).as_deref() == Some(word) {
                break;
            }
            if let Some(act) = act {
                stage.act(act);
            }
        }
        stage.restart();
        assert_eq!(stage.state.name(), "rolling_back", "{word}");
        stage.until_state("rolled_back");
        assert_eq!(stage.flagged.modes, Modes::all(Mode::Direct), "{word}");
        let report = stage.state.report().rollback.unwrap();
        assert_eq!(report.stage, "verified", "{word}: {report:?}");
        assert_eq!(report.rule, "broker_away");
        assert!(report.notes[0].contains("restarted"), "{report:?}");
    }
}

#[test]
fn after_a_restart_a_change_that_was_not_stored_counts_as_made_by_the_migration() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::HealthDual);
    stage.seconds(10);
    let act = stage.until_act();
    let row = stage.stored();
    stage.act(act);
    assert_eq!(stage.state.phase(), Some(Phase::HealthQueue));
    stage.restart_with(&row);
    assert_eq!(stage.state.name(), "running");
    assert_eq!(stage.state.phase(), Some(Phase::HealthQueue));

    // One that was not made.
    stage.until_phase(Phase::EventsDual);
    stage.seconds(10);
    let act = stage.until_act();
    assert!(matches!(act, Act::Set { .. }));
    stage.restart();
    assert_eq!(stage.state.phase(), Some(Phase::EventsDual));
    stage.until_state("completed");
}

#[test]
fn modes_that_others_changed_meanwhile_pause_it() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsQueue);
    stage.turn_by_hand(Modes::all(Mode::Dual));
    stage.restart();
    stage.second();
    assert_eq!(stage.state.name(), "paused");
    assert!(stage.waits_for().contains("changed by hand"));
}

#[test]
fn an_automatic_return_comes_at_its_time() {
    let config = Config {
        r#return: ReturnSetting::Auto,
        cool_down: Duration::from_secs(60).into(),
        ..config()
    };
    let usual = Modes::all(Mode::Dual).with(crate::model::Channel::Health, Mode::Direct);
    let mut stage = Stage::new(config, usual);
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsQueue);
    stage.world.silent_since = Some(stage.now.mono_ms);
    stage.until_state("rolled_back");
    stage.world.silent_since = None;
    let not_before = stage.state.report().pending_return.unwrap().not_before;
    stage.seconds(20);
    stage.restart();
    assert_eq!(
        stage.state.report().pending_return.unwrap().not_before,
        not_before
    );
    stage.until_state("running");
    let late_ms = stage.now.wall.0 - not_before.0;
    assert!((0..2_000).contains(&late_ms), "{late_ms}");
    assert_eq!(stage.state.phase(), Some(Phase::EventsQueue));
    stage.until_state("completed");
}

#[test]
fn a_row_of_another_version_is_not_understood() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::HealthDual);
    let text = String::from_utf8(stage.stored()).unwrap();
    let read = |text: &str| {
        let stored = StoredMigration::read(text.as_bytes())?;
        let (now, flagged) = (stage.now, stage.flagged);
        MigrationState::restore(config(), now, Measurements::default(), stored, flagged)
    };
    assert!(read(&text).is_some());
    assert!(read(&text.replace("\"health dual\"", "\"health triple\"")).is_none());
    assert!(read(&text.replace("\"dual\"", "\"triple\"")).is_none());
    assert!(read("{}").is_none());
}

#[test]
fn the_mark_changes_with_whatever_must_not_be_lost() {
    let mut stage = Stage::usual();
    let mut marks = vec![stage.state.mark()];
    let mut next = |stage: &Stage| {
        let mark = stage.state.mark();
        assert_ne!(marks.last(), Some(&mark));
        marks.push(mark);
    };
    stage.start(MigrationMode::Auto);
    next(&stage);
    stage.seconds(10);
    let act = stage.until_act();
    next(&stage);
    stage.act(act);
    next(&stage);
    stage.ask(MigrationAction::Rollback).unwrap();
    next(&stage);
    stage.until_state("idle");
    next(&stage);
    let quiet = stage.state.mark();
    stage.seconds(100);
    assert_eq!(stage.state.mark(), quiet);
}
