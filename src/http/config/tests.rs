use std::time::Duration;

use bytesize::ByteSize;

use super::Config;

#[test]
fn the_default_configuration_has_no_fault() {
    assert_eq!(Config::default().faults(), Vec::<String>::new());
}

#[test]
fn every_fault_of_the_access_rules_is_named() {
    let mut config = Config::default();
    config.cors.credentials = true;
    config.cors.origins = ["*", "a.example", "b"].map(str::to_owned).to_vec();
    config.cors.methods = ["*", "GET", "no method"].map(str::to_owned).to_vec();
    config.cors.headers = ["*", "no header", "b:"].map(str::to_owned).to_vec();
    config.hosts = ["a:1", "b", "c/d"].map(str::to_owned).to_vec();
    let faults = config.faults();
    let keys = faults
        .iter()
        .map(|fault| fault.split([':', ' ']).next().unwrap());
    let expected = [
        "http.hosts",
        "http.hosts",
        "http.cors.origins",
        "http.cors.origins",
        "http.cors.methods",
        "http.cors.methods",
        "http.cors.headers",
        "http.cors.headers",
        "http.cors.credentials",
    ];
    assert_eq!(keys.collect::<Vec<_>>(), expected, "{faults:?}");
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
