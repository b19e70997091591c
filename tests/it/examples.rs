//! Each example runs against a daemon and prints its five steps.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::daemon::Daemon;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs one in the repository's folder.
#[track_caller]
fn runs(command: &mut Command, id: &str, event: &str) {
    let daemon = Daemon::start(&[]);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let amqp = line["amqp.address"].as_str().unwrap();
    let output = command
        .current_dir(ROOT)
        .env("MUSTERD_ADDRESS", &daemon.url)
        .env("MUSTERD_AMQP", format!("amqp://guest:guest@{amqp}/%2f"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let steps = format!("registered {id}\nrenewed\ndiscovered {id}\nevent {event}\nderegistered\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && out == steps, "{out}{errors}");
}

#[test]
fn shell() {
    runs(
        &mut Command::new("examples/shell/service.sh"),
        "shell-1",
        "stopping",
    );
}

#[test]
fn python() {
    let python = Path::new(ROOT).join("tests/.local/python/bin/python");
    runs(
        Command::new(python).arg("examples/python/service.py"),
        "python-1",
        "registered",
    );
}

#[test]
fn node() {
    // Modules are searched beside the file: a copy finds those that the tests have.
    let script = Path::new(ROOT).join("examples/node/service.mjs");
    let copy = Path::new(ROOT).join("tests/.local/example-service.mjs");
    std::fs::copy(script, &copy).unwrap();
    runs(Command::new("node").arg(&copy), "node-1", "registered");
}

#[test]
fn go() {
    let cache = Path::new(ROOT).join("tests/.local/go-cache");
    let mut go = Command::new("go");
    go.args(["run", "examples/go/service.go"])
        .env("GOCACHE", cache)
        .env("GO111MODULE", "off");
    runs(&mut go, "go-1", "registered");
}

#[test]
fn java() {
    runs(
        Command::new("java").arg("examples/java/Service.java"),
        "java-1",
        "registered",
    );
}

#[test]
fn rust() {
    let folder = Path::new(env!("CARGO_BIN_EXE_musterd")).parent().unwrap();
    runs(
        &mut Command::new(folder.join("examples/service")),
        "rust-1",
        "registered",
    );
}
