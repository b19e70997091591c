//! The command line as a whole: it is consistent, and the man pages say what it says.

use std::{fs, path::Path};

use clap::Command;

use super::{command_line, outcome::EXIT_CODES};

#[test]
fn the_command_line_is_consistent() {
    command_line().debug_assert();
}

#[test]
fn every_command_and_argument_explains_itself() {
    visit(&command_line(), &mut |command| {
        let name = command.get_name();
        assert!(
            command.get_about().is_some() || command.is_hide_set(),
            "{name}"
        );
        for argument in command.get_arguments() {
            let explained = argument.get_help().is_some() || argument.is_hide_set();
            assert!(explained, "{name} {}", argument.get_id());
        }
    });
}

fn visit(command: &Command, see: &mut impl FnMut(&Command)) {
    see(command);
    for sub in command.get_subcommands() {
        visit(sub, see);
    }
}

/// `UPDATE=1 cargo test --lib man_pages` writes them.
#[test]
fn man_pages_say_what_the_command_line_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut expected = Vec::new();
    let mut line = command_line().disable_help_subcommand(true);
    line.build();
    pages(&line, "musterd", &mut expected);
    let update = option_env!("UPDATE").is_some() || std::env::var_os("UPDATE").is_some();
    for (name, text) in &expected {
        let file = folder.join(name);
        if update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, text).unwrap();
        }
        let own = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(own, *text, "{name} is not up to date: UPDATE=1 writes it");
    }
    let mut there: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let mut names: Vec<_> = expected.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(there, names);
}

/// The page of a command, and those of its subcommands.
fn pages(command: &Command, name: &str, pages_of: &mut Vec<(String, String)>) {
    let titled = command.clone().name(&*name.to_owned().leak());
    let mut page = Vec::new();
    clap_mangen::Man::new(titled).render(&mut page).unwrap();
    let mut text = String::from_utf8(page).unwrap();
    text.push_str(".SH EXIT STATUS\n");
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!(".TP\n\\fB{code}\\fR\n{meaning}\n"));
    }
    pages_of.push((format!("{name}.1"), text));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        pages(sub, &format!("{name}-{}", sub.get_name()), pages_of);
    }
}
