use std::time::Duration;

use super::Config;

#[test]
fn the_defaults_are_without_fault() {
    assert_eq!(Config::default().faults(), [""; 0]);
}

#[test]
fn every_fault_is_named_by_its_key() {
    let config = Config {
        window: Duration::ZERO,
        canary_failures_max: 1.5,
        late_max: -0.1,
        latency_back: f64::NAN,
        windows: 0,
        canary_runs: 0,
        cool_down: Duration::from_secs(7200),
        phase_max: Duration::MAX,
        ..Config::default()
    };
    let faults = config.faults();
    let keys: Vec<_> = faults
        .iter()
        .map(|fault| fault.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "migration.window",
            "migration.phase_max",
            "migration.canary_failures_max",
            "migration.late_max",
            "migration.latency_back",
            "migration.canary_runs",
            "migration.windows",
            "migration.cool_down",
        ]
    );
}
