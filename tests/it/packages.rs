//! The Debian package, the unit file, and what watches the daemon.

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use crate::daemon::{Daemon, musterd};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Lower is better; `systemd-analyze security` counts from 0 to 10, here in tenths.
const EXPOSURE_MAX: &str = "25";

fn file(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        status.success(),
        "{command:?}: {}{}",
        text(&stdout),
        text(&stderr)
    );
    text(&stdout)
}

#[test]
fn the_unit_file_is_valid_and_hardened() {
    let folder = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(file("config/musterd.service")).unwrap();
    let here = unit.replace("/usr/bin/musterd", env!("CARGO_BIN_EXE_musterd"));
    // The man page is there once the package is.
    let here = here.replace("Documentation=man:musterd(1)\n", "");
    let own = folder.path().join("musterd.service");
    fs::write(&own, here).unwrap();
    succeeds(Command::new("systemd-analyze").arg("verify").arg(&own));
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let arguments = ["security", "--offline=true", "--no-pager", &threshold];
    succeeds(Command::new("systemd-analyze").args(arguments).arg(&own));
}

/// What `Type=notify` and `WatchdogSec` need: READY=1 when it serves, WATCHDOG=1 while it works, STOPPING=1 at the end.
#[test]
fn the_service_manager_is_notified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let daemon = Daemon::run(
        musterd(&[])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "200000"),
    );
    let next = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert!(next().contains("READY=1"));
    for _ in 0..3 {
        assert!(next().contains("WATCHDOG=1"));
    }
    daemon.signal("-TERM");
    let mut last = next();
    while last.contains("WATCHDOG=1") {
        last = next();
    }
    assert!(last.contains("STOPPING=1"), "{last}");
}

/// The package in a folder of its own: what cargo-deb makes of the metadata, unpacked by dpkg.
#[test]
fn the_debian_package_has_what_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("musterd.deb");
    // The binary that the tests use in the place of the one to ship.
    let binary = Path::new(env!("CARGO_BIN_EXE_musterd"));
    let target = binary.parent().unwrap().parent().unwrap();
    let dist = target.join("dist");
    fs::create_dir_all(&dist).unwrap();
    let shipped = dist.join("musterd");
    if !shipped.exists() {
        fs::copy(binary, &shipped).unwrap();
    }
    let tool = file("tests/.local/bin/cargo-deb");
    let mut make = Command::new(tool);
    make.current_dir(ROOT)
        .args(["--no-build", "--no-strip", "--profile", "dist", "--output"])
        .arg(&package);
    succeeds(&mut make);
    let root = folder.path().join("root");
    succeeds(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&package)
            .arg(&root),
    );
    for path in [
        "usr/bin/musterd",
        "usr/lib/systemd/system/musterd.service",
        "etc/musterd/musterd.toml",
        "usr/share/man/man1/musterd.1.gz",
        "usr/share/man/man1/musterd-run.1.gz",
        "usr/share/bash-completion/completions/musterd",
    ] {
        assert!(root.join(path).exists(), "{path}");
    }
    let control = succeeds(Command::new("dpkg-deb").arg("--field").arg(&package));
    assert!(
        control.contains("Package: musterd\n") && control.contains("adduser"),
        "{control}"
    );
    let scripts = folder.path().join("scripts");
    succeeds(
        Command::new("dpkg-deb")
            .arg("--control")
            .arg(&package)
            .arg(&scripts),
    );
    for script in ["postinst", "postrm"] {
        succeeds(Command::new("sh").arg("-n").arg(scripts.join(script)));
    }
    let config = root.join("etc/musterd/musterd.toml");
    assert_eq!(
        group_by(&scripts.join("postinst"), &root),
        config.display().to_string()
    );
    let installed = root.join("usr/bin/musterd");
    let checked = succeeds(
        Command::new(installed)
            .args(["config", "check", "--config"])
            .arg(config),
    );
    assert_eq!(checked, "ok\n");
}

/// The file that the script gives to the group of the service, so that it can be read.
fn group_by(script: &Path, root: &Path) -> String {
    let tools = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("getent", ""),
        ("chgrp", "[ \"$1\" = musterd ] && echo \"$2\""),
    ] {
        let tool = tools.path().join(name);
        fs::write(&tool, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", tools.path().display());
    let mut install = Command::new("sh");
    install.arg(script).arg("configure").env("PATH", path);
    succeeds(install.env("DPKG_ROOT", root))
        .trim_end()
        .to_owned()
}

#[test]
fn completions_of_the_package_are_those_of_the_command_line() {
    for (shell, name) in [
        ("bash", "musterd.bash"),
        ("zsh", "_musterd"),
        ("fish", "musterd.fish"),
    ] {
        let made = musterd(&["completions", shell]).output().unwrap().stdout;
        let kept = file("config/completions").join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(kept.parent().unwrap()).unwrap();
            fs::write(&kept, &made).unwrap();
        }
        let mut own = Vec::new();
        fs::File::open(&kept)
            .unwrap()
            .read_to_end(&mut own)
            .unwrap();
        assert!(own == made, "{name} is not up to date: UPDATE=1 writes it");
    }
}

#[test]
fn alert_rules_hold_and_each_has_a_page() {
    let folder = file("config/observe");
    let promtool = || {
        let mut tool = Command::new("promtool");
        tool.current_dir(&folder);
        tool
    };
    succeeds(promtool().args(["check", "rules", "alerts.yml"]));
    succeeds(promtool().args(["check", "config", "prometheus.yml"]));
    succeeds(promtool().args(["test", "rules", "alerts-test.yml"]));
    let rules = fs::read_to_string(folder.join("alerts.yml")).unwrap();
    let page = fs::read_to_string(file("docs/how-to/alerts.md")).unwrap();
    let mut names: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let mut headings: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    names.sort_unstable();
    headings.sort_unstable();
    assert_eq!(names, headings);
}

/// Each metric that an alert or the Grafana dashboard names is one that the daemon has.
#[tokio::test]
async fn metrics_of_alerts_and_dashboards_exist() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("store.path={}", folder.path().join("state").display());
    let daemon = Daemon::start(&["--set", &store]);
    let url = format!("{}/metrics", daemon.url);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let page = fs::read_to_string(file("docs/reference/metrics.md")).unwrap();
    for path in [
        "config/observe/alerts.yml",
        "config/observe/grafana/musterd.json",
    ] {
        let text = fs::read_to_string(file(path)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| word.starts_with("musterd_") && word.len() > 12);
        for name in names {
            let base = name.trim_end_matches("_bucket");
            // A counter with labels is shown from its first count on; the page of metrics has it.
            let is_shown = metrics.contains(&format!("# TYPE {base} "));
            assert!(is_shown || page.contains(base), "{path}: {name}");
        }
    }
}
