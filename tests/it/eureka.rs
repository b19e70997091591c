//! Unmodified clients of Eureka, in two languages, at a daemon; each sees what the other and REST register.

use std::process::Command;

use crate::{
    daemon::Daemon,
    scripts::{ends_with_ok, in_tests},
};

/// Runs a client's script with the daemon's address; it ends with "ok".
fn run(mut command: Command, script: &str) {
    let daemon = Daemon::start(&[
        "--set",
        "broker.listen=",
        "--set",
        "http.listen=127.0.0.1:0",
    ]);
    let script = in_tests("it/eureka").join(script);
    ends_with_ok(command.arg(script).arg(&daemon.url));
}

#[test]
fn py_eureka_client() {
    run(
        Command::new(in_tests(".local/python/bin/python")),
        "journey.py",
    );
}

#[test]
fn eureka_js_client() {
    let mut node = Command::new("node");
    node.env("NODE_PATH", in_tests(".local/eureka/node_modules"));
    run(node, "journey.js");
}
