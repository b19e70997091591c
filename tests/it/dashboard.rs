//! The dashboard in a real browser. Each script starts its daemons, and fails on any fault of a page: an error in the
//! console, a report of the content security policy, a request to another host.

use std::process::Command;

/// Runs one script with what `tests/setup` installs.
fn run(script: &str) {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let output = Command::new("node")
        .arg(format!("{tests}/it/dashboard/{script}"))
        .env("NODE_PATH", format!("{tests}/.local/node_modules"))
        .env("MUSTERD", env!("CARGO_BIN_EXE_musterd"))
        .output()
        .expect("node, which tests/setup installs, can be started");
    assert!(
        output.status.success(),
        "{script}: {}{}needs what tests/setup installs; UPDATE=1 writes a changed layout",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Every view in three widths and two colour schemes: meaning, places, and WCAG 2.2 AA by axe-core.
#[test]
fn every_view_has_its_layout_and_is_accessible() {
    run("layout.cjs");
}

/// Each action with its effect at the API, live updates within a second, the keyboard, and markup that stays text.
#[test]
fn every_action_does_what_it_says() {
    run("journeys.cjs");
}

/// The log in, the modes, a daemon that goes and comes back, and the contract of view.js.
#[test]
fn the_page_logs_in_reconnects_and_keeps_to_its_mode() {
    run("access.cjs");
}
