//! The commands that ask a running daemon: what they print, and their exit codes.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::daemon::{Daemon, musterd};

/// A command with its exit code and its two streams.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    error: String,
}

fn run(daemon: &Daemon, arguments: &[&str]) -> Ran {
    let mut command = musterd(&[&["--address", &daemon.url], arguments].concat());
    ran(command.stdin(Stdio::null()).output().unwrap())
}

fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        error: text(output.stderr),
    }
}

#[track_caller]
fn succeeds(daemon: &Daemon, arguments: &[&str]) -> String {
    let ran = run(daemon, arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran.out
}

#[track_caller]
fn fails(daemon: &Daemon, arguments: &[&str], code: i32, message: &str) {
    let ran = run(daemon, arguments);
    assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
    assert!(ran.error.contains(message), "{arguments:?}: {ran:?}");
}

/// Three instances of `web`, of which two are healthy.
fn daemon_with_instances() -> Daemon {
    let daemon = Daemon::start(&[]);
    for (port, zone) in [("1001", "a"), ("1002", "b"), ("1010", "a")] {
        let id = format!("web-{port}");
        let out = succeeds(
            &daemon,
            &[
                "register",
                "web",
                "--port",
                port,
                "--id",
                &id,
                "--zone",
                zone,
                "--tag",
                "blue",
                "--ttl",
                "60s",
                "--meta",
                "team=core",
                "--version",
                "1.2",
            ],
        );
        assert!(
            out.starts_with(&format!("registered {id}, healthy, incarnation ")),
            "{out}"
        );
    }
    succeeds(&daemon, &["disable", "web-1002", "--reason", "disk"]);
    daemon
}

#[test]
fn services_and_instances_are_listed_filtered_and_sorted() {
    let daemon = daemon_with_instances();
    let out = succeeds(&daemon, &["services"]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[0], "NAME  STATUS     HEALTHY  TOTAL  ZONES  CHANGED",
        "{out}"
    );
    assert!(
        lines[1].starts_with("web   unhealthy        2      3      2  "),
        "{out}"
    );
    assert!(lines[1].ends_with(" ago unhealthy"), "{out}");
    assert_eq!(
        succeeds(&daemon, &["services", "--no-header", "--tag", "red"]),
        ""
    );

    let columns = ["--columns", "id,status,address", "--no-header"];
    let list = |more: &[&str]| {
        let arguments = [&["instances", "web"], &columns[..], more].concat();
        succeeds(&daemon, &arguments)
    };
    let all = "web-1001  healthy    127.0.0.1:1001\n\
               web-1002  unhealthy  127.0.0.1:1002\n\
               web-1010  healthy    127.0.0.1:1010\n";
    assert_eq!(list(&[]), all);
    assert!(
        list(&["--sort", "-id"]).starts_with("web-1010"),
        "{}",
        list(&[])
    );
    assert_eq!(list(&["--status", "unhealthy"]).lines().count(), 1);
    let json: Value = serde_json::from_str(&list(&["-o", "json"])).unwrap();
    assert_eq!(json["services"][2]["service_id"], "web-1010");
    fails(
        &daemon,
        &["instances", "web", "--sort", "age"],
        2,
        "no column \"age\"",
    );
    fails(&daemon, &["instances", "wbe"], 3, "did you mean \"web\"?");
    assert_eq!(
        run(&daemon, &["instances", "web", "--exit-code"]).code,
        Some(5)
    );

    let shown = succeeds(&daemon, &["show", "web-1002"]);
    for line in [
        "status       unhealthy",
        "reason       disk",
        "metadata     team = core",
    ] {
        assert!(shown.contains(line), "{line} is not in:\n{shown}");
    }
    fails(&daemon, &["show", "nobody"], 3, "Service not found");
}

#[test]
fn instances_are_drained_enabled_renewed_and_removed() {
    let daemon = daemon_with_instances();
    assert_eq!(
        succeeds(&daemon, &["drain", "web-1001", "--reason", "deploy"]),
        "web-1001: stopping\n"
    );
    assert_eq!(succeeds(&daemon, &["discover", "web"]), "127.0.0.1:1010\n");
    assert_eq!(succeeds(&daemon, &["pick", "web"]), "127.0.0.1:1010\n");
    succeeds(&daemon, &["enable", "web-1001", "web-1002"]);
    let upstream = succeeds(&daemon, &["discover", "web", "--format", "upstream"]);
    assert_eq!(upstream.lines().count(), 3, "{upstream}");
    assert!(
        upstream.contains("server 127.0.0.1:1002 weight=1;\n"),
        "{upstream}"
    );
    let env = succeeds(
        &daemon,
        &["discover", "web", "--zone", "b", "--format", "env"],
    );
    assert_eq!(env, "WEB_0=127.0.0.1:1002\n");

    assert_eq!(
        succeeds(&daemon, &["heartbeat", "web-1001", "web-1002"]),
        "2 renewed\n"
    );
    fails(
        &daemon,
        &["heartbeat", "nobody"],
        3,
        "nobody: Service not found",
    );
    fails(&daemon, &["deregister", "web-1001"], 2, "use --yes");
    fails(
        &daemon,
        &["deregister", "web-1001", "--incarnation", "7", "--yes"],
        1,
        "409",
    );
    let gone = succeeds(
        &daemon,
        &["deregister", "web-1001", "web-1002", "web-1010", "--yes"],
    );
    assert_eq!(gone.lines().count(), 3, "{gone}");
    fails(&daemon, &["pick", "web"], 3, "no instance of \"web\"");
}

#[test]
fn a_registration_from_a_file_and_its_faults() {
    let daemon = Daemon::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.json");
    let body = r#"[{"service_id":"a","service_name":"web","host":"h","port":1},
                   {"service_id":"b","service_name":"web","host":"h","port":2}]"#;
    fs::write(&file, body).unwrap();
    let file = file.display().to_string();
    assert_eq!(
        succeeds(&daemon, &["register", "-f", &file])
            .lines()
            .count(),
        2
    );
    fs::write(
        &file,
        r#"{"service_id":"a","service_name":"web","host":"","port":0}"#,
    )
    .unwrap();
    fails(&daemon, &["register", "-f", &file], 1, "port: ");
    let ran = run(&daemon, &["-o", "json", "register", "-f", &file]);
    let problem: Value = serde_json::from_str(&ran.error).unwrap();
    assert_eq!(problem["status"], 422);
    fails(
        &daemon,
        &["register", "web", "--port", "1", "--check", "smtp"],
        2,
        "http:/path",
    );
}

#[test]
fn a_check_command_answers_with_its_exit_code() {
    let daemon = Daemon::start(&[]);
    let own = daemon.url.rsplit_once(':').unwrap().1;
    let register = |id: &str, port: &str, check: &str| {
        succeeds(
            &daemon,
            &[
                "register", "web", "--id", id, "--port", port, "--check", check,
            ],
        );
    };
    register("good", own, "http:/health");
    register("bad", own, "http:/nothing-there");
    let good = succeeds(&daemon, &["check", "good"]);
    assert!(good.contains("http (http)"), "{good}");
    let list = succeeds(
        &daemon,
        &["instances", "web", "--columns", "id,latency", "--no-header"],
    );
    let latency = list.lines().find_map(|line| line.strip_prefix("good"));
    assert!(latency.is_some_and(|ms| ms.ends_with(" ms")), "{list}");
    let bad = run(&daemon, &["check", "bad"]);
    assert_eq!(bad.code, Some(5), "{bad:?}");
    assert!(bad.out.contains("404"), "{bad:?}");
}

#[test]
fn events_are_shown_and_followed() {
    let daemon = daemon_with_instances();
    let out = succeeds(&daemon, &["events", "--kind", "unhealthy"]);
    assert!(
        out.contains("web web-1002  healthy → unhealthy  (disk)"),
        "{out}"
    );
    let lines = succeeds(&daemon, &["-o", "json", "events", "--limit", "2"]);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);

    let mut child = musterd(&["watch", "web", "--address", &daemon.url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = out.lines().map(Result::unwrap);
    for _ in 0..3 {
        let line = lines.next().unwrap();
        assert!(line.contains("present"), "{line}");
    }
    succeeds(&daemon, &["enable", "web-1002"]);
    let line = lines.next().unwrap();
    assert!(line.contains("web-1002  unhealthy → healthy"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_list_is_shown_again_after_each_change() {
    let daemon = daemon_with_instances();
    let arguments = ["instances", "web", "--watch", "--no-header", "--address"];
    let mut child = musterd(&[&arguments[..], &[&daemon.url]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = out.lines().map(Result::unwrap);
    // Each list ends with an empty line.
    let mut list = || {
        let lines = lines.by_ref().take_while(|line| !line.is_empty());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(list().len(), 3);
    succeeds(&daemon, &["deregister", "web-1002", "--yes"]);
    let mut shown = list();
    while shown.len() == 3 {
        shown = list();
    }
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(!shown.iter().any(|line| line.contains("web-1002")));
    child.kill().unwrap();
    child.wait().unwrap();
    fails(
        &daemon,
        &["services", "--watch", "--columns", "age"],
        2,
        "no column \"age\"",
    );
}

#[test]
fn heartbeats_continue_while_the_daemon_is_away() {
    let daemon = daemon_with_instances();
    let arguments = ["heartbeat", "web-1001", "--every", "100ms", "--address"];
    let mut child = musterd(&[&arguments[..], &[&daemon.url]].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_renewed = || {
        let shown = succeeds(&daemon, &["show", "web-1001", "-o", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["last_heartbeat"] != shown["registered_at"]
    };
    while !is_renewed() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    daemon.signal("-KILL");
    let mut away = 0;
    while away < 2 {
        let line = errors.next().expect("it continues").unwrap();
        away += usize::from(line.contains("no daemon answers"));
    }
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn json_has_the_text_that_the_daemon_has_and_words_have_no_control_characters() {
    let daemon = Daemon::start(&[]);
    let metadata = "text=one\ntwo\u{1b}[2J\u{9b}3J";
    let register = [
        "register", "web", "--port", "1", "--id", "a", "--meta", metadata,
    ];
    succeeds(&daemon, &register);
    let json = succeeds(&daemon, &["show", "a", "-o", "json"]);
    assert!(!json.contains(['\u{1b}', '\u{9b}']), "{json:?}");
    let shown: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(shown["metadata"]["text"], metadata["text=".len()..]);
    let words = succeeds(&daemon, &["show", "a"]);
    assert!(
        words.contains("text = one\\ntwo\\u{1b}[2J\\u{9b}3J\n"),
        "{words:?}"
    );
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let mut child = musterd(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::with_capacity(16, child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    drop(out);
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!((ended.code, &*ended.error), (Some(0), ""));
}

#[test]
fn webhooks_and_routes_are_managed() {
    let daemon = daemon_with_instances();
    let url = "http://127.0.0.1:1/hook";
    let id = succeeds(&daemon, &["watchers", "add", url, "--event", "registered"]);
    let list = succeeds(
        &daemon,
        &[
            "watchers",
            "list",
            "--columns",
            "id,service,url",
            "--no-header",
        ],
    );
    assert_eq!(list, format!("{}  *  {url}\n", id.trim()));
    succeeds(&daemon, &["watchers", "remove", id.trim()]);
    fails(&daemon, &["watchers", "remove", id.trim()], 3, "404");

    succeeds(
        &daemon,
        &[
            "routes",
            "set",
            "r1",
            "--prefix",
            "/api",
            "--service",
            "web",
        ],
    );
    let list = succeeds(&daemon, &["routes", "list", "--no-header"]);
    assert_eq!(list, "r1  /api  web  all  0\n");
    let to = succeeds(&daemon, &["routes", "resolve", "/api/x"]);
    assert!(to.starts_with("r1  web-10"), "{to}");
    succeeds(&daemon, &["routes", "remove", "r1"]);
    fails(&daemon, &["routes", "resolve", "/api/x"], 3, "404");
}

#[test]
fn the_broker_is_listed_and_its_queues_are_purged_after_a_question() {
    let daemon = Daemon::start(&[]);
    let overview = succeeds(&daemon, &["broker", "overview"]);
    assert!(overview.contains("queues             8"), "{overview}");
    let queues = succeeds(
        &daemon,
        &["broker", "queues", "--name", "musterd.dead", "--no-header"],
    );
    assert!(queues.starts_with("musterd.dead  /  classic"), "{queues}");
    for list in [
        "connections",
        "channels",
        "exchanges",
        "bindings",
        "consumers",
    ] {
        let out = succeeds(&daemon, &["broker", list]);
        assert!(
            out.lines()
                .next()
                .is_some_and(|head| head == head.to_uppercase()),
            "{out}"
        );
    }
    assert_eq!(succeeds(&daemon, &["broker", "peek", "musterd.dead"]), "");
    fails(
        &daemon,
        &["broker", "purge", "musterd.dead"],
        2,
        "purge musterd.dead: 0 messages?",
    );
    let purged = succeeds(&daemon, &["broker", "purge", "musterd.dead", "--yes"]);
    assert_eq!(purged, "0 messages purged\n");
    fails(&daemon, &["broker", "delete", "nothing", "--yes"], 3, "404");
}

#[test]
fn without_a_daemon_the_code_is_four_and_the_message_says_what_to_do() {
    let ran = ran(musterd(&["services", "--address", "127.0.0.1:1"])
        .output()
        .unwrap());
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.error.contains("musterd serve"), "{ran:?}");
    let wrong = musterd(&["services", "--address", "ftp://x"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn the_address_comes_from_the_environment_too() {
    let daemon = Daemon::start(&[]);
    let output = musterd(&["services"])
        .env("MUSTERD_ADDRESS", &daemon.url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn completions_are_valid_for_the_shell() {
    let script = ran(musterd(&["completions", "bash"]).output().unwrap());
    assert_eq!(script.code, Some(0));
    let mut bash = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin
        .take()
        .unwrap()
        .write_all(script.out.as_bytes())
        .unwrap();
    assert!(bash.wait().unwrap().success());
    assert!(script.out.contains("deregister"));
}

#[test]
fn keys_of_the_configuration_are_explained() {
    let ran = ran(musterd(&["config", "keys", "http.listen"])
        .output()
        .unwrap());
    assert!(
        ran.out.contains("http.listen = \"127.0.0.1:8000\""),
        "{ran:?}"
    );
    let none = musterd(&["config", "keys", "no.such.key"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(3));
    let checked = musterd(&["config", "check"]).output().unwrap();
    assert_eq!(checked.stdout, b"ok\n");
    // What is printed is a configuration.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("musterd.toml");
    let printed = musterd(&["config", "print"]).output().unwrap();
    fs::write(&file, &printed.stdout).unwrap();
    let file = file.display().to_string();
    let mut again = musterd(&["config", "print", "--config", &file]);
    let again = again.output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{again:?}");
}

/// `UPDATE=1 cargo test --test it man_pages` writes them.
#[test]
fn man_pages_say_what_the_command_line_says() {
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let made = tempfile::tempdir().unwrap();
    let folder = match std::env::var_os("UPDATE") {
        Some(_) => kept.clone(),
        None => made.path().to_owned(),
    };
    let output = musterd(&["man", &folder.display().to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let pages = |folder: &std::path::Path| {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
        let pages = files.map(|file| (file.file_name(), fs::read_to_string(file.path()).unwrap()));
        pages.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (kept, made) = (pages(&kept), pages(&folder));
    let names = kept.keys().chain(made.keys());
    let stale: Vec<_> = names
        .filter(|name| kept.get(*name) != made.get(*name))
        .collect();
    assert!(stale.is_empty(), "UPDATE=1 writes the pages: {stale:?}");
}
