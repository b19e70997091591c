//! `musterd hash-password`: a password on standard input, its argon2 hash on standard output.

use std::{
    io::{self, IsTerminal, Read},
    process::ExitCode,
};

use super::{outcome::finish, print_error};
use crate::app;

/// The longest password in bytes; more of the input is not read.
const BYTES_MAX: u64 = 64 << 10;

pub(super) fn run() -> ExitCode {
    let hash = read()
        .and_then(|password| app::hash_password(&password).map_err(|error| app::chain(&error)));
    finish(hash.map(|hash| format!("{hash}\n")), false)
}

/// What a person types, or all of the input; without the line end behind it.
pub(super) fn read() -> Result<Vec<u8>, String> {
    let mut password = Vec::new();
    let input = io::stdin();
    if input.is_terminal() {
        print_error("type the password (it is shown) and press Enter");
        let mut line = String::new();
        input
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        password = line.into_bytes();
    } else {
        let read = input.lock().take(BYTES_MAX).read_to_end(&mut password);
        read.map_err(|error| format!("standard input can't be read: {error}"))?;
    }
    for end in [b'\n', b'\r'] {
        if password.last() == Some(&end) {
            password.pop();
        }
    }
    if password.is_empty() {
        return Err("the password is empty: give it on standard input".to_owned());
    }
    Ok(password)
}
