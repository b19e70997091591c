//! `musterd run`: the process, its instance, signals and exit codes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tokio::time::Instant;

use crate::daemon::{Daemon, musterd};

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// `musterd run` as a process of the test; killed when it goes out of scope.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Run {
    fn start(url: &str, options: &[&str], command: &[&str]) -> Self {
        let name = ["run", "--name", "web", "--address", url, "--ready", "none"];
        let arguments = [&name, options, &["--"], command].concat();
        let mut run = musterd(&arguments);
        Self(
            run.stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    /// The next line that the command prints.
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let out = self.0.stdout.take().unwrap();
        BufReader::new(out).lines().map(Result::unwrap)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        until("run ends", || self.0.try_wait().unwrap())
    }

    fn code(&mut self) -> Option<i32> {
        self.end().code()
    }
}

#[track_caller]
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        sleep(Duration::from_millis(20));
    }
}

/// The instances of `web`.
fn instances(url: &str) -> Vec<Value> {
    let output = musterd(&["services", "-o", "json", "--address", url])
        .output()
        .unwrap();
    let services: Value = serde_json::from_slice(&output.stdout).unwrap();
    services["web"].as_array().cloned().unwrap_or_default()
}

fn registered(url: &str) -> Value {
    until("registered", || instances(url).first().cloned())
}

fn is_gone(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    test_kill_process(pid).is_err()
}

#[test]
fn a_process_is_an_instance_for_as_long_as_it_runs() {
    let daemon = Daemon::start(&[]);
    let options = ["--port", "4321", "--tag", "blue", "--drain", "0"];
    let script =
        r#"echo $PORT $MUSTERD_SERVICE_ID $MUSTERD_SERVICE_NAME $MUSTERD_ADDRESS; exec sleep 60"#;
    let mut run = Run::start(&daemon.url, &options, &["sh", "-c", script]);
    let line = run.lines().next().unwrap();
    assert_eq!(line, format!("4321 web-127.0.0.1-4321 web {}", daemon.url));
    let instance = registered(&daemon.url);
    assert_eq!(instance["service_id"], "web-127.0.0.1-4321");
    assert_eq!(instance["tags"][0], "blue");
    run.signal(Signal::TERM);
    assert_eq!(run.code(), Some(143));
    assert_eq!(instances(&daemon.url), Vec::<Value>::new());
}

#[test]
fn a_stop_drains_first_and_its_reason_is_shown() {
    let daemon = Daemon::start(&[]);
    let options = ["--port", "4321", "--drain", "20s"];
    let mut run = Run::start(&daemon.url, &options, &["sleep", "60"]);
    registered(&daemon.url);
    run.signal(Signal::INT);
    let drained = || {
        instances(&daemon.url)
            .into_iter()
            .find(|one| one["status"] == "stopping")
    };
    let instance = until("drained", drained);
    assert_eq!(instance["reason"], "run: SIGINT");
    // The second signal skips the wait.
    run.signal(Signal::INT);
    assert_eq!(run.code(), Some(130));
    assert_eq!(instances(&daemon.url), Vec::<Value>::new());
}

#[test]
fn exit_codes_are_those_of_the_command() {
    let daemon = Daemon::start(&[]);
    let port = ["--port", "4321"];
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)] {
        let mut run = Run::start(&daemon.url, &port, &["sh", "-c", script]);
        assert_eq!(run.code(), Some(code), "{script}");
        assert_eq!(instances(&daemon.url), Vec::<Value>::new());
    }
    for (command, code) in [
        ("no-such-command", 127),
        ("/etc/passwd", 126),
        ("/etc", 126),
    ] {
        let mut run = Run::start(&daemon.url, &port, &[command]);
        assert_eq!(run.code(), Some(code), "{command}");
    }
}

#[test]
fn a_command_that_ignores_the_signal_is_killed_with_its_group() {
    let daemon = Daemon::start(&[]);
    let options = ["--port", "4321", "--drain", "0", "--grace", "300ms"];
    let script = "trap '' TERM; sleep 60 & echo $!; wait; wait";
    let mut run = Run::start(&daemon.url, &options, &["sh", "-c", script]);
    let grandchild = run.lines().next().unwrap();
    registered(&daemon.url);
    run.signal(Signal::TERM);
    assert_eq!(run.code(), Some(137));
    until("the grandchild is gone", || {
        is_gone(&grandchild).then_some(())
    });
}

#[test]
fn a_failed_command_is_started_again_up_to_a_limit() {
    let daemon = Daemon::start(&[]);
    let options = [
        "--port",
        "4321",
        "--restart",
        "on-failure",
        "--restart-max",
        "2",
    ];
    let mut run = Run::start(&daemon.url, &options, &["sh", "-c", "echo again; exit 7"]);
    assert_eq!(run.lines().count(), 3);
    assert_eq!(run.code(), Some(7));
}

#[test]
fn without_a_daemon_the_command_runs_and_is_registered_later() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let url = format!("http://{address}");
    let mut run = Run::start(
        &url,
        &["--port", "4321", "--drain", "0"],
        &["sh", "-c", "echo up; exec sleep 60"],
    );
    assert_eq!(run.lines().next().unwrap(), "up");
    let daemon = Daemon::start(&["--set", &format!("http.listen={address}")]);
    registered(&daemon.url);
    // The daemon forgets it: it is registered again at the next heartbeat.
    let deregister = [
        "deregister",
        "web-127.0.0.1-4321",
        "--yes",
        "--address",
        &url,
    ];
    assert!(musterd(&deregister).status().unwrap().success());
    drop(daemon);
    run.signal(Signal::TERM);
    assert_eq!(run.code(), Some(143));
}

#[test]
fn an_instance_that_the_daemon_lost_is_registered_again() {
    let daemon = Daemon::start(&[]);
    let options = ["--port", "4321", "--ttl", "1s", "--drain", "0"];
    let mut run = Run::start(&daemon.url, &options, &["sleep", "60"]);
    let first = registered(&daemon.url);
    let deregister = [
        "deregister",
        "web-127.0.0.1-4321",
        "--yes",
        "--address",
        &daemon.url,
    ];
    assert!(musterd(&deregister).status().unwrap().success());
    let second = registered(&daemon.url);
    assert_ne!(first["incarnation"], second["incarnation"]);
    run.signal(Signal::TERM);
    assert_eq!(run.code(), Some(143));
}

#[test]
fn a_refused_registration_or_a_command_that_is_never_ready_ends_run() {
    let daemon = Daemon::start(&[]);
    let mut refused = Run::start(
        &daemon.url,
        &["--port", "4321", "--id", "musterd-canary"],
        &["sleep", "60"],
    );
    assert_eq!(refused.code(), Some(125));
    let options = ["--port", "0", "--ready", "tcp", "--ready-timeout", "300ms"];
    let mut late = Run::start(&daemon.url, &options, &["sleep", "60"]);
    assert_eq!(late.code(), Some(125));
}

#[test]
fn the_command_ends_when_run_is_killed() {
    let daemon = Daemon::start(&[]);
    let mut run = Run::start(
        &daemon.url,
        &["--port", "4321"],
        &["sh", "-c", "echo $$; exec sleep 60"],
    );
    let child = run.lines().next().unwrap();
    registered(&daemon.url);
    run.signal(Signal::KILL);
    assert_eq!(run.code(), None);
    until("the command is gone", || is_gone(&child).then_some(()));
}

#[test]
fn the_terminal_belongs_to_the_command_in_the_foreground_only() {
    let output = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/run/terminal.py"
        ))
        .arg(env!("CARGO_BIN_EXE_musterd"))
        .output()
        .expect("python3, which tests/setup installs, can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
