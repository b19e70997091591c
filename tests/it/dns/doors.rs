//! Which clients the door is open to, and what happens when its port is taken.

use std::{net::UdpSocket, process::Stdio};

use super::DnsDaemon;
use crate::daemon::{Daemon, musterd};

#[tokio::test]
async fn with_authentication_the_policies_of_the_door_decide() {
    let secret = "0123456789abcdef0123456789abcdef";
    let start = |policies: &str| {
        let mut command = musterd(&[
            "--set",
            policies,
            "--config",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/dns/policies.toml"),
        ]);
        DnsDaemon::of(Daemon::run(command.env("MUSTERD_ADMIN_TOKEN", secret)))
    };
    for (policies, web, db) in [
        ("dns.policies=", "REFUSED", "REFUSED"),
        ("dns.policies=web", "NOERROR", "NXDOMAIN"),
        ("dns.policies=reader", "NOERROR", "NOERROR"),
    ] {
        let mut daemon = start(policies);
        let mut headers = reqwest::header::HeaderMap::new();
        let value = format!("Bearer {secret}").parse().unwrap();
        headers.insert("authorization", value);
        let client = reqwest::Client::builder().default_headers(headers);
        daemon.client = client.build().unwrap();
        daemon.register("a", "web", "10.0.0.1", 80).await;
        daemon.register("b", "db", "10.0.0.2", 80).await;
        for (name, expected) in [("web", web), ("db", db)] {
            let given = daemon.dig(&format!("{name}.service.musterd A")).join("\n");
            assert!(given.contains(expected), "{policies} {name}: {given}");
        }
        let apex = daemon.dig("+short musterd NS");
        assert_eq!(apex, ["ns.musterd."], "{policies}");
    }
    let output = musterd(&["check-config", "--set", "dns.policies=nobody"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("dns.policies") && said.contains("nobody"),
        "{said}"
    );
}

#[test]
fn an_address_that_others_reach_needs_authentication() {
    let open = musterd(&["--set", "dns.listen=0.0.0.0:0"])
        .output()
        .unwrap();
    let said = String::from_utf8(open.stderr).unwrap();
    assert_eq!(open.status.code(), Some(2), "{said}");
    assert!(said.contains("dns.listen"), "{said}");
}

#[test]
fn a_configured_port_that_is_taken_ends_the_start() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [udp.local_addr().unwrap(), tcp.local_addr().unwrap()] {
        let listen = format!("dns.listen={address}");
        let output = musterd(&["--set", &listen]).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(&address.to_string()), "{log}");
    }
}

/// Alone with the default port: other tests do not use it.
#[test]
fn the_default_port_that_is_taken_is_a_warning() {
    // Another program of this machine may have it, which is the same for the daemon.
    let taken = UdpSocket::bind("127.0.0.1:8600");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_musterd"));
    for key in [
        "http.listen=127.0.0.1:0",
        "broker.listen=",
        "consul.listen=",
        "store.path=",
        "log.format=json",
    ] {
        command.args(["--set", key]);
    }
    let daemon = Daemon::run(command.stdout(Stdio::null()));
    let log: Vec<_> = daemon.first.iter().map(ToString::to_string).collect();
    let warning =
        |line: &&String| line.contains("WARN") && line.contains("dns.listen is not configured");
    assert_eq!(log.iter().filter(warning).count(), 1, "{log:#?}");
    drop(taken);
}
