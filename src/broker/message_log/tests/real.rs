//! With the thread and the file system.

use std::os::unix::fs::PermissionsExt;

use super::{super::MessageLog, *};

fn open(folder: &Path) -> (MessageLog, RecoveredMessages) {
    MessageLog::open(folder, MessageLogOptions::default()).expect("it opens")
}

#[test]
fn confirmed_messages_of_many_threads_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vhost/messages");
    let (log, recovered) = open(&path);
    assert_eq!(recovered.queues, []);
    let (tell, told) = std::sync::mpsc::channel();
    log.on_durable(move |position| {
        let _ = tell.send(position);
    });
    std::thread::scope(|scope| {
        for queue in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                for n in 0..250 {
                    let body = format!("{queue} {n}");
                    let position = log.append(&message(body.as_bytes()), &[place(queue, at(n))]);
                    log.request_durable(position);
                }
            });
        }
    });
    while told
        .recv_timeout(Duration::from_secs(60))
        .expect("a report")
        < 1000
    {}
    assert_eq!(log.durable(), 1000);
    assert_eq!(log.stats().live_messages, 1000);
    assert!(
        log.read(0, at(7))
            .unwrap()
            .is_some_and(|one| one.body == "0 7")
    );
    for queue in 0..4 {
        log.settle(queue, at(0));
        log.deliver(queue, at(1));
    }
    log.close().unwrap();
    let (log, recovered) = open(&path);
    assert_eq!(recovered.dropped, None);
    assert_eq!(recovered.queues.len(), 4);
    for queue in recovered.queues {
        assert_eq!(queue.messages, 249);
        let limits = ReadLimits::default();
        let found = log.read_from(queue.queue, 0..=u64::MAX, limits).unwrap();
        let bodies = (1..250).map(|n| format!("{} {n}", queue.queue));
        assert!(
            found
                .iter()
                .map(|one| &one.body[..])
                .eq(bodies.map(String::into_bytes))
        );
        assert!(found[0].redelivered && !found[1].redelivered);
    }
}

#[test]
fn what_was_appended_is_written_when_the_last_handle_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let state = log.state();
    log.append(&message(b"last words"), &[place(1, at(0))]);
    drop(log);
    // The lock is free when the thread has ended.
    let mut opened = None;
    for _ in 0..6000 {
        match MessageLog::open(folder.path(), MessageLogOptions::default()) {
            Ok((log, _)) => {
                opened = Some(log);
                break;
            }
            Err(MessageLogError::Locked { .. }) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    }
    let log = opened.expect("it ends");
    assert!(log.read(1, at(0)).unwrap().is_some());
    drop(state);
}

#[test]
fn only_its_owner_may_read_it_and_only_one_may_open_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broker/%2F/messages");
    let (log, _) = open(&path);
    let Err(MessageLogError::Locked { path: locked }) =
        MessageLog::open(&path, MessageLogOptions::default())
    else {
        panic!("it is locked");
    };
    assert_eq!(locked, path);
    let position = log.append(&message(b"secret"), &[place(1, at(0))]);
    log.request_durable(position);
    log.close().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 2);
    for file in files {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
    open(&path).0.close().unwrap();
}

#[test]
fn only_a_clean_stop_says_that_what_was_not_delivered_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let below = |path: &Path| {
        let (log, recovered) = open(path);
        let below: Vec<_> = recovered
            .queues
            .iter()
            .map(|one| one.returned_below)
            .collect();
        (log, below)
    };
    let copy = |from: &Path| {
        let to = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
        to
    };
    let (log, _) = open(folder.path());
    log.append(&message(b"one"), &[place(1, at(0))]);
    log.append(&message(b"two"), &[place(1, at(1))]);
    log.close().unwrap();
    let (log, found) = below(folder.path());
    assert_eq!(found, [0], "a clean stop");
    let crashed = copy(folder.path());
    log.close().unwrap();
    let (log, found) = below(crashed.path());
    assert_eq!(found, [at(2)]);
    log.append(&message(b"three"), &[place(1, at(2))]);
    log.close().unwrap();
    // It stays so, for these messages only.
    let stopped = copy(crashed.path());
    let (log, found) = below(stopped.path());
    assert_eq!(found, [at(2)]);
    log.close().unwrap();
    // A note that is damaged, or of another log, counts for nothing.
    for at_byte in [0, 16, 30] {
        let damaged = copy(crashed.path());
        let path = damaged.path().join("STOPPED");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at_byte] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (log, found) = below(damaged.path());
        assert_eq!(found, [at(3)], "byte {at_byte}");
        log.close().unwrap();
    }
    // Without the messages there is nothing to know.
    let (log, _) = below(stopped.path());
    log.delete_queue(1);
    log.close().unwrap();
    let (log, found) = below(stopped.path());
    assert!(found.iter().all(|below| *below == 0), "{found:?}");
    log.close().unwrap();
}
