//! `musterd completions` and `musterd man`: generated from the arguments.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Command;
use clap_complete::Shell;

use super::{
    command_line,
    outcome::{CliError, EXIT_CODES, finish},
};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// The folder that gets them
    folder: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command_line(), "musterd", &mut text);
    let text = String::from_utf8(text).map_err(|error| error.to_string());
    finish(text, false)
}

/// Writes a man page for each command.
pub(super) fn man(arguments: &ManArguments) -> ExitCode {
    finish(write(arguments), false)
}

fn write(arguments: &ManArguments) -> Result<String, CliError> {
    let folder = &arguments.folder;
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let mut line = command_line().disable_help_subcommand(true);
    line.build();
    let mut pages = Vec::new();
    collect(&line, "musterd".to_owned(), &mut pages).map_err(failed)?;
    for (name, page) in &pages {
        fs::write(folder.join(name), page).map_err(failed)?;
    }
    Ok(format!("{} pages\n", pages.len()))
}

/// The page of a command, and those of its subcommands.
fn collect(
    command: &Command,
    name: String,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    let mut page = Vec::new();
    // Names of commands live as long as the process: the tree is built once.
    let titled: &'static str = name.clone().leak();
    clap_mangen::Man::new(command.clone().name(titled)).render(&mut page)?;
    page.extend_from_slice(b".SH EXIT STATUS\n");
    for (code, meaning) in EXIT_CODES {
        page.extend_from_slice(format!(".TP\n\\fB{code}\\fR\n{meaning}\n").as_bytes());
    }
    pages.push((format!("{name}.1"), page));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        collect(sub, format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}
