use std::io::Write;

use super::{documented, without_password};
use crate::config::{Config, Sources};

fn sources() -> Sources {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Sources {
        environment: vec![pair(("MUSTERD__HTTP__LISTEN", "127.0.0.1:1"))],
        flags: vec![pair(("stop.grace", "7")), pair(("log.level", "warn"))],
        ..Sources::default()
    }
}

#[test]
fn the_printed_configuration_is_equivalent_toml() {
    let shown = sources().shown().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(shown.as_bytes()).unwrap();
    let again = Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    };
    let mut meant = sources().load().unwrap();
    // What is shown is the daemon's default; a library has none.
    meant.store.path = Some("data".into());
    assert_eq!(again.load().unwrap(), meant);
    assert_ne!(again.load().unwrap(), Config::default());
}

#[test]
fn each_value_names_its_source() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "[registry]\nroutes_max = 7\n[broker.users.\"a b\"]\npassword = 'secret'"
    )
    .unwrap();
    let sources = Sources {
        file: Some(file.path().to_owned()),
        ..sources()
    };
    let shown = sources.shown().unwrap();
    let from_file = format!("routes_max = 7  # file {}", file.path().display());
    for line in [
        "listen = \"127.0.0.1:1\"  # environment MUSTERD__HTTP__LISTEN",
        "grace = \"7\"  # command line",
        "level = \"warn\"  # command line",
        "format = \"text\"  # default",
        "[broker.users.\"a b\"]",
        &from_file,
    ] {
        assert!(
            shown.lines().any(|own| own == line),
            "{line} is not in:\n{shown}"
        );
    }
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_url_is_shown_without_its_password() {
    let url = "amqp://user:p@ss@host:5672/";
    assert_eq!(without_password(url), "amqp://user:...@host:5672/");
    assert_eq!(without_password("amqp://host/"), "amqp://host/");
    assert_eq!(without_password("plain"), "plain");
}

#[test]
fn every_documented_key_has_a_section() {
    assert!(documented().count() > 100);
    assert!(documented().all(|(section, key, _)| !section.is_empty() && !key.is_empty()));
}

/// The same file, read twice: tables in a list have no order.
#[test]
fn a_file_that_is_read_again_has_no_changed_values() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let rules = |pattern: &str| {
        let rule = "{ resource = 'service', pattern = 'web-*', access = 'write' }";
        let other = format!("{{ access = 'deny', pattern = '{pattern}', resource = 'service' }}");
        format!("[security.policies]\nweb = [{rule}, {other}]\n")
    };
    write!(file, "{}", rules("pay")).unwrap();
    let read = |file: &tempfile::NamedTempFile| {
        let sources = Sources {
            file: Some(file.path().to_owned()),
            ..sources()
        };
        sources.load_values().unwrap().1
    };
    let values = read(&file);
    for _ in 0..64 {
        assert_eq!(values.changed(&read(&file)), [""; 0]);
    }
    std::fs::write(file.path(), rules("pax")).unwrap();
    assert_eq!(values.changed(&read(&file)), ["security.policies.web"]);
}

/// What the API shows: documented keys with what they are for, further keys, and no secret.
#[test]
fn every_key_is_shown_with_its_source_and_without_secrets() {
    let sources = Sources {
        flags: vec![
            ("http.listen".to_owned(), "127.0.0.1:1".to_owned()),
            ("broker.users.a.password".to_owned(), "hidden".to_owned()),
            (
                "transport.amqp_url".to_owned(),
                "amqp://u:hidden@h/".to_owned(),
            ),
        ],
        ..Sources::default()
    };
    let (_, values) = sources.load_values().unwrap();
    let find = |key: &str| {
        let found = values.shown().iter().find(|one| one.key == key);
        found.unwrap_or_else(|| panic!("{key} is not shown"))
    };
    let listen = find("http.listen");
    assert_eq!(listen.value, "\"127.0.0.1:1\"");
    assert_eq!(listen.source, "command line");
    assert_eq!(listen.default.as_deref(), Some("\"127.0.0.1:8000\""));
    assert!(listen.about.starts_with("Address and port of REST"));
    assert_eq!(find("http.body_max").source, "default");
    assert_eq!(find("broker.users.a.password").default, None);
    let all = format!("{:?}{values:?}", values.shown());
    assert!(!all.contains("hidden"), "{all}");
}
