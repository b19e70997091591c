use std::time::Duration;

use bytesize::ByteSize;

use super::Config;

#[test]
fn the_defaults_are_fine() {
    assert_eq!(Config::default().faults(), Vec::<String>::new());
}

#[test]
fn a_policy_that_contradicts_itself_is_named() {
    let mut config = Config::default();
    config.cors.credentials = true;
    let faults = config.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("http.cors.credentials"), "{faults:?}");
}

#[test]
fn unknown_keys_are_refused_and_sizes_are_text() {
    let config: Config = toml::from_str("body_max = \"64KiB\"\nkeep_alive = \"5s\"").unwrap();
    assert_eq!(config.body_max, ByteSize::kib(64));
    assert_eq!(config.keep_alive, Duration::from_secs(5));
    for wrong in [
        "colour = 1",
        "body_max = \"large\"",
        "keep_alive = \"soon\"",
        "cors.origin = []",
    ] {
        assert!(toml::from_str::<Config>(wrong).is_err(), "{wrong}");
    }
}
