//! The DNS door as its clients see it: dig, resolvers of proxies, and strangers.

mod backends;
mod clients;
mod doors;
mod limits;
mod proxies;

use std::{net::SocketAddr, process::Command};

use serde_json::{Value, json};

use crate::daemon::Daemon;

/// A daemon, and where it serves DNS.
pub(crate) struct DnsDaemon {
    pub(crate) daemon: Daemon,
    pub(crate) dns: SocketAddr,
    pub(crate) client: reqwest::Client,
}

impl DnsDaemon {
    /// With these keys besides, such as `dns.order=stable`.
    pub(crate) fn start(keys: &[&str]) -> Self {
        let arguments: Vec<_> = keys.iter().flat_map(|key| ["--set", *key]).collect();
        Self::of(Daemon::start(&arguments))
    }

    pub(crate) fn of(daemon: Daemon) -> Self {
        let find = |line: &Value| line.get("dns.address").is_some();
        let first = daemon.first.iter().find(|line| find(line)).cloned();
        let line = first.unwrap_or_else(|| daemon.logged(find));
        Self {
            dns: line["dns.address"].as_str().unwrap().parse().unwrap(),
            client: reqwest::Client::new(),
            daemon,
        }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self
            .client
            .request(method, format!("{}{path}", self.daemon.url));
        let answer = request.json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// Registers an instance without an end.
    pub(crate) async fn register(&self, id: &str, service: &str, host: &str, port: u16) {
        let body = json!({
            "service_id": id, "service_name": service, "host": host, "port": port, "lease": "none",
        });
        self.send("POST", "/services/register", &body).await;
    }

    /// What kdig prints, line by line.
    pub(crate) fn dig(&self, arguments: &str) -> Vec<String> {
        let port = self.dns.port().to_string();
        let address = format!("@{}", self.dns.ip());
        let mut command = Command::new("kdig");
        command.args([&address, "-p", &port, "+timeout=5", "+retry=1"]);
        command.args(arguments.split_whitespace());
        let output = command.output().expect("kdig is there: run tests/setup");
        let text = String::from_utf8(output.stdout).unwrap();
        // An empty line comes before the answer that is asked for again over TCP.
        let retried = |line: &&str| !line.is_empty() && !line.starts_with(";; WARNING: truncated");
        text.lines().filter(retried).map(str::to_owned).collect()
    }
}
