//! The end of a command: what it prints, and its exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::Value;

use super::{ask::json_text, print_error};

/// Exit code: the daemon refused or failed, a component failed, or something on this machine.
pub(super) const FAILED: u8 = 1;
/// Exit code: wrong arguments or configuration, or a question that could not be asked.
pub(super) const MISCONFIGURED: u8 = 2;
/// Exit code: no such service, instance, route, webhook or queue, or none that is healthy.
pub(super) const NOT_FOUND: u8 = 3;
/// Exit code: no daemon answers.
pub(super) const UNREACHABLE: u8 = 4;
/// Exit code: the answer to the question is no.
pub(super) const NO: u8 = 5;

/// Every exit code and its meaning, for the man pages.
pub(super) const EXIT_CODES: [(u8, &str); 8] = [
    (0, "done; for health, check and pick: yes"),
    (
        FAILED,
        "the daemon refused or failed, a component failed or did not stop in time, or something on this machine",
    ),
    (
        MISCONFIGURED,
        "wrong arguments or configuration, or a question that could not be asked",
    ),
    (
        NOT_FOUND,
        "no such service, instance, route, webhook or queue; for pick: none is healthy",
    ),
    (UNREACHABLE, "no daemon answers within --timeout"),
    (
        NO,
        "the answer is no: health is not healthy, a check failed, or --exit-code asked for it",
    ),
    (130, "ended by SIGINT"),
    (143, "ended by SIGTERM"),
];

/// Why a command failed.
#[derive(Debug, PartialEq)]
pub(super) struct CliError {
    pub(super) message: String,
    pub(super) code: u8,
    /// The daemon's own words, for `-o json`.
    pub(super) problem: Option<Value>,
}

impl CliError {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code,
            problem: None,
        }
    }

    /// The HTTP status with which the daemon has refused.
    pub(super) fn status(&self) -> Option<u64> {
        self.problem.as_ref()?["status"].as_u64()
    }

    /// Whether another attempt may succeed: there was no answer of a daemon, or one that it cannot do it now.
    pub(super) fn may_pass(&self) -> bool {
        match self.status() {
            Some(status) => status >= 500 || status == 429,
            None => self.code != MISCONFIGURED,
        }
    }
}

impl From<String> for CliError {
    fn from(message: String) -> Self {
        Self::new(FAILED, message)
    }
}

/// What a command has made: its text, and the code that it ends with.
#[derive(Debug, Default)]
pub(super) struct CommandOutput {
    pub(super) text: String,
    pub(super) code: u8,
}

impl CommandOutput {
    /// Ends with this code if the answer is no.
    pub(super) fn or_no(self, yes: bool) -> Self {
        match yes {
            true => self,
            false => Self { code: NO, ..self },
        }
    }
}

impl From<String> for CommandOutput {
    fn from(text: String) -> Self {
        Self { text, code: 0 }
    }
}

/// Writes the command's result and flushes, so that a pipe has each line at once.
pub(super) fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints what a command has made, or why it failed; the daemon's problem as it came if JSON was asked for.
pub(super) fn finish<T: Into<CommandOutput>, E: Into<CliError>>(
    result: Result<T, E>,
    as_json: bool,
) -> ExitCode {
    match result {
        Ok(done) => {
            let done = done.into();
            match put(&done.text) {
                // A reader that has enough, such as head.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    print_error(&format!("standard output: {error}"));
                    ExitCode::from(FAILED)
                }
                _ => ExitCode::from(done.code),
            }
        }
        Err(error) => {
            let error = error.into();
            match error.problem {
                Some(problem) if as_json => super::print_raw_error(&json_text(&problem)),
                _ => print_error(&error.message),
            }
            ExitCode::from(error.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CliError, FAILED, MISCONFIGURED, NOT_FOUND, UNREACHABLE};

    #[test]
    fn another_attempt_may_succeed_unless_the_daemon_has_said_no() {
        let refused = |code, status: u16| CliError {
            problem: Some(json!({"status": status})),
            ..CliError::new(code, "refused")
        };
        let table = [
            (CliError::new(UNREACHABLE, "no daemon answers"), true),
            (CliError::new(FAILED, "closed the connection"), true),
            (CliError::new(MISCONFIGURED, "--address"), false),
            (refused(FAILED, 429), true),
            (refused(FAILED, 503), true),
            (refused(FAILED, 401), false),
            (refused(NOT_FOUND, 404), false),
        ];
        for (error, may_pass) in table {
            assert_eq!(error.may_pass(), may_pass, "{error:?}");
        }
    }
}
