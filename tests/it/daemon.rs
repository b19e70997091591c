//! The binary as a user has it: arguments, signals, exit codes.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon of the test's own, on free ports; killed when it goes out of scope.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) url: String,
    /// The log up to the line with its address.
    pub(crate) first: Vec<Value>,
    log: mpsc::Receiver<Value>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::run(&mut musterd(arguments))
    }

    /// Starts the command of a daemon.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tx, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if tx.send(value).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self {
            child,
            url: String::new(),
            first: Vec::new(),
            log,
        };
        let mut first = Vec::new();
        let line = daemon.logged(|line| {
            first.push(line.clone());
            line.get("http.address").is_some()
        });
        daemon.first = first;
        daemon.url = format!("http://{}", line["http.address"].as_str().unwrap());
        daemon
    }

    /// Waits for a line of the log.
    pub(crate) fn logged(&self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).expect("the line comes in time");
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Ends the daemon in good order: the rest of its log.
    pub(crate) fn stop(&self) -> Vec<Value> {
        self.signal("-TERM");
        let line = || self.log.recv_timeout(PATIENCE);
        std::iter::from_fn(|| line().ok()).collect()
    }

    /// How often each of its threads of this name has run.
    fn runs(&self, name: &str) -> Vec<u64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let tasks = tasks.map(|task| task.unwrap().path());
        // None for a thread that has ended since.
        let runs = |task: PathBuf| {
            let read = |file: &str| std::fs::read_to_string(task.join(file)).ok();
            let schedstat = read("schedstat")
                .filter(|_| read("comm").as_deref().map(str::trim) == Some(name))?;
            schedstat.split_whitespace().nth(2)?.parse().ok()
        };
        tasks.filter_map(runs).collect()
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends it a signal such as "-STOP".
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for its end.
    pub(crate) fn exit_code(mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it exits, it is not killed");
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Sends a process of the test's own a signal such as "-TERM".
pub(crate) fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([name, &id]).status();
    assert!(sent.unwrap().success());
}

pub(crate) fn musterd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
    let free = ["http", "broker", "consul", "dns"].map(|door| format!("{door}.listen=127.0.0.1:0"));
    for key in free.iter().map(String::as_str).chain([
        "broker.management_listen=",
        "store.path=",
        "log.format=json",
    ]) {
        command.args(["--set", key]);
    }
    command.args(arguments);
    command
}

#[tokio::test]
async fn http_is_served_on_as_many_separate_threads_as_configured() {
    let daemon = Daemon::start(&["--set", "threads.http=3", "--set", "threads.other=1"]);
    let before = daemon.runs("musterd-http");
    assert_eq!(before.len(), 3);
    let client = reqwest::Client::new();
    for _ in 0..20 {
        let answer = client.get(format!("{}/health", daemon.url)).send().await;
        assert_eq!(answer.unwrap().status(), 200);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let ran: u64 = daemon.runs("musterd-http").iter().sum();
    assert!(ran >= before.iter().sum::<u64>() + 10, "{before:?}, {ran}");
}

#[test]
fn without_http_there_is_no_http_thread() {
    let mut without = musterd(&["--set", "http.listen=", "--set", "threads.other=2"]);
    let mut child = without.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap().contains("AMQP is served"))
        .unwrap()
        .unwrap();
    let (log, url) = (mpsc::channel().1, String::new());
    let daemon = Daemon {
        child,
        url,
        first: Vec::new(),
        log,
    };
    assert_eq!(daemon.runs("musterd-http"), [0; 0]);
    // A thread takes its name once it runs.
    let deadline = Instant::now() + PATIENCE;
    while daemon.runs("musterd-other").len() < 2 {
        assert!(Instant::now() < deadline, "two threads in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn too_many_threads_are_reported_with_exit_code_1() {
    let refused = musterd(&["--set", "threads.http=1024"]);
    // Each thread has 2 MiB for its stack.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 1500000; exec \"$0\" \"$@\""])
        .arg(refused.get_program())
        .args(refused.get_args())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("1024 threads can't be started"), "{log}");
}

/// The messages of the log at info.
fn messages(lines: &[Value]) -> Vec<String> {
    let at_info = lines.iter().filter(|line| line["level"] == "INFO");
    let message = at_info.map(|line| line["message"].as_str().unwrap().to_owned());
    message.collect()
}

/// Whether a message is about a change that a client asked for.
fn is_change(message: &str) -> bool {
    ["instance", "the status", "the override", "route", "webhook"]
        .iter()
        .any(|begin| message.starts_with(begin))
}

#[test]
fn the_banner_has_at_most_six_lines_also_with_a_store_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    crate::amqp::tls::write_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let keys = [
        format!("store.path={}", file("data")),
        "broker.tls.listen=127.0.0.1:0".to_owned(),
        format!("broker.tls.certificate={}", file("server.pem")),
        format!("broker.tls.key={}", file("server.key")),
    ];
    let arguments: Vec<_> = keys.iter().flat_map(|key| ["--set", key]).collect();
    let daemon = Daemon::start(&arguments);
    let mut lines = daemon.first.clone();
    daemon.logged(|line| {
        lines.push(line.clone());
        line["message"].as_str().unwrap().starts_with("musterd ")
    });
    let banner = messages(&lines);
    assert!(banner.len() <= 6, "{banner:#?}");
    let amqp = banner.iter().find(|text| text.starts_with("AMQP")).unwrap();
    assert!(
        amqp.contains("amqp://") && amqp.contains("amqps://"),
        "{amqp}"
    );
}

#[tokio::test]
async fn the_log_has_a_banner_of_at_most_six_lines_and_one_line_for_each_change() {
    let mut child = musterd(&[]).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let lines = lines.map_while(Result::ok);
    let (tx, log) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let read = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        read.inspect(|line| drop(tx.send(line.clone())))
            .collect::<Vec<_>>()
    });
    let daemon = Daemon {
        child,
        url: String::new(),
        first: Vec::new(),
        log,
    };
    let address = daemon.logged(|line| line.get("http.address").is_some());
    let url = format!("http://{}", address["http.address"].as_str().unwrap());
    daemon.logged(|line| line["message"].as_str().unwrap().contains("; Consul: "));

    let client = reqwest::Client::new();
    let ask = async |method: &str, path: &str, body: Value| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.request(method, format!("{url}{path}")).json(&body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.unwrap()
    };
    let one = json!({"service_id": "a", "service_name": "web", "host": "127.0.0.1", "port": 80});
    // Only the lease is renewed by the second one.
    ask("POST", "/services/register", one.clone()).await;
    ask("POST", "/services/register", one).await;
    let stopping = json!({"status": "stopping", "reason": "deploy"});
    ask("PUT", "/services/a/override", stopping).await;
    ask("DELETE", "/services/a/override", Value::Null).await;
    let route = json!({"path_prefix": "/web", "service_name": "web"});
    ask("PUT", "/gateway/routes/r", route).await;
    ask("DELETE", "/gateway/routes/r", Value::Null).await;
    let webhook = json!({"callback_url": "http://127.0.0.1:9/?token=secret"});
    let webhook = ask("POST", "/watchers", webhook).await;
    let id = serde_json::from_str::<Value>(&webhook).unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    ask("DELETE", &format!("/watchers/{id}"), Value::Null).await;
    ask("DELETE", "/services/a", Value::Null).await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), 0);

    let log = messages(&reader.join().unwrap());
    let changes: Vec<_> = log.iter().filter(|text| is_change(text)).collect();
    let expected = [
        "instance \"a\" of service \"web\" is registered at 127.0.0.1:80 over REST from "
            .to_owned(),
        "the status of instance \"a\" is overridden with stopping over REST from ".to_owned(),
        "the override of instance \"a\" is lifted over REST from ".to_owned(),
        "route \"r\" is set: /web goes to service \"web\" over REST from ".to_owned(),
        "route \"r\" is removed over REST from ".to_owned(),
        format!("webhook {id} to http://127.0.0.1:9/ is added"),
        format!("webhook {id} is removed"),
        "instance \"a\" of service \"web\" is deregistered over REST from ".to_owned(),
    ];
    assert_eq!(changes.len(), expected.len(), "{log:#?}");
    for (change, expected) in changes.iter().zip(&expected) {
        assert!(change.starts_with(expected), "{change}");
    }
    let first = log.iter().position(|text| text.starts_with("instance"));
    assert!(first.unwrap() <= 6, "{log:#?}");
    let version = log.iter().position(|text| text.starts_with("musterd 0."));
    assert!(version < first, "{log:#?}");
}

#[tokio::test]
async fn a_service_registers_is_found_and_the_daemon_stops_when_asked() {
    let daemon = Daemon::start(&[]);
    let client = reqwest::Client::new();
    let registration =
        json!({"service_id": "a", "service_name": "web", "host": "127.0.0.1", "port": 80});
    let answer = client
        .post(format!("{}/services/register", daemon.url))
        .json(&registration)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let found: Value = client
        .get(format!("{}/services/discover/web", daemon.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(found["total_count"], 1);
    assert_eq!(found["services"][0]["port"], 80);

    // A stream is open: the stop ends it at once and does not wait for it.
    let mut stream = client
        .get(format!("{}/watch", daemon.url))
        .send()
        .await
        .unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    let asked = Instant::now();
    daemon.signal("-TERM");
    while let Ok(Some(_)) = stream.chunk().await {}
    assert_eq!(daemon.exit_code(), 0);
    assert!(
        asked.elapsed() < Duration::from_secs(9),
        "it stops well before its grace period is over"
    );
}

#[test]
fn a_request_that_never_ends_does_not_make_the_stop_fail() {
    let daemon = Daemon::start(&["--set", "http.drain=200ms"]);
    let address = daemon.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream
        .write_all(
            b"POST /services/register HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{",
        )
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), 0);
}

#[test]
fn an_interrupt_is_a_stop_too() {
    let daemon = Daemon::start(&[]);
    daemon.signal("-INT");
    assert_eq!(daemon.exit_code(), 0);
}

#[test]
fn configuration_faults_are_reported_with_exit_code_2() {
    let output = musterd(&[
        "--set",
        "http.listen=nowhere",
        "--set",
        "stop.grace=soon",
        "--set",
        "htpp.x=1",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("stop.grace") && log.contains("htpp"), "{log}");
    let output = musterd(&["--set", "log.level=loud=very"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("log.level")
    );
    assert_eq!(
        musterd(&["--no-such-flag"]).output().unwrap().status.code(),
        Some(2)
    );
    assert_eq!(
        musterd(&["check-config"]).output().unwrap().status.code(),
        Some(0)
    );
    let directives = "log.level=warn, musterd::health=debug,";
    let output = musterd(&["check-config", "--set", directives]).output();
    assert_eq!(output.unwrap().status.code(), Some(0));
}

#[test]
fn check_config_finds_faults_of_the_broker() {
    for (key, value, log) in [
        ("broker.tls.listen", "127.0.0.1:0", "broker.tls.certificate"),
        ("broker.limits.connections", "1", "between 4 and"),
        ("broker.auth_mechanisms", "PLAIN, NTLM", "RABBIT-CR-DEMO"),
        ("broker.users.bob.permissions./.configure", "[", "bob"),
        (
            "broker.listen",
            "no.such.host.invalid:5672",
            "broker.listen",
        ),
    ] {
        let set = format!("{key}={value}");
        let output = musterd(&["check-config", "--set", &set]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{set}: {said}");
        assert!(said.contains(log), "{set}: {said}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_and_the_code_is_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = musterd(&["--set", &format!("http.listen={address}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains(&address.to_string()), "{log}");
    assert_eq!(log.matches("in use").count(), 1, "{log}");
}

#[tokio::test]
async fn a_hangup_reloads_the_log_level_and_the_cors_policy() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[log]\nlevel = 'info'\n").unwrap();
    let daemon = Daemon::start(&["--config", file.path().to_str().unwrap()]);
    let client = reqwest::Client::new();
    let allowed = async || {
        let request = client
            .get(format!("{}/health", daemon.url))
            .header("origin", "https://other.example");
        let answer = request.send().await.unwrap();
        answer
            .headers()
            .get("access-control-allow-origin")
            .is_some()
    };
    assert!(!allowed().await, "local origins by default");

    write!(file, "[http.cors]\norigins = ['https://other.example']\n").unwrap();
    daemon.signal("-HUP");
    daemon.logged(|line| line.to_string().contains("reloaded"));
    assert!(allowed().await, "the one that is named");

    writeln!(file, "credentials = 'perhaps'").unwrap();
    daemon.signal("-HUP");
    daemon.logged(|line| line.to_string().contains("http.cors.credentials"));
    assert!(allowed().await, "a faulty configuration changes nothing");
}

#[test]
fn the_health_command_reports_whether_the_daemon_answers() {
    let daemon = Daemon::start(&[]);
    let address = daemon.url.trim_start_matches("http://").to_owned();
    let ask = |address: &str| musterd(&["health", "--address", address]).output().unwrap();
    assert_eq!(ask(&address).status.code(), Some(0));
    drop(daemon);
    let output = ask(&address);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&address));
}
