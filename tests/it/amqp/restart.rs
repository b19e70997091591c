//! What is durable, across kills and restarts of the daemon.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::client::Client;
use crate::daemon::Daemon;

/// A daemon that is killed and started again on the same folder.
struct Restarted {
    folder: tempfile::TempDir,
    daemon: Option<Daemon>,
    addr: SocketAddr,
}

impl Restarted {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (daemon, addr) = start(folder.path());
        Self {
            folder,
            daemon: Some(daemon),
            addr,
        }
    }

    /// Kills it with SIGKILL and starts it again.
    fn kill(&mut self) {
        drop(self.daemon.take());
        let (daemon, addr) = start(self.folder.path());
        (self.daemon, self.addr) = (Some(daemon), addr);
    }

    /// Stops it in good order and starts it again.
    fn restart(&mut self) {
        let daemon = self.daemon.take().unwrap();
        let log = daemon.stop();
        assert!(log.iter().all(|line| line["level"] != "ERROR"), "{log:?}");
        assert_eq!(daemon.exit_code(), 0);
        let (daemon, addr) = start(self.folder.path());
        (self.daemon, self.addr) = (Some(daemon), addr);
    }

    fn client(&self) -> Client {
        Client::ready(self.addr)
    }
}

fn start(path: &Path) -> (Daemon, SocketAddr) {
    let path = format!("store.path={}", PathBuf::from(path).display());
    let daemon = Daemon::start(&["--set", &path]);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let addr = line["amqp.address"].as_str().unwrap().parse().unwrap();
    (daemon, addr)
}

/// Sends each line and expects the answer that stands behind the arrow.
fn script(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let (sent, expected) = line.split_once(" => ").expect("an answer");
        let answer = client.call(1, sent);
        assert!(answer.starts_with(expected), "{sent}: {answer}");
    }
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
