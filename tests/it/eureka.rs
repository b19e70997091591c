//! Unmodified clients of Eureka, in two languages, at a daemon; each sees what the other and REST register.

use std::{path::PathBuf, process::Command};

use crate::daemon::Daemon;

fn here(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path);
    assert!(
        path.exists(),
        "{} is missing: run tests/setup",
        path.display()
    );
    path
}

/// Runs a client's script with the daemon's address; it ends with "ok".
fn run(mut command: Command, script: &str) {
    let daemon = Daemon::start(&[
        "--set",
        "broker.listen=",
        "--set",
        "http.listen=127.0.0.1:0",
    ]);
    let script = here("it/eureka").join(script);
    let output = command.arg(script).arg(&daemon.url).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && stdout.ends_with("ok\n"),
        "steps done:\n{stdout}\n{stderr}"
    );
}

#[test]
fn py_eureka_client() {
    run(Command::new(here(".local/python/bin/python")), "journey.py");
}

#[test]
fn eureka_js_client() {
    let mut node = Command::new("node");
    node.env("NODE_PATH", here(".local/eureka/node_modules"));
    run(node, "journey.js");
}
