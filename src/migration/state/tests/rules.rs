use std::time::Duration;

use super::fixture::{Stage, always, config};
use crate::{
    api::MigrationMode,
    migration::{config::GuardSetting, phase::Phase, window::Measured},
    model::{Channel, Mode, Modes},
};

fn in_queue(config: crate::migration::Config) -> Stage {
    let mut stage = Stage::new(config, Modes::all(Mode::Dual));
    stage.seconds(30);
    stage
}

/// A migration that has come as far as events in queue.
fn migrating() -> Stage {
    let mut stage = Stage::usual();
    stage.start(MigrationMode::Step);
    for phase in [Phase::HealthDual, Phase::HealthQueue, Phase::EventsDual] {
        stage.seconds(25);
        stage.ask(crate::api::MigrationAction::Advance).unwrap();
        stage.second();
        assert_eq!(stage.state.phase(), Some(phase));
    }
    stage
}

#[track_caller]
fn rolls_back(stage: &mut Stage, rule: &str, within_seconds: u64) {
    stage.seconds(within_seconds);
    let report = stage.state.report().rollback;
    let Some(report) = report else {
        panic!(
            "no rollback by {rule}: {:#?}",
            stage.state.report().guard.rules
        );
    };
    assert_eq!(report.rule, rule);
    assert_eq!(stage.flagged.modes, Modes::all(Mode::Direct));
    assert_eq!(stage.count("migration.rollback_started"), 1);
}

#[track_caller]
fn holds(stage: &mut Stage, seconds: u64) {
    stage.seconds(seconds);
    assert!(
        stage.state.report().rollback.is_none(),
        "{:#?}",
        stage.events
    );
}

#[test]
fn a_lost_broker_is_direct_within_ten_seconds_and_two() {
    // Without a migration, too.
    let mut stage = in_queue(config());
    let lost = stage.now.mono_ms;
    stage.world.silent_since = Some(lost);
    stage.seconds(10);
    assert_eq!(stage.flips, []);
    stage.seconds(2);
    let [(at, modes)] = stage.flips[..] else {
        panic!("one flip: {:?}", stage.flips);
    };
    assert_eq!(modes, Modes::all(Mode::Direct));
    assert!((10_000..12_000).contains(&(at - lost)), "{}", at - lost);
    let text = stage.last("migration.rollback_started");
    assert!(text.contains("has not answered for 10."), "{text}");
    assert!(text.contains("10.0 s are allowed"), "{text}");
}

#[test]
fn a_refusal_by_the_broker_is_quoted() {
    let mut stage = in_queue(config());
    stage.world.silent_since = Some(stage.now.mono_ms);
    stage.report.broker.error = Some("connecting: ACCESS_REFUSED".to_owned());
    stage.until_state("rolled_back");
    let reason = stage.state.report().rollback.unwrap().reason;
    assert!(
        reason.starts_with("the broker could not be used for 10."),
        "{reason}"
    );
    assert!(
        reason.ends_with("10.0 s are allowed: connecting: ACCESS_REFUSED"),
        "{reason}"
    );
}

#[test]
fn a_short_silence_of_the_broker_does_not_roll_back() {
    let mut stage = in_queue(config());
    for _ in 0..20 {
        stage.world.silent_since = Some(stage.now.mono_ms);
        holds(&mut stage, 9);
        stage.world.silent_since = None;
        holds(&mut stage, 1);
    }
}

#[test]
fn the_guard_is_off_when_it_is_off_and_when_there_is_no_direct_way() {
    let mut off = in_queue(crate::migration::Config {
        guard: GuardSetting::Off,
        ..config()
    });
    off.world.silent_since = Some(off.now.mono_ms);
    off.world.latency = Duration::from_secs(1);
    off.world.canary_passes = false;
    holds(&mut off, 300);
    let mut only = in_queue(always());
    only.report.direct = false;
    only.world.silent_since = Some(only.now.mono_ms);
    holds(&mut only, 300);
}

#[test]
fn each_latency_is_judged_for_itself() {
    for what in Measured::ALL {
        let mut stage = migrating();
        // More than half above the baseline, and more than the floor.
        for _ in 0..45 {
            for _ in 0..10 {
                stage.observe(what, Duration::from_millis(8));
            }
            stage.second();
        }
        let report = stage.state.report().rollback.unwrap();
        assert_eq!(report.rule, format!("{}_latency", what.as_str()));
        assert!(
            report.reason.contains("in 3 windows in a row"),
            "{report:?}"
        );
    }
}

#[test]
fn a_rollback_step_has_the_figure_that_broke_the_rule() {
    let mut stage = Stage::new(
        crate::migration::Config {
            windows: 1.into(),
            ..always()
        },
        Modes::all(Mode::Dual),
    );
    stage.seconds(30);
    for _ in 0..12 {
        stage.observe(Measured::Delivery, Duration::from_millis(800));
        stage.second();
    }
    let report = stage.state.report();
    let mut steps = report.history.iter();
    let step = steps
        .find(|step| step.event == "migration.rollback_started")
        .unwrap();
    let mut figures = step.figures.iter();
    let (_, value) = figures
        .find(|(name, _)| *name == "delivery_p95_ms")
        .unwrap();
    assert!(*value > 750.0, "{step:?}");
}

#[test]
fn an_increase_below_the_floor_is_ignored() {
    let mut stage = migrating();
    stage.world.latency = Duration::from_micros(6_500);
    holds(&mut stage, 300);
    stage.world.latency = Duration::from_micros(7_500);
    rolls_back(&mut stage, "register_latency", 45);
    // With a slow baseline the share counts.
    let mut stage = Stage::usual();
    stage.world.latency = Duration::from_millis(100);
    stage.start(MigrationMode::Auto);
    stage.until_phase(Phase::HealthDual);
    stage.world.latency = Duration::from_millis(140);
    holds(&mut stage, 18);
    stage.until_phase(Phase::HealthQueue);
    stage.world.latency = Duration::from_millis(160);
    rolls_back(&mut stage, "register_latency", 45);
}

#[test]
fn a_rule_must_be_broken_in_windows_in_a_row() {
    let mut stage = migrating();
    for _ in 0..10 {
        // At most two windows see something of it.
        stage.world.latency = Duration::from_millis(50);
        holds(&mut stage, 10);
        stage.world.latency = Duration::from_millis(2);
        holds(&mut stage, 21);
    }
}

#[test]
fn too_few_samples_give_no_result() {
    let mut stage = migrating();
    stage.world.per_second = 0;
    stage.seconds(12);
    for _ in 0..100 {
        stage.observe(Measured::Register, Duration::from_secs(1));
        holds(&mut stage, 10);
    }
    // They do in the end, when there are enough of them in each window.
    for _ in 0..120 {
        stage.observe(Measured::Register, Duration::from_secs(1));
        stage.second();
    }
    assert!(stage.state.report().rollback.is_some());
}

#[test]
fn discovery_requests_that_fail() {
    let mut rest = migrating();
    for _ in 0..40 {
        // 10 are answered each second.
        rest.sources.failed += 1;
        rest.second();
    }
    assert_eq!(
        rest.state.report().rollback.unwrap().rule,
        "discovery_failures"
    );
    let mut amqp = migrating();
    for _ in 0..200 {
        amqp.sources.amqp_answered += 190;
        amqp.sources.amqp_failed += 10;
        amqp.second();
    }
    assert!(amqp.state.report().rollback.is_none(), "5 % are allowed");
    for _ in 0..40 {
        amqp.sources.amqp_answered += 180;
        amqp.sources.amqp_failed += 20;
        amqp.second();
    }
    assert_eq!(
        amqp.state.report().rollback.unwrap().rule,
        "discovery_failures"
    );
}

#[test]
fn a_canary_that_fails() {
    let mut stage = migrating();
    // One of five is allowed.
    for n in 0..200 {
        stage.run_canary(n % 5 != 0);
        stage.pass(5_000);
        stage.look();
    }
    assert!(stage.state.report().rollback.is_none());
    stage.world.canary_passes = false;
    rolls_back(&mut stage, "canary_failures", 60);
}

#[test]
fn outside_a_migration_only_the_lost_broker_counts_unless_always() {
    let mut auto = in_queue(config());
    auto.world.latency = Duration::from_millis(500);
    assert_eq!(auto.state.wants_canary(), (false, 0));
    holds(&mut auto, 300);
    let mut stage = in_queue(always());
    assert!(stage.state.wants_canary().0);
    stage.world.latency = Duration::from_millis(500);
    rolls_back(&mut stage, "register_latency", 45);
    // Where everything is direct there is nothing to guard.
    let mut direct = Stage::new(always(), Modes::all(Mode::Direct));
    assert!(!direct.state.wants_canary().0);
    direct.seconds(60);
    direct.world.latency = Duration::from_millis(500);
    holds(&mut direct, 300);
    assert_eq!(direct.flagged.modes.of(Channel::Events), Mode::Direct);
}
