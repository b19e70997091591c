//! Questions before something is removed.

use std::io::{self, IsTerminal, Write};

use super::outcome::{CliError, FAILED, MISCONFIGURED};

/// Asks on the terminal, unless `--yes` was given.
///
/// # Errors
/// The answer is no, or there is no terminal to ask on.
pub(super) fn ask(yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message = format!("{question}\nthere is no terminal to ask on: use --yes");
        return Err(CliError::new(MISCONFIGURED, message));
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "{question} [y/N] ")
        .and_then(|()| io::stderr().flush())
        .and_then(|()| io::stdin().read_line(&mut answer));
    match asked {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(CliError::new(FAILED, "nothing was changed")),
    }
}
