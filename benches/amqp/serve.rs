//! The child: the embedded broker and nothing else.

use std::process::ExitCode;

/// Serves until the parent ends it; prints the address and what the broker added to resident memory.
pub(crate) fn serve() -> ExitCode {
    eprintln!("the embedded broker is not wired in yet");
    ExitCode::FAILURE
}
