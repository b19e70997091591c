//! The commands of the binary with TLS: certificates for a first try, and a daemon that is asked over https.

use std::process::Command;

use super::site::{Site, Wanted, address};
use crate::daemon::{Daemon, musterd};

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.env_remove("MUSTERD_CA").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
#[expect(clippy::too_many_lines, reason = "one journey, step by step")]
fn certificates_for_a_first_try_work_as_they_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("tls");
    let dir = dir.to_str().unwrap();
    let make = [
        "tls",
        "self-signed",
        "--name",
        "registry.example.com",
        "--dir",
        dir,
    ];
    let (code, text) = run(&mut musterd(&make));
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let at = lines.iter().position(|line| *line == "[http.tls]").unwrap();
    let config = folder.path().join("musterd.toml");
    std::fs::write(&config, lines[at..at + 3].join("\n")).unwrap();
    let config = config.to_str().unwrap();
    let curl = lines.iter().find(|line| line.starts_with("curl ")).unwrap();
    let (code, again) = run(&mut musterd(&make));
    assert_eq!(code, Some(1));
    assert!(again.contains("exists already"), "{again}");

    let daemon = Daemon::start(&["--config", config, "--set", "broker.listen="]);
    let port = address(&daemon).port();
    let curl = curl.rsplit_once(':').unwrap().0;
    let asked = format!("{curl}:{port}/health --silent --show-error");
    let (code, answer) = run(Command::new("sh").args(["-c", &asked]));
    assert_eq!(code, Some(0), "{answer}");
    assert!(answer.contains("\"status\""), "{answer}");

    let url = format!("https://localhost:{port}");
    let own = format!("http.listen=127.0.0.1:{port}");
    let ca = format!("{dir}/ca.pem");
    // By the certificate of the configuration, whatever its names are; and by the root.
    for good in [
        &["health", "--config", config, "--set", &own][..],
        &["transport", "--config", config, "--set", &own],
        &["health", "--address", &url, "--ca", &ca],
        &["transport", "--url", &url, "--ca", &ca],
    ] {
        let (code, text) = run(&mut musterd(good));
        assert_eq!(code, Some(0), "{good:?}: {text}");
    }
    let mut by_variable = musterd(&["transport", "--url", &url]);
    let output = by_variable.env("MUSTERD_CA", &ca).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let listen = "http.listen=127.0.0.2:0";
    let other = Daemon::start(&[
        "--config",
        config,
        "--set",
        "broker.listen=",
        "--set",
        listen,
    ]);
    let other_name = format!("https://{}", address(&other));
    for (refused, expected) in [
        (&["transport", "--url", &url][..], "certificate"),
        (&["health", "--address", &url], "certificate"),
        (&["transport", "--url", &url, "--ca", "/nowhere"], "--ca: "),
        (
            &["transport", "--url", &url, "--ca", &ca, "--cert", "x"],
            "--cert: needs --cert-key",
        ),
        (
            &["transport", "--url", &other_name, "--ca", &ca],
            "certificate",
        ),
    ] {
        let (code, text) = run(&mut musterd(refused));
        assert_ne!(code, Some(0), "{refused:?}");
        assert!(text.contains(expected), "{refused:?}: {text}");
    }
}

#[test]
fn a_command_shows_the_certificate_that_the_daemon_requires() {
    let site = Site::new();
    site.issue("ops", &Wanted::default());
    let daemon = site.start(&site.client_auth("required"));
    let url = format!("https://{}", address(&daemon));
    let ca = site.text("root.pem");
    let ask = ["transport", "--url", &url, "--ca", &ca];
    let (code, text) = run(&mut musterd(&ask));
    assert_ne!(code, Some(0), "{text}");
    let pair = [site.text("ops.pem"), site.text("ops.key")];
    let with = ["--cert", &pair[0], "--cert-key", &pair[1]];
    let (code, text) = run(&mut musterd(&[&ask[..], &with].concat()));
    assert_eq!(code, Some(0), "{text}");
}
