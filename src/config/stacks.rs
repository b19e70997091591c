//! The stack size of threads.

use std::{env, io, os::unix::process::CommandExt, process::Command};

/// The variable from which the standard library reads it.
const KEY: &str = "RUST_MIN_STACK";
/// A frame of 128 KiB holds tables 19,000 deep, of which 2,500 fit into 2 MiB, or a few hundred where nothing
/// is optimized. Only the used part of a stack takes memory.
const BYTES: &str = if cfg!(debug_assertions) {
    "1073741824"
} else {
    "134217728"
};

/// Re-executes the process with a larger `RUST_MIN_STACK`, unless the variable is set. Call it before any thread
/// is started.
///
/// The library for RabbitMQ reads nested tables recursively, as deep as a frame allows, on threads that it
/// starts itself. Only this variable sets the size of their stacks. The embedded broker refuses tables that
/// are so deep.
///
/// # Errors
/// The system does not execute it again; the process continues as it is.
pub fn deepen_stacks() -> io::Result<()> {
    if env::var_os(KEY).is_some() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut again = Command::new(env::current_exe()?);
    Err(again.arg0(name).args(arguments).env(KEY, BYTES).exec())
}
