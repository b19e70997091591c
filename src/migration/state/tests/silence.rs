//! What a migration can't know or does not do, it says.

use super::fixture::{Stage, always, config};
use crate::{
    api::{MigrationAction, MigrationMode},
    migration::{phase::Phase, window::Measured},
    model::{Channel, Mode, Modes},
};

/// The state of a phase as the report shows it.
fn shown(stage: &Stage, phase: Phase) -> &'static str {
    let report = stage.state.report();
    let mut phases = report.phases.iter();
    let found = phases.find(|one| one.name == phase.as_str());
    found.expect("every phase is shown").state
}

/// The rules that are shown in this state.
fn rules(stage: &Stage, state: &str) -> Vec<&'static str> {
    let rules = stage.state.rules().into_iter();
    let of_state = rules.filter(|rule| rule.state == state);
    of_state.map(|rule| rule.name).collect()
}

#[test]
fn without_a_baseline_a_migration_waits_and_says_why() {
    let mut stage = Stage::direct();
    stage.world.per_second = 0;
    stage.start(MigrationMode::Auto);
    stage.seconds(60);
    assert_eq!(stage.state.phase(), Some(Phase::Baseline));
    let expected = "a usable baseline: register 0 of 30 samples, discover 0 of 30 samples, \
                    delivery 0 of 30 samples";
    let waits_for = stage.waits_for();
    assert!(waits_for.starts_with(expected), "{waits_for}");
    assert_eq!(stage.count("migration.waiting"), 1);
    // With traffic it continues by itself.
    stage.world.per_second = 10;
    stage.until_phase(Phase::HealthDual);
    assert_eq!(stage.count("migration.baseline"), 0, "nothing is missing");
    // It does not wait forever.
    let mut stage = Stage::direct();
    stage.world.per_second = 0;
    stage.start(MigrationMode::Auto);
    stage.until_state("paused");
    assert!(stage.last("migration.paused").contains("a usable baseline"));
}

#[test]
fn advance_without_a_baseline_leaves_rules_without_data() {
    let mut stage = Stage::direct();
    stage.world.per_second = 0;
    stage.start(MigrationMode::Auto);
    stage.seconds(10);
    stage.ask(MigrationAction::Advance).unwrap_err();
    stage.seconds(15);
    stage.ask(MigrationAction::Advance).unwrap();
    stage.until_phase(Phase::HealthDual);
    let text = stage.last("migration.baseline");
    assert!(text.starts_with("there is no baseline"), "{text}");
    stage.world.per_second = 10;
    stage.seconds(15);
    let latencies = ["register_latency", "discover_latency", "delivery_latency"];
    assert_eq!(rules(&stage, "no data"), latencies);
    for rule in stage.state.rules() {
        assert_eq!(rule.armed, rule.state == "armed", "{rule:?}");
        assert!(!rule.armed || rule.threshold.is_some(), "{rule:?}");
    }
}

#[test]
fn a_partial_baseline_suffices_and_missing_latencies_are_named() {
    let mut stage = Stage::direct();
    stage.world.per_second = 0;
    stage.start(MigrationMode::Auto);
    for _ in 0..30 {
        stage.observe(Measured::Delivery, stage.world.latency);
        stage.second();
    }
    stage.until_phase(Phase::HealthDual);
    let text = stage.last("migration.baseline").to_owned();
    assert!(
        text.contains("register 0 of 30 samples, discover 0 of 30"),
        "{text}"
    );
    assert!(!text.contains("delivery"), "{text}");
}

#[test]
fn a_baseline_that_was_interrupted_is_measured_again() {
    for by_hand in [true, false] {
        let mut stage = Stage::direct();
        stage.start(MigrationMode::Auto);
        stage.seconds(5);
        if by_hand {
            stage.turn_by_hand(Modes::all(Mode::Dual));
            stage.second();
        } else {
            stage.ask(MigrationAction::Pause).unwrap();
        }
        assert_eq!(stage.state.name(), "paused");
        stage.seconds(100);
        stage.ask(MigrationAction::Resume).unwrap();
        stage.seconds(10);
        assert_eq!(stage.state.phase(), Some(Phase::Baseline));
        assert_eq!(shown(&stage, Phase::Baseline), "current");
        stage.until_phase(Phase::HealthDual);
        assert_eq!(shown(&stage, Phase::Baseline), "done");
    }
}

#[test]
fn a_phase_that_did_not_end_is_not_done_after_a_resume() {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::HealthDual);
    let modes = Modes::all(Mode::Direct)
        .with(Channel::Health, Mode::Queue)
        .with(Channel::Events, Mode::Dual);
    stage.turn_by_hand(modes);
    stage.second();
    stage.ask(MigrationAction::Resume).unwrap();
    stage.second();
    assert_eq!(shown(&stage, Phase::Baseline), "done");
    for skipped in [Phase::HealthDual, Phase::HealthQueue] {
        assert_eq!(shown(&stage, skipped), "skipped", "{skipped}");
    }
    assert_eq!(shown(&stage, Phase::EventsDual), "current");
}

#[test]
fn a_completed_migration_keeps_its_timeline_until_the_flag_is_changed() {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.until_state("completed");
    stage.seconds(100);
    let report = stage.state.report();
    assert_eq!(report.phase, None);
    for phase in &report.phases {
        assert_eq!(phase.state, "done", "{phase:?}");
        assert!(phase.entered.is_some(), "{phase:?}");
    }
    stage.turn_by_hand(Modes::all(Mode::Direct));
    stage.second();
    assert_eq!(stage.state.name(), "idle");
    assert_eq!(shown(&stage, Phase::Done), "next");
}

#[test]
fn a_change_of_the_flag_before_the_start_does_not_pause() {
    let mut stage = Stage::direct();
    // Answered, and no look has seen it yet.
    stage.turn_by_hand(Modes::all(Mode::Dual));
    stage.start(MigrationMode::Auto);
    stage.seconds(5);
    assert_eq!(stage.state.name(), "running");
    assert!(stage.last("migration.started").contains("health dual"));
    // One during it still is, also when the next thing is a request.
    stage.turn_by_hand(Modes::all(Mode::Direct));
    stage.ask(MigrationAction::Advance).unwrap_err();
    assert_eq!(stage.state.name(), "paused");
}

#[test]
fn the_canary_rests_while_a_migration_is_paused() {
    for config in [config(), always()] {
        let mut stage = Stage::new(config, Modes::all(Mode::Dual));
        stage.start(MigrationMode::Auto);
        stage.until_phase(Phase::HealthDual);
        stage.seconds(10);
        assert!(stage.state.wants_canary().0);
        stage.ask(MigrationAction::Pause).unwrap();
        assert!(!stage.state.wants_canary().0);
        stage.seconds(10);
        assert!(rules(&stage, "no data").contains(&"canary_failures"));
        stage.ask(MigrationAction::Resume).unwrap();
        assert!(stage.state.wants_canary().0);
    }
}
