//! Scripts of clients, run as their own processes.

use std::{path::PathBuf, process::Command};

/// A file in the folder `tests`; what is below `.local` comes from tests/setup.
#[track_caller]
pub(crate) fn in_tests(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path);
    let shown = path.display();
    assert!(path.exists(), "{shown} is missing: run tests/setup");
    path
}

/// Runs a script whose last line is "ok"; the message has the steps that it printed.
#[track_caller]
pub(crate) fn ends_with_ok(command: &mut Command) {
    let output = command.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && stdout.ends_with("ok\n"),
        "steps done:\n{stdout}\n{stderr}"
    );
}
