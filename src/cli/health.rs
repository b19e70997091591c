//! `musterd health`: asks the running daemon, for a container's health check.

use std::{process::ExitCode, time::Duration};

use super::{
    ask::Daemon,
    outcome::{CliError, CommandOutput, NO, finish},
};

/// How long the answer may take without --timeout.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(daemon: &Daemon<'_>, timeout: Option<Duration>) -> ExitCode {
    let mut daemon = daemon.clone();
    daemon.timeout = timeout.unwrap_or(TIMEOUT);
    let healthy = daemon
        .get("/health", "")
        .map_err(|error| match error.problem {
            Some(_) => CliError { code: NO, ..error },
            None => error,
        });
    finish(
        healthy.map(|_| CommandOutput::default()),
        daemon.output.json,
    )
}
