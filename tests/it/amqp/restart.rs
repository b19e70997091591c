//! What is durable, across kills and restarts of the daemon.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::client::Client;
use crate::daemon::{Daemon, musterd};

/// A daemon that is killed and started again on the same folder.
pub(super) struct Restarted {
    folder: tempfile::TempDir,
    keys: &'static [&'static str],
    daemon: Option<Daemon>,
    addr: SocketAddr,
}

impl Restarted {
    pub(super) fn start() -> Self {
        Self::with(&[])
    }

    fn with(keys: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (daemon, addr) = start(folder.path(), keys);
        Self {
            folder,
            keys,
            daemon: Some(daemon),
            addr,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Kills it with SIGKILL and starts it again.
    pub(super) fn kill(&mut self) {
        drop(self.daemon.take());
        let (daemon, addr) = start(self.folder.path(), self.keys);
        (self.daemon, self.addr) = (Some(daemon), addr);
    }

    /// Stops it in good order and starts it again.
    pub(super) fn restart(&mut self) {
        let daemon = self.daemon.take().unwrap();
        let log = daemon.stop();
        assert!(log.iter().all(|line| line["level"] != "ERROR"), "{log:?}");
        assert_eq!(daemon.exit_code(), 0);
        let (daemon, addr) = start(self.folder.path(), self.keys);
        (self.daemon, self.addr) = (Some(daemon), addr);
    }

    /// A client with a durable queue and with publisher confirms on channel 1.
    pub(super) fn confirming_client(&self, queue: &str) -> Client {
        let mut client = self.client();
        let declare = format!("queue.declare queue={queue} durable => queue.declare-ok");
        let lines = [&*declare, "confirm.select => confirm.select-ok"];
        script(&mut client, &lines);
        client
    }

    pub(super) fn client(&self) -> Client {
        Client::ready(self.addr)
    }
}

fn start(path: &Path, keys: &[&str]) -> (Daemon, SocketAddr) {
    let path = format!("store.path={}", PathBuf::from(path).display());
    let mut arguments = vec!["--set", &path];
    arguments.extend(keys.iter().flat_map(|key| ["--set", key]));
    let daemon = Daemon::start(&arguments);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let addr = line["amqp.address"].as_str().unwrap().parse().unwrap();
    (daemon, addr)
}

/// Sends each line and expects the answer behind its arrow.
pub(super) fn script(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let (sent, expected) = line.split_once(" => ").expect("an answer");
        let answer = client.call(1, sent);
        assert!(answer.starts_with(expected), "{sent}: {answer}");
    }
}

/// Persistent messages to queue q with these numbers as bodies, all confirmed.
pub(super) fn publish_confirmed(client: &mut Client, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        let publish = format!("basic.publish routing-key=q delivery-mode=2 body={number}");
        client.send(1, &publish);
    }
    client.all_acked(1);
}

#[test]
fn durable_exchanges_queues_and_bindings_survive_a_kill() {
    let mut broker = Restarted::start();
    let mut client = broker.client();
    script(
        &mut client,
        &[
            "exchange.declare exchange=e type=topic durable => exchange.declare-ok",
            "exchange.declare exchange=f type=fanout durable => exchange.declare-ok",
            "exchange.declare exchange=t type=fanout => exchange.declare-ok",
            "queue.declare queue=q durable arguments={x-max-length=l3} => queue.declare-ok",
            "queue.declare queue=gone durable => queue.declare-ok",
            "queue.declare queue=t => queue.declare-ok",
            "queue.bind queue=q exchange=f => queue.bind-ok",
            "queue.bind queue=q exchange=e routing-key=dropped => queue.bind-ok",
            "queue.unbind queue=q exchange=e routing-key=dropped => queue.unbind-ok",
            "queue.bind queue=gone exchange=e routing-key=a.* => queue.bind-ok",
            "queue.bind queue=t exchange=e routing-key=a.* => queue.bind-ok",
            "exchange.bind destination=f source=e routing-key=a.* => exchange.bind-ok",
            "queue.delete queue=gone => queue.delete-ok",
        ],
    );
    for kill in [Restarted::kill, Restarted::restart] {
        kill(&mut broker);
        let mut client = broker.client();
        script(
            &mut client,
            &[
                "exchange.declare exchange=e type=topic durable => exchange.declare-ok",
                "queue.declare queue=q durable arguments={x-max-length=l3} => queue.declare-ok",
                "confirm.select => confirm.select-ok",
            ],
        );
        client.send(1, "basic.publish exchange=e routing-key=a.b body=x");
        client.send(1, "basic.publish exchange=e routing-key=dropped body=y");
        client.all_acked(1);
        let got = client.call(1, "basic.get queue=q no-ack");
        assert!(got.contains("routing-key=a.b message-count=0"), "{got}");
        for missing in [
            "queue.declare queue=gone",
            "queue.declare queue=t",
            "exchange.declare exchange=t",
        ] {
            let mut client = broker.client();
            let answer = client.call(1, &format!("{missing} passive"));
            assert!(answer.contains("NOT_FOUND"), "{missing}: {answer}");
        }
        let mut client = broker.client();
        let answer = client.call(
            1,
            "queue.declare queue=q durable arguments={x-max-length=l4}",
        );
        assert!(answer.contains("inequivalent arg"), "{answer}");
    }
}

/// Publishes a persistent message and waits until it is durable, and with it all that was done before.
fn barrier(broker: &Restarted) {
    let mut client = broker.client();
    script(
        &mut client,
        &[
            "queue.declare queue=barrier durable => queue.declare-ok",
            "queue.purge queue=barrier => queue.purge-ok",
            "confirm.select => confirm.select-ok",
        ],
    );
    client.send(
        1,
        "basic.publish routing-key=barrier delivery-mode=2 body=x",
    );
    client.all_acked(1);
}

/// The messages of a queue in order: redelivered or not, and the body. They are acknowledged.
pub(super) fn contents(broker: &Restarted, queue: &str) -> Vec<String> {
    let mut client = broker.client();
    std::iter::from_fn(|| {
        let got = client.call(1, &format!("basic.get queue={queue} no-ack"));
        let (_, body) = got.split_once(" body=")?;
        let mark = if got.contains(" redelivered ") {
            "again "
        } else {
            ""
        };
        Some(format!("{mark}{body}"))
    })
    .collect()
}

#[test]
fn confirmed_persistent_messages_survive_a_kill_and_nothing_that_was_settled_returns() {
    let mut broker = Restarted::start();
    let mut client = broker.client();
    script(
        &mut client,
        &[
            "queue.declare queue=q durable => queue.declare-ok",
            "queue.declare queue=first durable arguments={x-max-priority=l5} => queue.declare-ok",
            "queue.declare queue=short durable arguments={x-max-length=l2} => queue.declare-ok",
            "queue.declare queue=purged durable => queue.declare-ok",
            "queue.declare queue=t => queue.declare-ok",
            "queue.bind queue=q exchange=amq.fanout => queue.bind-ok",
            "queue.bind queue=short exchange=amq.fanout => queue.bind-ok",
            "queue.bind queue=t exchange=amq.fanout => queue.bind-ok",
            "confirm.select => confirm.select-ok",
        ],
    );
    for number in 1..=5 {
        client.send(
            1,
            &format!("basic.publish exchange=amq.fanout delivery-mode=2 body={number}"),
        );
        client.send(1, "basic.publish routing-key=q body=transient");
    }
    for priority in [1, 5, 3] {
        client.send(1, &format!("basic.publish routing-key=first delivery-mode=2 priority={priority} body=p{priority}"));
    }
    client.send(1, "basic.publish routing-key=purged delivery-mode=2 body=x");
    client.all_acked(1);
    script(
        &mut client,
        &["queue.purge queue=purged => queue.purge-ok message-count=1"],
    );
    // 1 is acknowledged, 2 was delivered, 3 was requeued.
    for (tag, body) in [
        (1, "1"),
        (2, "transient"),
        (3, "2"),
        (4, "transient"),
        (5, "3"),
    ] {
        let got = client.call(1, "basic.get queue=q");
        assert!(got.ends_with(&format!(" body={body}")), "{got}");
        if tag == 1 {
            client.send(1, "basic.ack delivery-tag=1");
        }
    }
    client.send(1, "basic.nack delivery-tag=5 requeue");
    barrier(&broker);
    for kill in [Restarted::kill, Restarted::restart] {
        kill(&mut broker);
        let mut client = broker.client();
        let got = client.call(1, "queue.declare queue=q passive");
        assert!(got.contains("message-count=4"), "{got}");
    }
    // A crash makes all of them redelivered.
    for (queue, bodies) in [
        ("q", "2 3 4 5"),
        ("first", "p5 p3 p1"),
        ("short", "4 5"),
        ("purged", ""),
    ] {
        let bodies = bodies.split_whitespace();
        let expected: Vec<_> = bodies.map(|body| format!("again {body}")).collect();
        assert_eq!(contents(&broker, queue), expected, "{queue}");
    }
    barrier(&broker);
    broker.kill();
    for queue in ["q", "first"] {
        let left = contents(&broker, queue);
        assert_eq!(left, [""; 0], "settled messages do not return");
    }
}

#[test]
fn dead_letters_and_their_history_survive_a_kill() {
    let mut broker = Restarted::start();
    let mut client = broker.client();
    let dead = "x-dead-letter-exchange=S'',x-dead-letter-routing-key=Sdead";
    script(
        &mut client,
        &[
            "queue.declare queue=dead durable => queue.declare-ok",
            &format!("queue.declare queue=q durable arguments={{{dead}}} => queue.declare-ok"),
            &format!(
                "queue.declare queue=slow durable arguments={{{dead},x-message-ttl=l1500}} => queue.declare-ok"
            ),
            "confirm.select => confirm.select-ok",
        ],
    );
    client.send(
        1,
        "basic.publish routing-key=q delivery-mode=2 headers={h=Sv} body=rejected",
    );
    client.send(
        1,
        "basic.publish routing-key=slow delivery-mode=2 body=expired",
    );
    client.all_acked(1);
    client.call(1, "basic.get queue=q");
    client.send(1, "basic.reject delivery-tag=1");
    barrier(&broker);
    broker.kill();
    let mut client = broker.client();
    let got = client.call(1, "basic.get queue=dead");
    assert!(
        got.contains("reason=Srejected") && got.contains("h=Sv") && got.ends_with("body=rejected"),
        "{got}"
    );
    client.send(1, "basic.ack delivery-tag=1");
    assert_eq!(contents(&broker, "q"), [""; 0]);
    // Its time runs also while the daemon does not.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let got = loop {
        let got = client.call(1, "basic.get queue=dead");
        if got.starts_with("basic.get-ok") {
            break got;
        }
        assert!(tokio::time::Instant::now() < deadline, "it does not expire");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(
        got.contains("reason=Sexpired") && got.ends_with("body=expired"),
        "{got}"
    );
}

#[test]
fn transactions_and_quorum_queues_survive_a_kill() {
    let mut broker = Restarted::start();
    let mut client = broker.client();
    script(
        &mut client,
        &[
            "queue.declare queue=a durable => queue.declare-ok",
            "queue.declare queue=b durable arguments={x-queue-type=Squorum} => queue.declare-ok",
            "tx.select => tx.select-ok",
        ],
    );
    for number in 1..=3 {
        client.send(
            1,
            &format!("basic.publish routing-key=a delivery-mode=2 body={number}"),
        );
        client.send(
            1,
            &format!("basic.publish routing-key=b delivery-mode=2 body={number}"),
        );
    }
    script(&mut client, &["tx.commit => tx.commit-ok"]);
    client.call(1, "basic.get queue=a");
    client.send(1, "basic.ack delivery-tag=1");
    client.send(1, "basic.publish routing-key=a delivery-mode=2 body=4");
    script(&mut client, &["tx.commit => tx.commit-ok"]);
    client.send(1, "basic.publish routing-key=a delivery-mode=2 body=open");
    let mut other = broker.client();
    other.call(1, "basic.get queue=b");
    other.send(1, "basic.nack delivery-tag=1 requeue");
    barrier(&broker);
    broker.kill();
    assert_eq!(contents(&broker, "a"), ["again 2", "again 3", "again 4"]);
    let mut client = broker.client();
    let got = client.call(1, "basic.get queue=b");
    assert!(
        got.contains("x-delivery-count=l1")
            && got.contains(" redelivered ")
            && got.ends_with("body=1"),
        "{got}"
    );
    drop(client);
    assert_eq!(contents(&broker, "b").len(), 3);
}

#[test]
fn a_queue_may_be_larger_than_memory() {
    let mut broker = Restarted::with(&[
        "broker.limits.memory=4MiB",
        "broker.limits.queue_memory=1MiB",
    ]);
    let mut client = broker.client();
    script(
        &mut client,
        &[
            "queue.declare queue=q durable => queue.declare-ok",
            "queue.declare queue=r durable => queue.declare-ok",
            "queue.bind queue=q exchange=amq.fanout => queue.bind-ok",
            "queue.bind queue=r exchange=amq.fanout => queue.bind-ok",
            "confirm.select => confirm.select-ok",
        ],
    );
    // 8 MB in each queue; in windows, so that nothing waits for memory.
    for number in 0..8000 {
        let body = format!("{number:04}{}", "x".repeat(996));
        client.send(
            1,
            &format!("basic.publish exchange=amq.fanout delivery-mode=2 body={body}"),
        );
        if number % 200 == 199 {
            client.all_acked(1);
        }
    }
    let check = |broker: &Restarted, queue: &str| {
        let mut consumer = broker.client();
        script(
            &mut consumer,
            &[
                "basic.qos prefetch-count=100 => basic.qos-ok",
                &format!("basic.consume queue={queue} consumer-tag=c => basic.consume-ok"),
            ],
        );
        for number in 0..8000 {
            let got = consumer.receive(1);
            assert!(
                got.contains(&format!(" body={number:04}x")),
                "{number}: {got:.200}"
            );
            consumer.send(1, &format!("basic.ack delivery-tag={}", number + 1));
        }
    };
    check(&broker, "q");
    barrier(&broker);
    broker.kill();
    check(&broker, "r");
    assert_eq!(contents(&broker, "q"), [""; 0]);
}

#[test]
fn a_long_queue_is_read_back_in_order_while_it_is_consumed() {
    let mut broker = Restarted::start();
    let mut client = broker.confirming_client("q");
    publish_confirmed(&mut client, 0..3000);
    broker.kill();
    let mut client = broker.confirming_client("q");
    publish_confirmed(&mut client, 3000..3100);
    let got = client.call(1, "queue.declare queue=q passive");
    assert!(got.contains("message-count=3100"), "{got}");
    let mut consumer = broker.client();
    script(
        &mut consumer,
        &[
            "basic.qos prefetch-count=50 => basic.qos-ok",
            "basic.consume queue=q consumer-tag=c => basic.consume-ok",
        ],
    );
    for number in 0..3100 {
        let got = consumer.receive(1);
        assert!(got.ends_with(&format!(" body={number}")), "{number}: {got}");
        consumer.send(1, &format!("basic.ack delivery-tag={}", number + 1));
    }
    barrier(&broker);
    broker.kill();
    assert_eq!(contents(&broker, "q"), [""; 0]);
}

#[test]
fn damaged_messages_are_named_and_what_is_sound_is_kept() {
    let mut broker = Restarted::start();
    let mut client = broker.confirming_client("q");
    for number in 1..=20 {
        // Each is a separate write.
        publish_confirmed(&mut client, number..=number);
    }
    drop(broker.daemon.take());
    let segment = broker.folder.path().join("messages/segment-0000000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let store = |command| {
        let mut tool = musterd(&["store", command, "--path"]);
        let output = tool.arg(broker.folder.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = store("check");
    assert!(
        code == Some(1) && text.contains("segment-0000000001"),
        "{text}"
    );
    let (code, text) = store("repair");
    assert!(code == Some(0) && text.contains("dropped:"), "{text}");
    let (code, text) = store("check");
    assert_eq!(code, Some(0), "{text}");
    let (words, _) = text.split_once(" in queues").expect("a line of messages");
    let left: u32 = words.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1..20).contains(&left), "{text}");
    broker.kill();
    let declared = broker.client().call(1, "queue.declare queue=q durable");
    assert!(
        declared.contains(&format!("message-count={left}")),
        "{declared}"
    );
}
