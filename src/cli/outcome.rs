//! The end of a command: what it prints, and its exit code.

use std::process::ExitCode;

use serde_json::Value;

use super::{print, print_error};

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

/// Prints what a command has made, or why it failed; the daemon's problem as it came if JSON was asked for.
pub(super) fn finish<T: Into<CommandOutput>, E: Into<CliError>>(
    result: Result<T, E>,
    as_json: bool,
) -> ExitCode {
    match result {
        Ok(done) => {
            let done = done.into();
            print(&done.text);
            ExitCode::from(done.code)
        }
        Err(error) => {
            let error = error.into();
            match error.problem {
                Some(problem) if as_json => super::print_raw_error(&format!("{problem:#}")),
                _ => print_error(&error.message),
            }
            ExitCode::from(error.code)
        }
    }
}
