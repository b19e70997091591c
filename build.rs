//! Has the linker put together what runs when the daemon starts, so that less text is resident.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=layout/startup.ld");
    println!("cargo::rerun-if-env-changed=MUSTERD_LAYOUT");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // GNU ld and lld know such scripts. For another linker there is the switch.
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("PROFILE", "release")
        && !is("MUSTERD_LAYOUT", "off")
    {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("layout/startup.ld");
        println!(
            "cargo::rustc-link-arg-bin=musterd=-Wl,-T,{}",
            script.display()
        );
    }
}
