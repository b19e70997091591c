//! The command line as a whole: it is consistent, and each part explains itself.

use clap::Command;

use super::command_line;

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
