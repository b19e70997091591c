//! An hour of the usual noise, within what is allowed: no rule fires.

use std::time::Duration;

use super::fixture::{Stage, always, config};
use crate::{
    api::MigrationMode,
    migration::window::Measured,
    model::{Mode, Modes},
};

const HOUR: u64 = 3_600;

/// A second of noise: latencies that scatter, a slow request now and then, a broker that is silent for
/// less than is allowed, a canary and requests that fail less often than is allowed.
fn noise(stage: &mut Stage, chance: &mut fastrand::Rng) {
    for what in Measured::ALL {
        for _ in 0..chance.u64(0..30) {
            let slow = chance.u8(0..100) < 2;
            let us = if slow {
                chance.u64(20_000..2_000_000)
            } else {
                chance.u64(200..4_000)
            };
            stage.observe(what, Duration::from_micros(us));
        }
    }
    if chance.u8(0..100) < 20 {
        stage.sources.failed += 1;
    }
    stage.sources.amqp_answered += 10;
    stage.world.canary_passes = chance.u8(0..100) >= 5;
    stage.world.lag = chance.u64(0..50);
    match stage.world.silent_since {
        None if chance.u8(0..100) < 5 => stage.world.silent_since = Some(stage.now.mono_ms),
        Some(since) if stage.now.mono_ms - since >= chance.u64(1_000..9_000) => {
            stage.world.silent_since = None;
        }
        _ => (),
    }
    stage.second();
}

#[test]
fn an_hour_of_noise_moves_nothing() {
    for seed in 0..5 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut stage = Stage::new(always(), Modes::all(Mode::Dual));
        stage.world.per_second = 0;
        for _ in 0..HOUR {
            noise(&mut stage, &mut chance);
        }
        assert_eq!(stage.flips, [], "seed {seed}: {:#?}", stage.events);
        assert!(stage.events.is_empty(), "{:#?}", stage.events);
        let rules = stage.state.report().guard.rules;
        assert!(rules.iter().all(|rule| rule.value.is_some()), "{rules:#?}");
    }
}

#[test]
fn a_migration_survives_an_hour_of_noise_without_a_rollback() {
    for seed in 0..5 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut stage = Stage::new(
            crate::migration::Config {
                soak: Duration::from_secs(300).into(),
                phase_max: Duration::ZERO.into(),
                ..config()
            },
            Modes::all(Mode::Direct),
        );
        stage.world.per_second = 0;
        stage.start(MigrationMode::Auto);
        for _ in 0..HOUR {
            noise(&mut stage, &mut chance);
        }
        assert_eq!(stage.count("migration.rollback_started"), 0);
        assert_eq!(stage.state.name(), "completed", "seed {seed}");
    }
}
