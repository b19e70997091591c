//! The commands of the binary, and what signals do to a daemon.

use std::{
    io::Write,
    net::TcpStream,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::daemon::{Daemon, musterd};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_config_ends_with_ok_and_prints_each_value_with_its_source() {
    let plain = musterd(&["check-config"]).output().unwrap();
    assert_eq!(plain.status.code(), Some(0));
    assert_eq!(text(&plain.stdout), "ok\n");

    let output = musterd(&["check-config", "--print", "--set", "stop.grace=7"])
        .env("MUSTERD__LOG__LEVEL", "warn")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    for line in [
        "grace = \"7\"  # command line",
        "level = \"warn\"  # environment MUSTERD__LOG__LEVEL",
        "buffer_max = \"1MiB\"  # default",
    ] {
        assert!(
            shown.lines().any(|own| own == line),
            "{line} is not in:\n{shown}"
        );
    }
    assert!(shown.ends_with("\nok\n"), "{shown}");
}

#[test]
fn a_variable_that_matches_no_key_is_named_and_is_no_fault() {
    let output = musterd(&["check-config"])
        .env("MUSTERD_HTTP__LISTEN", "127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let warning = text(&output.stderr);
    assert!(
        warning.contains("MUSTERD_HTTP__LISTEN is not used"),
        "{warning}"
    );
    assert!(warning.contains("MUSTERD__HTTP__LISTEN"), "{warning}");
}

fn hashed(password: &[u8]) -> Output {
    let mut child = musterd(&["hash-password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_hash_that_is_printed_is_one_that_the_configuration_takes() {
    let output = hashed(b"secret\n");
    assert_eq!(output.status.code(), Some(0));
    let hash = text(&output.stdout);
    assert!(
        hash.starts_with("$argon2") && hash.ends_with('\n'),
        "{hash}"
    );
    let set = format!("broker.users.app.password_hash={}", hash.trim());
    let checked = musterd(&["check-config", "--set", &set]).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));

    let empty = hashed(b"\n");
    assert_eq!(empty.status.code(), Some(1));
    assert!(empty.stdout.is_empty());
}

#[test]
fn a_second_signal_ends_a_stop_that_waits() {
    let daemon = Daemon::start(&["--set", "stop.grace=60s", "--set", "http.drain=15s"]);
    let address = daemon.url.trim_start_matches("http://");
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(
        b"POST /services/register HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
    )
    .unwrap();
    daemon.signal("-TERM");
    daemon.logged(|line| line["message"] == "stopping");
    let began = Instant::now();
    daemon.signal("-INT");
    assert_eq!(daemon.exit_code(), 130);
    assert!(began.elapsed() < Duration::from_secs(10), "it did not wait");
}

#[test]
fn a_hangup_names_each_key_that_needs_a_restart() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[log]\nlevel = 'info'").unwrap();
    let daemon = Daemon::start(&["--config", file.path().to_str().unwrap()]);
    writeln!(file, "[stop]\ngrace = '9s'\n[registry]\nroutes_max = 7").unwrap();
    daemon.signal("-HUP");
    let line = daemon.logged(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("only after a restart")
    });
    let warning = line["message"].as_str().unwrap();
    assert!(
        warning.ends_with("registry.routes_max, stop.grace"),
        "{warning}"
    );
    assert!(matches!(line["level"], Value::String(ref level) if level == "WARN"));
}

#[test]
fn the_flag_is_shown_and_changed_by_a_command() {
    let daemon = Daemon::start(&[]);
    let run = |arguments: &[&str]| {
        let url = ["transport", "--url", &daemon.url];
        let output = musterd(&[&url, arguments].concat()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, shown) = run(&[]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("events     dual"), "{shown}");
    let (code, shown) = run(&["set", "queue", "--channel", "health"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("health     queue"), "{shown}");
    let (code, shown) = run(&["set", "direct", "--json"]);
    assert_eq!(code, Some(0), "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["channels"]["health"]["mode"], "direct");
    assert_eq!(run(&["set", "both"]).0, Some(2));
}

#[test]
fn without_a_broker_everything_is_direct_and_another_mode_is_a_fault() {
    let daemon = Daemon::start(&["--set", "broker.listen="]);
    let output = musterd(&["transport", "--url", &daemon.url, "set", "dual"]);
    let output = { output }.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("no broker"), "{log}");
    let faulty = musterd(&[
        "--set",
        "broker.listen=",
        "--set",
        "transport.events=queue",
        "--set",
        "transport.direct=off",
        "check-config",
    ])
    .output()
    .unwrap();
    assert_eq!(faulty.status.code(), Some(2));
    let log = String::from_utf8(faulty.stderr).unwrap();
    assert!(
        log.contains("transport.events") && log.contains("transport.direct"),
        "{log}"
    );
}
