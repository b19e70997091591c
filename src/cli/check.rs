//! `musterd check-config`: reads the configuration, reports every fault, prints what is in effect.

use std::process::ExitCode;

use super::{MISCONFIGURED, print, print_error};
use crate::{app, config::Sources};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print every key with its value and where it comes from, as TOML
    #[arg(long)]
    print: bool,
}

pub(super) fn run(arguments: &Arguments, sources: &Sources) -> ExitCode {
    for warning in sources.warnings() {
        print_error(&warning);
    }
    let checked = sources.load().map_err(|error| error.to_string());
    let checked = checked.and_then(|config| {
        let faults: Vec<_> = app::check(&config)
            .iter()
            .map(|error| app::chain(error))
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults.join("\n")),
        }
    });
    if let Err(faults) = checked {
        print_error(&faults);
        return ExitCode::from(MISCONFIGURED);
    }
    if arguments.print {
        match sources.shown() {
            Ok(shown) => print(&shown),
            Err(error) => print_error(&error.to_string()),
        }
    }
    print("ok\n");
    ExitCode::SUCCESS
}
