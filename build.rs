//! Has the linker make less of the binary resident in memory when the daemon idles.

use std::{
    env,
    path::Path,
    process::{Command, Output},
};

fn main() {
    println!("cargo::rerun-if-changed=layout/startup.ld");
    println!("cargo::rerun-if-env-changed=MUSTERD_LAYOUT");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // GNU ld and lld know both. For another linker there is the switch.
    if !is("CARGO_CFG_TARGET_OS", "linux")
        || !is("PROFILE", "release")
        || is("MUSTERD_LAYOUT", "off")
    {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("layout/startup.ld");
    link(&format!("-T,{}", script.display()));
    // A table of 0.7 MB, read whole at the start, becomes one of 20 KB.
    let at_home = env::var("HOST").ok() == env::var("TARGET").ok();
    if at_home && knows_packed_relocations() {
        link("-z,pack-relative-relocs");
    }
}

fn link(argument: &str) {
    println!("cargo::rustc-link-arg-bin=musterd=-Wl,{argument}");
}

/// Whether this machine's C library does: glibc from 2.36 on, and no other.
fn knows_packed_relocations() -> bool {
    let asked = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let Ok(Output { stdout, .. }) = asked else {
        return false;
    };
    let told = String::from_utf8_lossy(&stdout);
    let version = told.trim().strip_prefix("glibc 2.").map(str::parse::<u32>);
    matches!(version, Some(Ok(36..)))
}
