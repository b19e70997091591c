use std::time::Duration;

use super::fixture::{Stage, always, config};
use crate::{
    api::{MigrationAction, MigrationMode},
    migration::{
        config::{Config, ReturnSetting},
        phase::Phase,
    },
    model::{Channel, Mode, Modes},
};

fn returning() -> Config {
    Config {
        r#return: ReturnSetting::Auto,
        cool_down: Duration::from_secs(60).into(),
        cool_down_max: Duration::from_secs(200).into(),
        ..config()
    }
}

/// Loses the broker in `phase` until the flag is direct.
fn lost_in(phase: Phase, config: Config) -> Stage {
    let usual = Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct);
    let mut stage = Stage::new(config, usual);
    stage.start(MigrationMode::Auto);
    stage.until_phase(phase);
    stage.world.silent_since = Some(stage.now.mono_ms);
    stage.until_state("rolling_back");
    stage
}

#[test]
fn a_rollback_goes_through_its_stages_and_reports() {
    let mut stage = lost_in(Phase::EventsQueue, config());
    let refused = stage.ask(MigrationAction::Start).unwrap_err();
    assert!(refused.0.contains("a rollback is under way"), "{refused}");
    stage.until_state("rolled_back");
    let report = stage.state.report().rollback.unwrap();
    assert_eq!(report.rule, "broker_away");
    assert_eq!(report.stage, "verified");
    assert_eq!(
        report.from.to_string(),
        "events queue, health queue, discovery dual"
    );
    assert_eq!(report.drained, Some(true));
    assert_eq!(report.canary_passed, Some(true));
    assert_eq!(report.latencies.len(), 3);
    assert!(report.flipped_ms.is_some() && report.ended.is_some());
    assert_eq!(report.notes, [""; 0]);
    let text = stage.last("migration.rolled_back");
    assert!(
        text.starts_with("verified: direct after 0 ms, drained"),
        "{text}"
    );
}

#[test]
fn a_rollback_that_does_not_help_says_so() {
    let mut canary = lost_in(Phase::EventsQueue, config());
    canary.world.canary_passes = false;
    canary.world.drains = false;
    canary.until_state("rolled_back");
    let report = canary.state.report().rollback.unwrap();
    assert_eq!(report.stage, "unverified");
    assert_eq!(report.canary_passed, Some(false));
    let notes = report.notes.join("; ");
    assert!(
        notes.contains("the canary fails over direct: discover"),
        "{notes}"
    );

    let mut slow = lost_in(Phase::EventsQueue, config());
    slow.world.latency = Duration::from_millis(9);
    slow.until_state("rolled_back");
    let report = slow.state.report().rollback.unwrap();
    assert_eq!(report.stage, "unverified");
    assert!(
        report.notes[0].contains("register is at 9.0 ms still")
            || report.notes[0].contains("register is at 8.9 ms still"),
        "{report:?}"
    );
    assert_eq!(
        slow.flagged.modes,
        Modes::all(Mode::Direct),
        "direct it stays"
    );
}

#[test]
fn a_drain_that_takes_too_long_is_noted_and_latencies_without_samples_too() {
    let mut stage = lost_in(Phase::EventsQueue, config());
    assert_eq!(stage.state.report().rollback.unwrap().drained, Some(true));
    stage.world.per_second = 0;
    stage.until_state("rolled_back");
    let report = stage.state.report().rollback.unwrap();
    assert_eq!(report.stage, "verified");
    assert!(
        report
            .notes
            .contains(&"too few samples to judge register".to_owned()),
        "{report:?}"
    );
}

#[test]
fn a_rollback_by_hand_ends_the_migration() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsQueue);
    stage.ask(MigrationAction::Rollback).unwrap();
    stage.look();
    assert_eq!(stage.flagged.modes, Modes::all(Mode::Direct));
    stage.until_state("idle");
    assert_eq!(stage.state.report().rollback.unwrap().rule, "by hand");
    let flips = stage.flips.len();
    stage.seconds(1_000);
    assert_eq!(stage.flips.len(), flips);
    assert!(stage.ask(MigrationAction::Rollback).is_err());
    // Then it can begin again.
    stage.start(MigrationMode::Auto);
    stage.until_state("completed");
}

#[test]
fn a_manual_change_ends_a_rollback_and_cancels_the_return() {
    let mut stage = lost_in(Phase::EventsQueue, returning());
    let queue = Modes::all(Mode::Queue);
    stage.world.silent_since = None;
    stage.turn_by_hand(queue);
    stage.second();
    let report = stage.state.report();
    assert_eq!(report.state, "idle");
    assert_eq!(report.rollback.unwrap().stage, "ended by hand");
    assert!(
        stage
            .last("migration.overruled")
            .contains("changed by hand")
    );
    stage.seconds(1_000);
    assert_eq!(stage.flagged.modes, queue);

    let mut stage = lost_in(Phase::EventsQueue, returning());
    stage.until_state("rolled_back");
    stage.world.silent_since = None;
    let direct = Modes::all(Mode::Direct);
    stage.turn_by_hand(direct);
    stage.seconds(1_000);
    assert_eq!(
        stage.flagged.modes, direct,
        "it stays as somebody wanted it"
    );
    assert_eq!(stage.count("migration.returned"), 0);
}

#[test]
fn confirming_the_flag_cancels_a_return() {
    let mut stage = lost_in(Phase::EventsQueue, returning());
    stage.until_state("rolled_back");
    stage.world.silent_since = None;
    for action in [MigrationAction::Rollback, MigrationAction::Pause] {
        let refused = stage.ask(action).unwrap_err();
        assert!(refused.0.contains("(PUT /transport)"), "{refused}");
    }
    stage.turn_by_hand(stage.flagged.modes);
    stage.second();
    assert_eq!(stage.state.name(), "idle");
    let text = stage.last("migration.overruled");
    assert!(text.contains("confirmed by hand: events direct"), "{text}");
    let refused = stage.ask(MigrationAction::Rollback).unwrap_err();
    assert!(!refused.0.contains("PUT /transport"), "{refused}");
}

#[test]
fn confirming_the_flag_repeatedly_does_not_disarm_the_guard() {
    let usual = Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct);
    let mut stage = Stage::new(always(), usual);
    stage.world.canary_passes = false;
    for _ in 0..120 {
        stage.turn_by_hand(stage.flagged.modes);
        stage.second();
    }
    assert_eq!(stage.count("migration.rollback_started"), 1);
    assert_eq!(
        stage.state.report().rollback.unwrap().rule,
        "canary_failures"
    );
}

#[test]
fn a_manual_change_between_look_and_act_wins() {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::EventsQueue);
    // The guard decides on modes that have changed since.
    stage.world.silent_since = Some(stage.now.mono_ms - 11_000);
    let look_version = stage.flagged.version;
    let queue = Modes::all(Mode::Queue);
    stage.turn_by_hand(queue);
    stage.look();
    assert_eq!(
        stage.state.name(),
        "rolling_back",
        "the broker is away for that flag as well"
    );
    assert!(stage.flagged.version > look_version);
    let text: Vec<_> = stage.events.iter().map(|(event, _)| *event).collect();
    let paused = text.iter().position(|event| *event == "migration.paused");
    let started = text
        .iter()
        .position(|event| *event == "migration.rollback_started");
    assert!(paused < started, "{text:?}");
}

#[test]
fn by_default_an_operator_returns_after_a_rollback() {
    let mut stage = lost_in(Phase::EventsQueue, config());
    stage.world.silent_since = None;
    stage.seconds(2_000);
    assert_eq!(stage.flagged.modes, Modes::all(Mode::Direct));
    let report = stage.state.report();
    assert_eq!(report.state, "rolled_back");
    assert!(!report.pending_return.unwrap().by_itself);
    assert!(stage.waits_for().contains("an operator"));
    stage.start(MigrationMode::Auto);
    stage.until_state("completed");
}

#[test]
fn an_automatic_return_continues_at_its_phase_after_the_cool_down() {
    let mut stage = lost_in(Phase::EventsQueue, returning());
    stage.until_state("rolled_back");
    let rolled_back = stage.now.mono_ms;
    stage.seconds(100);
    assert_eq!(
        stage.count("migration.returned"),
        0,
        "the broker is not back"
    );
    let error = stage.state.report().pending_return.unwrap().error;
    assert!(error.is_some_and(|error| error.contains("no answer")));
    stage.world.silent_since = None;
    stage.seconds(11);
    assert_eq!(stage.count("migration.returned"), 1);
    assert!(stage.flips.last().unwrap().0 - rolled_back >= 60_000);
    assert_eq!(stage.state.phase(), Some(Phase::EventsQueue));
    assert_eq!(stage.flagged.modes.events, Mode::Queue);
    stage.until_state("completed");
}

#[test]
fn a_start_waits_for_a_return_that_is_under_way() {
    let usual = Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct);
    let mut stage = Stage::new(returning(), usual);
    stage.world.silent_since = Some(stage.now.mono_ms);
    stage.until_state("rolled_back");
    stage.world.silent_since = None;
    let act = stage.until_act();
    let refused = stage.ask(MigrationAction::Start).unwrap_err();
    assert!(refused.0.contains("an automatic return"), "{refused}");
    stage.act(act);
    assert_eq!(stage.count("migration.returned"), 1);
    // Then it begins with the modes as they are.
    stage.start(MigrationMode::Auto);
    let text = stage.last("migration.started");
    assert!(text.contains("from events dual"), "{text}");
}

#[test]
fn outside_a_migration_a_return_restores_the_modes() {
    let usual = Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct);
    let mut stage = Stage::new(returning(), usual);
    stage.world.silent_since = Some(stage.now.mono_ms);
    stage.until_state("rolled_back");
    stage.world.silent_since = None;
    stage.until_state("idle");
    assert_eq!(stage.flagged.modes, usual);
}

#[test]
fn the_cool_down_doubles_up_to_a_limit() {
    let usual = Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct);
    let mut stage = Stage::new(returning(), usual);
    // A broker that is there whenever it is asked, and away as soon as it is relied upon.
    for _ in 0..10_000 {
        let uses = stage.flagged.modes.use_broker();
        let silent = stage.world.silent_since;
        stage.world.silent_since = uses.then(|| silent.unwrap_or(stage.now.mono_ms));
        stage.second();
    }
    assert_eq!(stage.count("migration.rollback_started"), 4);
    assert_eq!(stage.count("migration.returned"), 3);
    assert_eq!(stage.flagged.modes, Modes::all(Mode::Direct));
    let at = |n: usize| stage.flips[n].0;
    let (first, second, third) = (at(1) - at(0), at(3) - at(2), at(5) - at(4));
    assert!((60_000..80_000).contains(&first), "{first}");
    assert!((120_000..140_000).contains(&second), "{second}");
    assert!((200_000..220_000).contains(&third), "the longest: {third}");
    assert!(!stage.state.report().pending_return.unwrap().by_itself);
}

#[test]
fn old_rollbacks_are_forgotten() {
    let usual = Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct);
    let config = Config {
        returns_forgotten: Duration::from_secs(900).into(),
        ..returning()
    };
    let mut stage = Stage::new(config, usual);
    for _ in 0..6 {
        stage.world.silent_since = Some(stage.now.mono_ms);
        stage.until_state("rolled_back");
        stage.world.silent_since = None;
        stage.until_state("idle");
        stage.seconds(1_000);
    }
    assert_eq!(stage.count("migration.returned"), 6);
}

#[test]
fn without_a_direct_way_a_rollback_is_refused() {
    let mut stage = Stage::usual();
    stage.report.direct = false;
    stage.look();
    let refused = stage.ask(MigrationAction::Rollback).unwrap_err();
    assert!(refused.0.contains("nothing to go back to"), "{refused}");
}
