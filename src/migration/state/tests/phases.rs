use super::fixture::{Stage, config};
use crate::{
    api::{Comparison, MigrationAction, MigrationMode},
    migration::phase::Phase,
    model::{Channel, Mode, Modes},
};

#[test]
fn an_automatic_migration_runs_every_phase() {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    let mut entered = Vec::new();
    for _ in 0..400 {
        if let Some(phase) = stage.state.phase()
            && entered.last() != Some(&phase)
        {
            entered.push(phase);
        }
        stage.second();
    }
    assert_eq!(entered, Phase::ALL[..7]);
    assert_eq!(stage.state.name(), "completed");
    let flips: Vec<_> = stage
        .flips
        .iter()
        .map(|(_, modes)| modes.to_string())
        .collect();
    assert_eq!(
        flips,
        [
            "events direct, health dual, discovery direct",
            "events direct, health queue, discovery direct",
            "events dual, health queue, discovery direct",
            "events queue, health queue, discovery direct",
            "events queue, health queue, discovery dual",
            "events queue, health queue, discovery queue",
        ]
    );
    for pair in stage.flips.windows(2) {
        assert!(
            pair[1].0 - pair[0].0 >= 20_000,
            "each phase soaks: {pair:?}"
        );
    }
    assert_eq!(stage.count("migration.phase"), 6);
    assert_eq!(stage.count("migration.completed"), 1);
    let text = stage.last("migration.started");
    assert!(text.contains("soak 20s"), "{text}");
}

#[test]
fn a_channel_already_in_dual_is_compared_without_a_change() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsDual);
    assert_eq!(stage.flips.len(), 2, "health dual and health queue");
    stage.until_state("completed");
    assert_eq!(stage.flips.len(), 4);
    assert_eq!(stage.flagged.modes, Modes::all(Mode::Queue));
}

#[test]
fn in_step_mode_an_operator_advances_and_sees_what_a_phase_waits_for() {
    let mut stage = Stage::usual();
    assert!(stage.ask(MigrationAction::Advance).is_err());
    stage.start(MigrationMode::Step);
    let refused = stage.ask(MigrationAction::Advance).unwrap_err();
    assert!(refused.0.contains("only just begun"), "{refused}");
    stage.seconds(6);
    let refused = stage.ask(MigrationAction::Advance).unwrap_err();
    assert!(refused.0.contains("the baseline is measured"), "{refused}");
    stage.seconds(400);
    assert_eq!(stage.state.phase(), Some(Phase::Baseline));
    assert_eq!(stage.waits_for(), "an operator's advance");
    assert_eq!(stage.count("migration.waiting"), 1);
    stage.ask(MigrationAction::Advance).unwrap();
    stage.second();
    assert_eq!(stage.state.phase(), Some(Phase::HealthDual));
    // The rest of a soak can be skipped; what does not agree can not.
    stage.seconds(6);
    stage.ask(MigrationAction::Advance).unwrap();
    stage.second();
    assert_eq!(stage.state.phase(), Some(Phase::HealthQueue));
    stage.world.lag = 5_000;
    stage.seconds(6);
    let refused = stage.ask(MigrationAction::Advance).unwrap_err();
    assert!(refused.0.contains("5000 behind"), "{refused}");
}

#[test]
fn a_start_is_refused_with_its_reason() {
    let refusal = |stage: &mut Stage| stage.ask(MigrationAction::Start).unwrap_err().0;
    let mut none = Stage::direct();
    none.report.broker.kind = "none";
    none.look();
    assert!(refusal(&mut none).contains("no broker"));
    let mut done = Stage::new(config(), Modes::all(Mode::Queue));
    assert!(refusal(&mut done).contains("nothing to migrate"));
    let mut only = Stage::usual();
    only.report.direct = false;
    only.look();
    assert!(refusal(&mut only).contains("transport.direct"));
    let mut twice = Stage::usual();
    twice.start(MigrationMode::Auto);
    assert!(refusal(&mut twice).contains("runs already"));
    twice.ask(MigrationAction::Pause).unwrap();
    assert!(refusal(&mut twice).contains("is paused"));
    assert!(twice.ask(MigrationAction::Pause).is_err());
    twice.ask(MigrationAction::Resume).unwrap();
    assert!(twice.ask(MigrationAction::Resume).is_err());
    let mut idle = Stage::direct();
    assert!(idle.ask(MigrationAction::Rollback).is_err());
    assert!(idle.ask(MigrationAction::Pause).is_err());
    assert!(idle.ask(MigrationAction::Resume).is_err());
}

/// A migration in `phase` stays there and says why after `spoil`; it continues after `heal`.
#[track_caller]
fn held_up(phase: Phase, spoil: fn(&mut Stage), heal: fn(&mut Stage), why: &str) {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.until_phase(phase);
    spoil(&mut stage);
    stage.seconds(90);
    assert_eq!(
        stage.state.phase(),
        Some(phase),
        "{why}: {:#?}",
        stage.events
    );
    let text = stage.last("migration.waiting").to_owned();
    assert!(text.contains(why), "{text}");
    heal(&mut stage);
    let next = Phase::ALL[usize::try_from(phase.number()).unwrap()];
    if next == Phase::Done {
        stage.until_state("completed");
    } else {
        stage.until_phase(next);
    }
}

#[test]
fn a_phase_ends_only_when_all_conditions_hold() {
    let agrees = |stage: &mut Stage| {
        stage.world.compares = Comparison {
            compared: 5,
            ..Comparison::default()
        };
    };
    for phase in [Phase::HealthDual, Phase::EventsDual, Phase::DiscoveryDual] {
        held_up(
            phase,
            |stage| stage.world.compares.missing = 1,
            agrees,
            "came only directly",
        );
        held_up(
            phase,
            |stage| stage.world.compares.different = 1,
            agrees,
            "differed over the broker",
        );
        held_up(phase, |stage| stage.world.compares.late = 1, agrees, "late");
    }
    held_up(
        Phase::EventsDual,
        |stage| stage.world.compares = Comparison::default(),
        agrees,
        "to be compared: 0 of 1",
    );
    for phase in &Phase::ALL[1..7] {
        held_up(
            *phase,
            |stage| stage.world.lag = 101,
            |stage| stage.world.lag = 100,
            "101 behind",
        );
    }
    // In the first phase nothing was changed, so that no rule of the guard is armed.
    held_up(
        Phase::Baseline,
        |stage| stage.world.canary_passes = false,
        |stage| stage.world.canary_passes = true,
        "the canary, which fails: discover: not within 2s",
    );
}

#[test]
fn a_phase_that_can_not_be_left_for_too_long_is_rolled_back_and_stays_so() {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsDual);
    stage.world.compares.missing = 1;
    stage.until_state("rolling_back");
    stage.until_state("idle");
    assert_eq!(stage.flagged.modes, Modes::all(Mode::Direct));
    assert_eq!(stage.state.report().rollback.unwrap().rule, "phase_max");
    let flips = stage.flips.len();
    stage.seconds(1_000);
    assert_eq!(stage.flips.len(), flips);
    // Before anything was changed there is nothing to roll back.
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.world.canary_passes = false;
    stage.until_state("paused");
    assert_eq!(stage.flips, []);
}

#[test]
fn a_failed_change_of_the_flag_is_retried() {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.seconds(15);
    stage.world.silent_since = Some(stage.now.mono_ms);
    stage.seconds(30);
    assert_eq!(stage.state.phase(), Some(Phase::Baseline));
    assert!(
        stage.waits_for().contains("could not be changed"),
        "{}",
        stage.waits_for()
    );
    stage.world.silent_since = None;
    stage.until_phase(Phase::HealthDual);
}

#[test]
fn a_manual_change_pauses_and_resume_starts_at_the_current_modes() {
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsQueue);
    let modes = Modes::all(Mode::Dual).with(Channel::Health, Mode::Queue);
    stage.turn_by_hand(modes);
    stage.second();
    assert_eq!(stage.state.name(), "paused");
    let text = stage.last("migration.paused");
    assert!(text.contains("changed by hand"), "{text}");
    stage.seconds(200);
    assert_eq!(stage.flagged.modes, modes, "the manual change stays");
    stage.ask(MigrationAction::Resume).unwrap();
    stage.second();
    assert_eq!(stage.state.phase(), Some(Phase::EventsDual));
    stage.until_state("completed");

    // After a pause without a change of the modes it continues where it was.
    let mut stage = Stage::direct();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::HealthQueue);
    stage.ask(MigrationAction::Pause).unwrap();
    stage.seconds(100);
    assert_eq!(stage.state.phase(), Some(Phase::HealthQueue));
    stage.ask(MigrationAction::Resume).unwrap();
    assert_eq!(stage.state.phase(), Some(Phase::HealthQueue));
    stage.until_phase(Phase::EventsDual);
}

#[test]
fn the_report_has_every_step_with_figures() {
    let mut stage = Stage::usual();
    let planned: Vec<_> = stage
        .state
        .report()
        .phases
        .iter()
        .map(|one| one.state)
        .collect();
    assert_eq!(planned, ["next"; 8]);
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsQueue);
    let report = stage.state.report();
    let states: Vec<_> = report.phases.iter().map(|one| one.state).collect();
    assert_eq!(
        states,
        [
            "done", "done", "done", "done", "current", "next", "next", "next"
        ]
    );
    assert_eq!(report.phase, Some("events queue"));
    assert!(report.baseline.iter().all(|one| one.p95_ms.is_some()));
    let step = report.history.last().unwrap();
    assert_eq!(step.event, "migration.phase");
    let figure = |name| {
        let found = step.figures.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    };
    assert!(figure("compared").is_some_and(|compared| compared >= 50.0));
    assert_eq!(figure("missing"), Some(0.0));
    assert!(figure("register_p95_ms").is_some_and(|ms| (ms - 2.0).abs() < 0.1));
    stage.state.config.history_max = 3.into();
    stage.until_state("completed");
    assert_eq!(stage.state.report().history.len(), 3);
}

#[test]
fn an_advance_while_the_flag_is_turned_is_refused() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.seconds(10);
    let act = stage.until_act();
    let refused = stage.ask(MigrationAction::Advance).unwrap_err();
    assert!(refused.0.contains("is being changed"), "{refused}");
    stage.act(act);
    assert_eq!(stage.state.phase(), Some(Phase::HealthDual));
}
