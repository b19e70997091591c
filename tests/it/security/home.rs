//! A daemon with authentication, and how it is asked.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::daemon::{Daemon, musterd};

/// Longer than anything here takes, however busy the machine is.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const ADMIN: &str = "the-admin-of-this-test-0123456789";
const WEB_POLICY: &str = "[security.policies]\n\
    web = [{ resource = 'service', pattern = 'web-*', access = 'write' },\n\
           { resource = 'watcher', pattern = 'web-*', access = 'write' }]\n";

/// A folder with a store, a configuration and the admin's token in a file.
pub(super) struct Home(pub(super) tempfile::TempDir);

impl Home {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let config = format!(
            "[security]\nadmin_token_file = '{}'\n{WEB_POLICY}",
            path("admin").display()
        );
        std::fs::write(path("musterd.toml"), config).unwrap();
        std::fs::write(path("admin"), ADMIN).unwrap();
        Self(folder)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub(super) fn start(&self, more: &[&str]) -> Daemon {
        let (store, config) = (
            format!("store.path={}", self.path("store")),
            self.path("musterd.toml"),
        );
        let arguments = [
            "--config",
            &config,
            "--set",
            &store,
            "--set",
            "broker.listen=",
        ];
        Daemon::start(&[&arguments, more].concat())
    }
}

pub(super) async fn ask(
    daemon: &Daemon,
    token: &str,
    method: &str,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = Client::new().request(method, format!("{}{path}", daemon.url));
    let request = match token {
        "" => request,
        token => request.bearer_auth(token),
    };
    let request = match body {
        Value::Null => request,
        body => request.json(&body),
    };
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap_or_default())
}

pub(super) async fn get(daemon: &Daemon, token: &str, path: &str) -> (StatusCode, Value) {
    ask(daemon, token, "GET", path, Value::Null).await
}

/// Makes a token with the policy `web`.
pub(super) async fn create(daemon: &Daemon, name: &str) -> String {
    let body = json!({"name": name, "policies": ["web"]});
    let (status, made) = ask(daemon, ADMIN, "POST", "/auth/tokens", body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["stored"], true);
    made["secret"].as_str().unwrap().to_owned()
}

pub(super) async fn register(daemon: &Daemon, token: &str, id: &str, service: &str) -> StatusCode {
    let body =
        json!({"service_id": id, "service_name": service, "host": "127.0.0.1", "port": 8080});
    ask(daemon, token, "POST", "/services/register", body)
        .await
        .0
}

/// What a command of the binary prints, and its exit code.
pub(super) fn run(daemon: &Daemon, token: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let url = ["--url", &daemon.url];
    let mut command = musterd(&[arguments, &url].concat());
    command.env("MUSTERD_TOKEN", token);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Sends a request as it is, and reads whatever comes.
pub(super) fn raw(daemon: &Daemon, request: &str) -> String {
    let mut stream = TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) fn no_secret(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{text}");
    }
}

/// The bytes of all files below a folder.
pub(super) fn files(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => bytes.extend(files(&path)),
            false => bytes.extend(std::fs::read(&path).unwrap()),
        }
    }
    bytes
}
