use std::time::Duration;

use bytesize::ByteSize;

use super::Config;

#[test]
fn the_defaults_are_fine() {
    assert_eq!(Config::default().faults(), Vec::<String>::new());
}

#[test]
fn every_fault_is_told_at_once() {
    let mut config = Config {
        header_timeout: Duration::ZERO,
        keep_alive: Duration::from_millis(1),
        head_max: ByteSize::kib(1),
        headers_max: 0,
        body_max: ByteSize::b(0),
        connections_max: 0,
        ..Config::default()
    };
    config.cors.credentials = true;
    let faults = config.faults();
    for key in [
        "http.header_timeout",
        "http.keep_alive",
        "http.head_max",
        "http.headers_max",
        "http.body_max",
        "http.connections_max",
        "http.cors.credentials",
    ] {
        let told = faults.iter().any(|fault| fault.contains(key));
        assert!(told, "{key} is not in {faults:?}");
    }
    assert_eq!(faults.len(), 7, "{faults:?}");
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
