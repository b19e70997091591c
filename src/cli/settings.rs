//! `musterd config`: checks the configuration, prints what is in effect, explains keys.

use std::process::ExitCode;

use super::{
    outcome::{CliError, MISCONFIGURED, NOT_FOUND, finish},
    print_error,
};
use crate::{app, config::Sources};

/// Every key with its default and its explanation.
const DEFAULTS: &str = include_str!("../../config/default.toml");

#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Read the configuration and report every fault, or ok
    Check,
    /// Print every key with its value and where it comes from, as TOML
    Print,
    /// Explain the keys whose name contains a text; all by default
    Keys {
        /// A part of the key
        pattern: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Print every key with its value and where it comes from, as TOML
    #[arg(long)]
    print: bool,
}

pub(super) fn check_config(arguments: &CheckArguments, sources: &Sources) -> ExitCode {
    warn(sources);
    let checked = check(sources).and_then(|ok| match arguments.print {
        true => Ok(print(sources)? + ok),
        false => Ok(ok.to_owned()),
    });
    finish(checked, false)
}

pub(super) fn run(command: &ConfigCommand, sources: &Sources) -> ExitCode {
    match command {
        ConfigCommand::Check => {
            warn(sources);
            finish(check(sources).map(str::to_owned), false)
        }
        ConfigCommand::Print => {
            warn(sources);
            finish(check(sources).and_then(|_| print(sources)), false)
        }
        ConfigCommand::Keys { pattern } => {
            let pattern = pattern.as_deref().unwrap_or_default();
            let found = keys(DEFAULTS, pattern);
            let found = match found.is_empty() {
                true => Err(CliError::new(
                    NOT_FOUND,
                    format!("no key contains \"{pattern}\""),
                )),
                false => Ok(found),
            };
            finish(found, false)
        }
    }
}

/// Names variables that match no key.
fn warn(sources: &Sources) {
    for warning in sources.warnings() {
        print_error(&warning);
    }
}

/// "ok", or every fault.
fn check(sources: &Sources) -> Result<&'static str, CliError> {
    let faults = match sources.load() {
        Ok(config) => {
            let faults = app::check(&config);
            let faults: Vec<_> = faults.iter().map(|error| app::chain(error)).collect();
            faults.join("\n")
        }
        Err(error) => error.to_string(),
    };
    match faults.is_empty() {
        true => Ok("ok\n"),
        false => Err(CliError::new(MISCONFIGURED, faults)),
    }
}

/// Every key in effect, as TOML.
fn print(sources: &Sources) -> Result<String, CliError> {
    let shown = sources.shown();
    shown.map_err(|error| CliError::new(MISCONFIGURED, error.to_string()))
}

/// The keys of the default file that contain a text, each with its comment and its default.
fn keys(defaults: &str, pattern: &str) -> String {
    let (mut section, mut comment, mut out) = (String::new(), String::new(), String::new());
    for line in defaults.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = format!("{name}.");
            comment.clear();
        } else if line.starts_with('#') {
            comment.push_str(line);
            comment.push('\n');
        } else if let Some((key, value)) = line.split_once(" = ") {
            if format!("{section}{key}").contains(pattern) {
                out.push_str(&format!("{comment}{section}{key} = {value}\n\n"));
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    out.trim_end().to_owned() + if out.is_empty() { "" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn keys_are_shown_with_section_comment_and_default() {
        let file = "[a]\n# one\n# line\nx = 1\ny = \"2\"\n\n[b.c]\n# other\nx = 3\n";
        assert_eq!(keys(file, "b.c"), "# other\nb.c.x = 3\n");
        assert_eq!(
            keys(file, "x"),
            "# one\n# line\na.x = 1\n\n# other\nb.c.x = 3\n"
        );
        assert_eq!(keys(file, "zz"), "");
    }
}
