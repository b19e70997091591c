//! `musterd completions`, and the man pages that a test compares with the arguments.

use std::process::ExitCode;

use clap_complete::Shell;

use super::{command_line, outcome::finish};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command_line(), "musterd", &mut text);
    let text = String::from_utf8(text).map_err(|error| error.to_string());
    finish(text, false)
}
