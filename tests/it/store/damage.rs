//! Damaged and missing files, and writes that fail, through the whole daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use reqwest::Client;

use super::{body, get, refused, start};
use crate::daemon::{Daemon, musterd};

async fn register(daemon: &Daemon, id: usize) -> Result<u16, reqwest::Error> {
    let request = Client::new().post(format!("{}/services/register", daemon.url));
    let answer = request.json(&body(&format!("i{id}"), 80)).send().await?;
    Ok(answer.status().as_u16())
}

fn command(arguments: &[&str], path: &Path) -> String {
    let output = musterd(&[arguments, &["--path", &path.display().to_string()]].concat());
    let output = { output }.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    text
}

/// A store with a snapshot and a log behind it, both with instances.
async fn made(path: &Path, folder: &Path) {
    let daemon = start(path);
    for id in 0..10 {
        assert_eq!(register(&daemon, id).await.unwrap(), 200);
    }
    let backup = folder.join("backup").display().to_string();
    let made = musterd(&["backup", &backup, "--url", &daemon.url]).status();
    assert!(made.unwrap().success());
    daemon.stop();
    drop(daemon);
    command(&["restore", &backup], path);
    let daemon = start(path);
    for id in 10..20 {
        assert_eq!(register(&daemon, id).await.unwrap(), 200);
    }
    daemon.stop();
}

fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// A file, what happens to it, and what a start says.
type DamageCase = (&'static str, fn(&Path), &'static str);

fn remove(file: &Path) {
    fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_and_missing_files_are_named_and_a_repair_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    made(&sound, folder.path()).await;
    let (log, snapshot) = ("log-0000000002", "snapshot-0000000001");
    let faults: [DamageCase; 6] = [
        (log, flip, "is damaged at byte "),
        (snapshot, flip, "is damaged at byte "),
        ("FORMAT", flip, "does not name the format of a store"),
        (log, remove, "is missing: restore a backup"),
        (snapshot, remove, "is missing: restore a backup"),
        ("FORMAT", remove, "is missing: restore a backup"),
    ];
    for (n, (name, damage, expected)) in faults.into_iter().enumerate() {
        let path = folder.path().join(format!("copy{n}"));
        fs::create_dir(&path).unwrap();
        for file in ["FORMAT", log, snapshot] {
            fs::copy(sound.join(file), path.join(file)).unwrap();
        }
        damage(&path.join(name));
        let (text, code) = refused(&path);
        assert_eq!(code, Some(1), "{text}");
        let last = text.trim().lines().next_back().unwrap();
        assert!(last.contains(name) && last.contains(expected), "{last}");
        let text = command(&["store", "repair"], &path);
        assert!(text.contains("dropped:") && text.contains(name), "{text}");
        let daemon = start(&path);
        let (_, info) = get(&daemon, "/system/info").await;
        let left = info["total_instances"].as_u64().unwrap();
        // One of the files has ten of them, or what is damaged is of another table.
        let expected = match name {
            "FORMAT" => 20..21,
            _ => 9..21,
        };
        assert!(expected.contains(&left), "{name}: {left}");
        assert_eq!(register(&daemon, 99).await.unwrap(), 200);
    }
}

/// A daemon that cannot write a file beyond so many bytes: such a write fails like one on a broken disk.
fn limited(bytes: u64, path: &Path, arguments: &[&str]) -> Daemon {
    let store = format!("store.path={}", path.display());
    let plain = musterd(&[&["--set", &store], arguments].concat());
    let script = format!("trap '' XFSZ; exec prlimit --fsize={bytes} -- \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(plain.get_program());
    command.args(plain.get_args());
    Daemon::run(&mut command)
}

/// The last line of a daemon that stops by itself.
#[track_caller]
fn stopped(daemon: Daemon) -> String {
    let line = daemon.logged(|line| line["message"] == "stopped");
    assert_eq!(daemon.exit_code(), 1);
    assert_eq!(line["level"], "ERROR");
    line["error"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_daemon_with_code_1_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = limited(1 << 16, folder.path(), &["--set", "broker.listen="]);
    let mut registered = 0;
    while let Ok(200) = register(&daemon, registered).await {
        registered += 1;
    }
    assert!(registered > 10, "{registered}");
    let last = stopped(daemon);
    assert!(
        last.contains("writing log-0000000001 failed: File too large"),
        "{last}"
    );
    let daemon = start(folder.path());
    let (_, info) = get(&daemon, "/system/info").await;
    let left = usize::try_from(info["total_instances"].as_u64().unwrap()).unwrap();
    assert!(left >= registered, "{left} of {registered}");
}

/// A channel with confirms, and a durable queue.
async fn queue(daemon: &Daemon) -> (Connection, Channel) {
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let url = format!("amqp://{}/%2f", line["amqp.address"].as_str().unwrap());
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("q".into(), durable, FieldTable::default());
    declared.await.unwrap();
    (connection, channel)
}

/// Publishes a message; whether it was confirmed.
async fn publish(channel: &Channel, body: &[u8]) -> bool {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), "q".into(), options, body, persistent);
    match sent.await {
        Ok(confirm) => confirm.await.is_ok_and(|confirm| confirm.is_ack()),
        Err(_) => false,
    }
}

fn first_segment(path: &Path) -> PathBuf {
    path.join("messages/segment-0000000001")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_written_ends_the_daemon_too() {
    let folder = tempfile::tempdir().unwrap();
    // Above the space that is held for settlements.
    let daemon = limited(5 << 20, folder.path(), &[]);
    let (_connection, channel) = queue(&daemon).await;
    let mut confirmed = 0;
    while publish(&channel, &[7; 1 << 20]).await {
        confirmed += 1;
    }
    assert!((1..5).contains(&confirmed), "{confirmed}");
    let last = stopped(daemon);
    assert!(last.contains("File too large"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_read_back_ends_the_daemon_and_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("store.path={}", folder.path().display());
    let memory = "broker.limits.queue_memory=64KiB";
    let daemon = Daemon::start(&["--set", &path, "--set", memory]);
    let (_connection, channel) = queue(&daemon).await;
    for _ in 0..20 {
        assert!(publish(&channel, &[7; 32 << 10]).await);
    }
    flip(&first_segment(folder.path()));
    for _ in 0..20 {
        let options = BasicGetOptions { no_ack: true };
        if channel.basic_get("q".into(), options).await.is_err() {
            break;
        }
    }
    let last = stopped(daemon);
    assert!(
        last.contains("segment-0000000001") && last.contains("is damaged at byte "),
        "{last}"
    );
}
