use std::{collections::BTreeSet, io::Write, time::Duration};

use super::{Config, ConfigError, Sources};

const DOCUMENTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");

fn faults(sources: &Sources) -> Vec<String> {
    match sources.load() {
        Err(ConfigError::Faults(faults)) => faults.iter().map(|fault| fault.key.clone()).collect(),
        other => panic!("expected faults, got {other:?}"),
    }
}

fn flags(flags: &[(&str, &str)]) -> Sources {
    Sources {
        flags: flags
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        ..Sources::default()
    }
}

#[test]
fn no_source_gives_the_default_configuration() {
    assert_eq!(Sources::default().load().unwrap(), Config::default());
}

#[test]
fn the_later_source_wins() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "[http]\nlisten = '127.0.0.1:1'\n[stop]\ngrace = '1s'\n[log]\nlevel = 'warn'"
    )
    .unwrap();
    let sources = Sources {
        file: Some(file.path().to_owned()),
        environment: vec![
            ("MUSTERD__HTTP__LISTEN".to_owned(), "127.0.0.1:2".to_owned()),
            ("MUSTERD__STOP__GRACE".to_owned(), "2s".to_owned()),
            (
                "MUSTERD__REGISTRY__GUARD__SHARE".to_owned(),
                "0.75".to_owned(),
            ),
            ("PATH".to_owned(), "/bin".to_owned()),
        ],
        flags: vec![("http.listen".to_owned(), "127.0.0.1:3".to_owned())],
    };
    let config = sources.load().unwrap();
    assert_eq!(config.http.listen, "127.0.0.1:3");
    assert_eq!(config.stop.grace, Duration::from_secs(2));
    assert_eq!(config.log.level, "warn");
    assert!((*config.registry.guard.share - 0.75).abs() < 1e-9);
}

#[test]
fn all_faults_are_reported_with_their_keys() {
    let sources = flags(&[
        ("stop.grace", "soon"),
        ("registry.instances_max", "many"),
        ("registry.log_bytes_max", "16 bananas"),
        ("http.nothing", "1"),
        ("htpp.listen", "1"),
    ]);
    assert_eq!(
        faults(&sources),
        [
            "htpp.listen",
            "http.nothing",
            "registry.instances_max",
            "registry.log_bytes_max",
            "stop.grace"
        ]
    );
    assert_eq!(
        faults(&flags(&[
            ("registry.guard.share", "2"),
            ("registry.instances_max", "0"),
            ("stop.grace", "0s"),
            ("http.nothing", "1"),
        ])),
        [
            "http.nothing",
            "registry.guard.share",
            "registry.instances_max",
            "stop.grace"
        ],
        "one kind of fault does not hide the other"
    );
    // As long as this the clock does not run: it would be found out when it is asked to stop.
    for grace in ["25h", "500000000000years"] {
        assert_eq!(faults(&flags(&[("stop.grace", grace)])), ["stop.grace"]);
    }
    assert!(flags(&[("stop.grace", "24h")]).load().is_ok());
    assert_eq!(
        faults(&flags(&[("http.listen", "localhost"), ("dns.listen", "1")])),
        ["http.listen", "dns.listen"]
    );
    check_message(
        &flags(&[("threads.other", "1025")]),
        "threads.other: is 1025, it must be between 0 and 1024",
    );
}

#[track_caller]
fn check_message(sources: &Sources, expected: &str) {
    let error = sources.load().expect_err(expected);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_unknown_word_lists_the_allowed_ones() {
    let keys = [
        ("transport.mode", "direct, dual, queue"),
        ("transport.events", "direct, dual, queue"),
        ("transport.health", "direct, dual, queue"),
        ("transport.discovery", "direct, dual, queue"),
        ("transport.direct", "on, off"),
        ("migration.guard", "auto, always, off"),
        ("migration.return", "manual, auto"),
        ("migration.mode", "auto, step"),
        ("broker.tls.user_from", "distinguished_name, common_name"),
        ("http.tls.client_auth", "off, optional, required"),
        ("http.tls.min_version", "1.2, 1.3"),
        ("log.format", "text, json"),
    ];
    for (key, words) in keys {
        let expected = format!("{key}: \"maybe\" is not one of {words}");
        check_message(&flags(&[(key, "maybe")]), &expected);
        let name = format!("MUSTERD__{}", key.replace('.', "__").to_uppercase());
        let environment = Sources {
            environment: vec![(name, "maybe".to_owned())],
            ..Sources::default()
        };
        check_message(&environment, &expected);
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "transport.direct = false").unwrap();
    let file = Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    };
    check_message(&file, "transport.direct: \"false\" is not one of on, off");
}

#[test]
fn a_value_of_the_wrong_type_names_the_right_type() {
    let switch = flags(&[("broker.auth.guest", "maybe")]);
    check_message(
        &switch,
        "broker.auth.guest: is string \"maybe\", expected a boolean",
    );
    let level = flags(&[("log.level", "loud,musterd::health=debug")]);
    check_message(
        &level,
        "log.level: \"loud\" is not one of error, warn, info, debug, trace, off; for one module write \"info,loud=debug\"",
    );
    let number = flags(&[("health.probes_max", "many")]);
    check_message(&number, "health.probes_max: \"many\" is not a whole number");
}

#[test]
fn faults_of_durations_and_lists_show_the_expected_form() {
    check_message(
        &flags(&[("health.interval", "soon")]),
        "health.interval: \"soon\" is not a duration such as \"500ms\", \"30s\", \"1h\" or a number of seconds",
    );
    let list = flags(&[("outbound.deny", "10.0.0.0/8,10.0.0.0/99")]);
    let error = list.load().unwrap_err().to_string();
    assert!(error.starts_with("outbound.deny: "), "{error}");
    assert!(!error.contains("sequence"), "{error}");
    assert!(
        error.ends_with("(several are separated by commas)"),
        "{error}"
    );
}

#[test]
fn a_broker_fault_names_its_key() {
    for (key, value, message) in [
        (
            "broker.limits.connections",
            "0",
            "is 0, it must be between 4 and 1000000",
        ),
        (
            "broker.limits.frame_size",
            "1",
            "is 1B, it must be between 4KiB and 64MiB",
        ),
        (
            "broker.limits.handshake",
            "0s",
            "is 0s, it must be between 10ms and 1d",
        ),
        (
            "broker.auth_mechanisms",
            "",
            "names no mechanism, so no client could log in: choose from EXTERNAL, PLAIN, AMQPLAIN, RABBIT-CR-DEMO",
        ),
        (
            "broker.auth_mechanisms",
            "PLAIN,plain",
            "\"plain\" is not one of EXTERNAL, PLAIN, AMQPLAIN, RABBIT-CR-DEMO (several are separated by commas)",
        ),
        (
            "broker.vhosts",
            "",
            "names no vhost; broker.listen=\"\" switches the broker off",
        ),
        (
            "broker.tls.listen",
            "nowhere",
            "\"nowhere\" is not an address and port such as 127.0.0.1:8000 or [::1]:0\n\
             broker.tls.certificate: names no file, and broker.tls.listen needs one\n\
             broker.tls.key: names no file, and broker.tls.listen needs one",
        ),
    ] {
        check_message(&flags(&[(key, value)]), &format!("{key}: {message}"));
    }
    assert_eq!(
        faults(&flags(&[
            ("broker.users.bob.password", "x"),
            ("broker.users.bob.password_hash", "foo"),
            ("broker.users.eve.password", "x"),
            ("broker.users.eve.permissions./.configure", "["),
            ("broker.users.eve.permissions.none.read", ".*"),
            ("broker.limits.queues", "1"),
        ])),
        [
            "broker.limits.queues",
            "broker.users.eve.permissions",
            "broker.users.bob",
            "broker.users.eve.permissions.\"/\".configure",
        ]
    );
    let named = flags(&[("broker.listen", "localhost:0")]);
    assert!(named.load().unwrap().broker.address().unwrap().is_some());
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let missing = Sources {
        file: Some("/nowhere/musterd.toml".into()),
        ..Sources::default()
    };
    assert!(
        missing
            .load()
            .unwrap_err()
            .to_string()
            .contains("/nowhere/musterd.toml")
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[http").unwrap();
    let broken = Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    };
    assert!(matches!(broken.load(), Err(ConfigError::File(_))));
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let documented = Sources {
        file: Some(DOCUMENTED.into()),
        ..Sources::default()
    };
    let mut expected = Config::default();
    // A library has none unless it is given one.
    expected.store.path = Some("data".into());
    assert_eq!(documented.load().unwrap(), expected);
}

/// The names serde lists when it refuses a key that can't exist.
fn keys_below(path: &str) -> BTreeSet<String> {
    let bogus = if path.is_empty() {
        "no-such-key".to_owned()
    } else {
        format!("{path}.no-such-key")
    };
    let Err(ConfigError::Faults(faults)) = flags(&[(&bogus, "1")]).load() else {
        panic!("\"{bogus}\" was taken");
    };
    let Some((_, names)) = faults[0].message.split_once("expected ") else {
        return BTreeSet::new();
    };
    names
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_key_is_documented() {
    let text = std::fs::read_to_string(DOCUMENTED).unwrap();
    let mut documented = BTreeSet::new();
    let mut section = String::new();
    for line in text
        .lines()
        .map(|line| line.trim_start_matches("# ").trim())
    {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            documented.insert(format!("{section}.{key}"));
        }
    }
    let mut missing = Vec::new();
    let mut open: Vec<String> = keys_below("").into_iter().collect();
    assert!(open.len() > 5, "{open:?}");
    while let Some(path) = open.pop() {
        let is_section = text.contains(&format!("[{path}]"));
        if is_section {
            open.extend(
                keys_below(&path)
                    .into_iter()
                    .map(|key| format!("{path}.{key}")),
            );
        } else if !documented.contains(&path) && !text.contains(&format!("[{path}.")) {
            missing.push(path);
        }
    }
    assert!(
        missing.is_empty(),
        "config/default.toml does not name {missing:?}"
    );
}

#[test]
fn every_number_of_the_documented_keys_is_bounded() {
    let mut unbounded = Vec::new();
    for (section, key, value) in super::shown::documented() {
        let path = format!("{section}.{key}");
        let takes = |text| flags(&[(&path, text)]).load().is_ok();
        // Words that a number can take the place of, but no other text can.
        let is_number = || takes("7s") && !takes("no such word");
        let is_word = value.starts_with('"') && !value.contains(|c: char| c.is_ascii_digit());
        let is_text = is_word && !is_number();
        let is_listener = key.ends_with("listen");
        if is_text || is_listener || value.starts_with('[') || ["true", "false"].contains(&value) {
            continue;
        }
        // A count, a duration and a size in one: more than any of them may be.
        let message = match flags(&[(&path, "18446744073709551615")]).load() {
            Err(ConfigError::Faults(faults)) => faults,
            _ => Vec::new(),
        };
        if !message
            .iter()
            .any(|fault| fault.key == path && fault.message.contains("between"))
        {
            unbounded.push(path);
        }
    }
    // The length of a text: a name of a header, a datacenter, a node. A word of digits: a version.
    let others = [
        "broker.stamp_header",
        "consul.datacenter",
        "consul.node_name",
        "consul.node_address",
        "http.tls.min_version",
    ];
    unbounded.retain(|path| !others.contains(&path.as_str()));
    assert!(unbounded.is_empty(), "without bounds: {unbounded:?}");
}

#[test]
fn a_bare_number_is_a_number_of_seconds() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "health.timeout = 7\nstop.grace = 1.5").unwrap();
    let sources = Sources {
        file: Some(file.path().to_owned()),
        ..flags(&[("registry.ttl_default", "5")])
    };
    let config = sources.load().unwrap();
    assert_eq!(config.registry.ttl_default, Duration::from_secs(5));
    assert_eq!(config.health.timeout, Duration::from_secs(7));
    assert_eq!(config.stop.grace, Duration::from_millis(1_500));
}

#[test]
fn a_variable_that_looks_like_a_key_and_is_none_is_named() {
    check("MUSTERD_HTTP__LISTEN", Some("MUSTERD__HTTP__LISTEN"));
    check("MUSTERD_HTTP_LISTEN", Some("MUSTERD__HTTP__LISTEN"));
    check("musterd__http__listen", Some("MUSTERD__HTTP__LISTEN"));
    check(
        "MUSTERD_REGISTRY_TTL_DEFAULT",
        Some("MUSTERD__REGISTRY__TTL_DEFAULT"),
    );
    check("MUSTERD_NOTHING", Some("MUSTERD__HTTP__LISTEN"));
    check("MUSTERD__HTTP__LISTEN", None);
    check("MUSTERD_ADDRESS", None);
    check("MUSTERD_AMQP_URL", None);
    check("PATH", None);

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let sources = Sources {
            environment: vec![(name.to_owned(), "x".to_owned())],
            ..Sources::default()
        };
        let warnings = sources.warnings();
        assert_eq!(
            warnings.len(),
            usize::from(expected.is_some()),
            "{warnings:?}"
        );
        if let Some(expected) = expected {
            let message = &warnings[0];
            assert!(
                message.contains(name) && message.contains(expected),
                "{message}"
            );
        }
    }
}

#[test]
fn all_that_a_tls_listener_needs_is_named_at_once() {
    let listen = flags(&[("broker.tls.listen", "127.0.0.1:0")]);
    assert_eq!(
        faults(&listen),
        ["broker.tls.certificate", "broker.tls.key"]
    );
}

#[test]
fn a_message_has_one_colon_behind_its_key() {
    let origins = flags(&[("http.cors.origins", "ops.example.com")]);
    let message = origins.load().unwrap_err().to_string();
    assert!(
        message.starts_with("http.cors.origins: \"ops.example.com\""),
        "{message}"
    );
}

#[test]
fn waits_at_a_stop_fit_into_the_grace_period() {
    for grace in ["10s", "2s", "100ms"] {
        let sources = flags(&[
            ("stop.grace", grace),
            ("http.drain", "1h"),
            ("transport.drain", "1h"),
        ]);
        let mut config = sources.load().unwrap();
        config.fit_into_grace();
        let waits = *config.http.drain + *config.transport.drain + *config.broker.limits.shutdown;
        assert!(waits < *config.stop.grace, "{waits:?} of {grace}");
    }
    let config = Config::default();
    let mut fitted = config.clone();
    fitted.fit_into_grace();
    assert_eq!(config, fitted, "the defaults fit");
}
