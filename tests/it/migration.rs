//! The migration as an operator has it: a real daemon with its embedded broker, and the commands.

use std::{process::Command, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use crate::daemon::Daemon;

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Short phases; a machine that is busy with other tests is no reason to roll back.
const QUICK: [&str; 14] = [
    "--set",
    "migration.baseline=1s",
    "--set",
    "migration.soak=1s",
    "--set",
    "migration.canary_interval=500ms",
    "--set",
    "migration.canary_timeout=5s",
    "--set",
    "migration.latency_floor=2s",
    "--set",
    "migration.late_max=1.0",
    "--set",
    "health.first_within=100ms",
];

struct MigrateOutput {
    ok: bool,
    text: String,
}

fn migrate(daemon: &Daemon, arguments: &[&str]) -> MigrateOutput {
    let output = Command::new(env!("CARGO_BIN_EXE_musterd"))
        .args(["migrate", "--url", &daemon.url])
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    MigrateOutput {
        ok: output.status.success(),
        text: String::from_utf8(text).unwrap(),
    }
}

#[track_caller]
fn report(daemon: &Daemon) -> Value {
    let reply = migrate(daemon, &["status", "--json"]);
    assert!(reply.ok, "{}", reply.text);
    serde_json::from_str(&reply.text).unwrap()
}

fn until(daemon: &Daemon, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = report(daemon);
        if report["state"] == state {
            return report;
        }
        assert!(Instant::now() < deadline, "not {state}: {report:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_daemon_migrates_to_its_broker_and_back() {
    let daemon = Daemon::start(&QUICK);
    let plan = migrate(&daemon, &["plan"]);
    assert!(plan.ok, "{}", plan.text);
    assert!(plan.text.contains("health queue"), "{}", plan.text);
    let refused = migrate(&daemon, &["advance"]);
    assert!(!refused.ok);
    assert!(
        refused.text.contains("no migration runs"),
        "{}",
        refused.text
    );

    let started = migrate(&daemon, &["start", "--soak", "1s"]);
    assert!(started.ok, "{}", started.text);
    assert!(started.text.contains("running (auto)"), "{}", started.text);
    let twice = migrate(&daemon, &["start"]);
    assert!(twice.text.contains("runs already"), "{}", twice.text);
    let report = until(&daemon, "completed");
    for channel in ["events", "health", "discovery"] {
        assert_eq!(report["channels"][channel], "queue");
    }
    assert_eq!(report["rollback"], Value::Null, "{report:#}");
    assert!(report["canary"]["runs"].as_u64().unwrap() > 6);
    let notices = report["notices"].as_array().unwrap();
    assert!(
        notices
            .iter()
            .any(|one| one["event"] == "migration.completed")
    );

    let back = migrate(&daemon, &["rollback", "--yes"]);
    assert!(back.ok, "{}", back.text);
    let report = until(&daemon, "idle");
    assert_eq!(report["rollback"]["rule"], "by hand");
    assert_eq!(report["rollback"]["stage"], "verified", "{report:#}");
    assert_eq!(report["rollback"]["drained"], true);
    assert_eq!(report["channels"]["events"], "direct");
    let refused = migrate(&daemon, &["rollback", "--yes"]);
    assert!(
        refused.text.contains("every channel is direct"),
        "{}",
        refused.text
    );
}

#[test]
fn setting_the_flag_unchanged_pauses_a_baseline() {
    let daemon = Daemon::start(&[&QUICK[2..], &["--set", "migration.baseline=1h"]].concat());
    assert!(migrate(&daemon, &["start"]).ok);
    let channels = report(&daemon)["channels"].clone();
    let set = Command::new(env!("CARGO_BIN_EXE_musterd"))
        .args(["transport", "set", "dual", "--channel", "events"])
        .args(["--url", &daemon.url])
        .output()
        .unwrap();
    assert!(set.status.success(), "{set:?}");
    let report = until(&daemon, "paused");
    assert_eq!(report["channels"], channels);
    assert_eq!(report["phase"], "baseline");
}

#[test]
fn an_invalid_soak_is_a_wrong_argument() {
    for soak in ["xx", "31d"] {
        let output = Command::new(env!("CARGO_BIN_EXE_musterd"))
            .args(["migrate", "--url", "http://127.0.0.1:1", "start", "--soak"])
            .arg(soak)
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{soak}: {message}");
        assert!(message.contains("--soak"), "{message}");
    }
}

#[test]
fn step_by_step_it_waits_for_the_operator() {
    let daemon = Daemon::start(&QUICK);
    assert!(migrate(&daemon, &["start", "--step"]).ok);
    let deadline = Instant::now() + PATIENCE;
    while !migrate(&daemon, &["advance"]).ok {
        assert!(Instant::now() < deadline, "{:#}", report(&daemon));
        std::thread::sleep(Duration::from_millis(100));
    }
    loop {
        let report = report(&daemon);
        if report["phase"] == "health dual" {
            break;
        }
        assert!(Instant::now() < deadline, "{report:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(migrate(&daemon, &["pause"]).ok);
    let status = migrate(&daemon, &["status"]);
    assert!(status.text.contains("paused (step)"), "{}", status.text);
    assert!(migrate(&daemon, &["resume"]).ok);
}

#[test]
fn without_a_broker_there_is_nothing_to_migrate_to() {
    let daemon = Daemon::start(&["--set", "broker.listen="]);
    let refused = migrate(&daemon, &["start"]);
    assert!(!refused.ok);
    assert!(
        refused.text.contains("there is no broker"),
        "{}",
        refused.text
    );
    let away = Command::new(env!("CARGO_BIN_EXE_musterd"))
        .args(["migrate", "status", "--url", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(away.status.code(), Some(4));
    let message = String::from_utf8(away.stderr).unwrap();
    assert!(message.contains("cannot be connected to"), "{message}");
}
