//! Clients that come and go against the daemon itself: what it holds and what it logs afterwards.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::scope;

use super::client::{Client, Login};
use super::codec::frames;
use crate::daemon::Daemon;

fn start(arguments: &[&str]) -> (Daemon, SocketAddr) {
    let daemon = Daemon::start(arguments);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let address = line["amqp.address"].as_str().unwrap().parse().unwrap();
    (daemon, address)
}

/// A connection from its beginning to its end, in one piece.
fn visit() -> Vec<u8> {
    let mut octets = b"AMQP\0\0\x09\x01".to_vec();
    let steps = [
        (
            0,
            "connection.start-ok client-properties={product=Svisitor} mechanism=PLAIN \
             response='\\x00guest\\x00guest' locale=en_US",
        ),
        (
            0,
            "connection.tune-ok channel-max=10 frame-max=4096 heartbeat=60",
        ),
        (0, "connection.open virtual-host=/"),
        (1, "channel.open"),
        (1, "queue.declare exclusive"),
        (1, "basic.publish body=x*100"),
        (1, "basic.consume consumer-tag=c"),
        (0, "connection.close reply-code=200"),
    ];
    for (channel, line) in steps {
        frames(channel, line, 4096)
            .iter()
            .for_each(|frame| frame.put(&mut octets));
    }
    octets
}

fn come_and_go(address: SocketAddr, count: usize) {
    let octets = visit();
    scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..count / 4 {
                    let mut socket = TcpStream::connect(address).unwrap();
                    socket.write_all(&octets).unwrap();
                    let mut read = Vec::new();
                    socket.read_to_end(&mut read).unwrap();
                    let close_ok = frames(0, "connection.close-ok", 4096);
                    let mut wanted = Vec::new();
                    close_ok.iter().for_each(|frame| frame.put(&mut wanted));
                    assert!(read.ends_with(&wanted), "{}", read.escape_ascii());
                }
            });
        }
    });
}

#[test]
fn memory_is_flat_however_many_come_and_go() {
    let (daemon, address) = start(&[]);
    come_and_go(address, 1000);
    let before = daemon.resident_kib();
    come_and_go(address, 4000);
    let after = daemon.resident_kib();
    // A leak of 500 bytes each would be 2 MiB.
    assert!(
        after < before + 2048,
        "{before} KiB resident, {after} KiB after 4,000 more"
    );
}

#[test]
fn refused_clients_do_not_fill_the_log() {
    let (daemon, address) = start(&[]);
    for _ in 0..50 {
        let mut client = Client::connect(address);
        client.write(b"GET / HTTP/1.1\r\n\r\n");
        assert!(client.receive(0).starts_with("header "));
    }
    let wrong = Login {
        password: "wrong".to_owned(),
        ..Login::default()
    };
    let refused = Client::connect(address).handshake(&wrong);
    assert!(refused.contains("ACCESS_REFUSED"), "{refused}");
    let lines = daemon.stop();
    let of_refusals = |line: &&serde_json::Value| {
        let target = line["target"].as_str().unwrap_or_default();
        line["level"] == "WARN" && target.starts_with("musterd::broker::server")
    };
    let warned: Vec<_> = lines.iter().filter(of_refusals).collect();
    assert_eq!(warned.len(), 11, "ten, and how many more: {warned:?}");
    assert_eq!(warned[10]["count"], 41);
}

#[test]
fn lost_clients_do_not_fill_the_log() {
    let keys = [
        "log.level=info,musterd::broker=debug",
        "transport.mode=direct",
    ];
    let (daemon, address) = start(&["--set", keys[0], "--set", keys[1]]);
    for _ in 0..30 {
        drop(Client::ready(address));
    }
    let mut warned = 0;
    for _ in 0..30 {
        let lost = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains(" ended")
        };
        let line = daemon.logged(lost);
        assert!(
            line.to_string().contains("without connection.close"),
            "{line}"
        );
        warned += u32::from(line["level"] == "WARN");
    }
    assert_eq!(warned, 10, "the first of them");
    let lines = daemon.stop();
    let rest = lines
        .iter()
        .find(|line| line.to_string().contains("lost connections not logged"));
    assert_eq!(rest.unwrap()["count"], 20);
}

#[test]
fn a_stop_warns_of_nothing() {
    let (daemon, address) = start(&[]);
    let _client = Client::ready(address);
    let lines = daemon.stop();
    let closed = |line: &&serde_json::Value| line.to_string().contains("shutdown");
    assert!(lines.iter().any(|line| closed(&line)), "{lines:?}");
    let warned: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "WARN")
        .collect();
    assert!(warned.is_empty(), "{warned:?}");
}
