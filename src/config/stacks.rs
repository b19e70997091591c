//! How large the stacks of threads are.

use std::{env, io, os::unix::process::CommandExt, process::Command};

/// What the standard library takes the size of threads' stacks from.
const KEY: &str = "RUST_MIN_STACK";
/// A frame of 128 KiB holds tables 19,000 deep, of which 2,500 fit into 2 MiB, or a few hundred where nothing
/// is optimized. Only what is used takes memory.
const BYTES: &str = if cfg!(debug_assertions) {
    "1073741824"
} else {
    "134217728"
};

/// Has the process begin anew, as itself, with threads that have large stacks; does nothing where that is so.
/// To be called before there is a thread.
///
/// The library that speaks to a broker reads tables within tables on its thread's stack, as deep as a frame
/// holds them, and a thread of its own making gets the size of its stack from this variable alone. The embedded
/// broker lets nothing through that is so deep.
///
/// # Errors
/// It goes on as it is: the system does not start it again.
pub fn deepen_stacks() -> io::Result<()> {
    if env::var_os(KEY).is_some() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut again = Command::new(env::current_exe()?);
    Err(again.arg0(name).args(arguments).env(KEY, BYTES).exec())
}
