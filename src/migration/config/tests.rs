use std::time::Duration;

use super::Config;

#[test]
fn the_defaults_are_without_fault() {
    assert_eq!(Config::default().faults(), [""; 0]);
}

#[test]
fn contradicting_keys_are_named() {
    let config = Config {
        cool_down: Duration::from_secs(7200).into(),
        ..Config::default()
    };
    let expected = ["migration.cool_down must not exceed migration.cool_down_max"];
    assert_eq!(config.faults(), expected);
}
