//! Clients that break the rules, stop reading or come in crowds. After each of them the broker still serves.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::scope;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, Login, PATIENCE};
use super::codec::{Frame, METHOD, frames};
use super::target::{Kind, target};
use crate::daemon::Daemon;

fn unique(word: &str) -> String {
    format!("r-{:08x}-{word}", fastrand::u32(..))
}

/// The broker answers a new client and delivers a message.
#[track_caller]
fn still_serves() {
    let mut client = Client::ready(target().addr);
    let queue = unique("alive");
    client.call(1, &format!("queue.declare queue={queue} exclusive"));
    client.call(
        1,
        &format!("basic.consume queue={queue} consumer-tag=c no-ack"),
    );
    client.send(1, &format!("basic.publish routing-key={queue} body=alive"));
    let line = client.receive(1);
    assert!(line.ends_with(" body=alive"), "{line}");
    client.close();
}

/// A whole session's bytes from the header to a publish.
fn session() -> Vec<u8> {
    let mut octets = b"AMQP\0\0\x09\x01".to_vec();
    let steps = [
        (
            0,
            "connection.start-ok mechanism=PLAIN response='\\x00guest\\x00guest' locale=en_US",
        ),
        (
            0,
            "connection.tune-ok channel-max=10 frame-max=4096 heartbeat=0",
        ),
        (0, "connection.open virtual-host=/"),
        (1, "channel.open"),
        (
            1,
            "queue.declare exclusive arguments={x-max-length=l5,x-dead-letter-exchange=S'',x-dead-letter-routing-key=Sk}",
        ),
        (1, "confirm.select"),
        (
            1,
            "basic.publish exchange=amq.topic routing-key=a.b headers={a=l1,b=A[F{c=V}]} body=hello",
        ),
        (1, "basic.consume consumer-tag=c arguments={x-priority=l5}"),
    ];
    for (channel, line) in steps {
        frames(channel, line, 4096)
            .iter()
            .for_each(|frame| frame.put(&mut octets));
    }
    octets
}

#[test]
fn a_session_cut_at_every_byte() {
    let octets = session();
    scope(|threads| {
        for part in 0..4 {
            let octets = &octets;
            threads.spawn(move || {
                for end in (part..octets.len()).step_by(4) {
                    let mut socket = TcpStream::connect(target().addr).unwrap();
                    socket.write_all(&octets[..end]).unwrap();
                }
            });
        }
    });
    still_serves();
}

#[test]
fn a_session_byte_by_byte() {
    let mut client = Client::connect(target().addr);
    for octet in session() {
        client.write(&[octet]);
    }
    let mut missing = BTreeSet::from([
        "connection.open-ok",
        "channel.open-ok",
        "confirm.select-ok",
        "acked 1",
        "basic.consume-ok consumer-tag=c",
    ]);
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        for (_, line) in client.drain(Duration::from_millis(100)) {
            missing.remove(&*line);
        }
        assert!(Instant::now() < deadline, "{missing:?}");
    }
}

#[test]
fn every_byte_of_a_session_changed() {
    let octets = session();
    scope(|threads| {
        for part in 0..4 {
            let octets = &octets;
            threads.spawn(move || {
                for at in (part..octets.len()).step_by(4) {
                    let mut broken = octets.clone();
                    broken[at] = broken[at].wrapping_add(1 + fastrand::u8(..254));
                    let mut socket = TcpStream::connect(target().addr).unwrap();
                    // It may close before it has read all.
                    let _closed = socket.write_all(&broken);
                }
            });
        }
    });
    still_serves();
}

#[test]
fn wrong_sizes_are_refused() {
    for size in ["ffffffff", "7fffffff", "00100000", "00020001"] {
        let mut client = Client::ready(target().addr);
        let size = u32::from_str_radix(size, 16).unwrap();
        for kind in 1..=3 {
            let mut head = vec![kind, 0, 1];
            head.extend_from_slice(&size.to_be_bytes());
            client.write(&head);
        }
        client.write(&[0; 100]);
        let close = client.receive(0);
        assert!(
            close.starts_with("connection.close reply-code=501") || close == "eof",
            "{size}: {close}"
        );
    }
    still_serves();
}

#[test]
fn a_body_size_beyond_every_limit() {
    let mut client = Client::ready(target().addr);
    client.send_frame(METHOD, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'q', 0]);
    client.send_frame(
        2,
        1,
        &[
            0, 60, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0,
        ],
    );
    let close = client.receive_within(1, Duration::from_secs(2));
    if target().kind == Kind::RabbitMq {
        assert_eq!(close, None, "3.10 waits for the whole body");
        return still_serves();
    }
    let text = close.unwrap_or_default();
    assert!(
        text.starts_with(
            "channel.close reply-code=406 reply-text='PRECONDITION_FAILED - message size"
        ),
        "{text}"
    );
    still_serves();
}

/// `{a: {a: {a: …}}}` as the bytes of a table.
fn nested(depth: usize) -> Vec<u8> {
    let mut table = 0_u32.to_be_bytes().to_vec();
    for _ in 0..depth {
        let mut outer = u32::try_from(table.len() + 3)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        outer.extend_from_slice(b"\x01aF");
        outer.append(&mut table);
        table = outer;
    }
    table
}

#[test]
fn a_table_nested_a_thousand_deep() {
    let mut client = Client::ready(target().addr);
    let mut payload = vec![0, 50, 0, 10, 0, 0, 0, 0b100];
    payload.extend_from_slice(&nested(1000));
    client.send_frame(METHOD, 1, &payload);
    let answered =
        (0..100).any(|_| !client.drain(Duration::from_millis(100)).is_empty() || client.ended());
    assert!(answered, "no answer");
    // In headers, where nobody needs to look inside.
    let mut client = Client::ready(target().addr);
    client.send_frame(METHOD, 1, b"\0\x3c\0\x28\0\0\x0bamq.headers\0\0");
    let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0];
    header.extend_from_slice(&nested(1000));
    client.send_frame(2, 1, &header);
    client.drain(Duration::from_millis(300));
    still_serves();
}

#[test]
fn as_many_channels_as_a_connection_may_have() {
    let login = Login {
        channel_max: 2047,
        ..Login::default()
    };
    let mut client = Client::open(target().addr, &login);
    for channel in 1..=2047 {
        client.send(channel, "channel.open");
    }
    for channel in 1..=2047 {
        assert_eq!(
            client.receive(channel),
            "channel.open-ok",
            "channel {channel}"
        );
    }
    client.send(65_535, "channel.open");
    assert!(client.receive(0).starts_with(
        "connection.close reply-code=530 reply-text='NOT_ALLOWED - number of channels"
    ));
    still_serves();
}

#[test]
fn every_channel_number_is_touched() {
    let mut client = Client::open(target().addr, &Login::default());
    let mut octets = Vec::new();
    for channel in 1..=u16::MAX {
        for line in ["channel.open", "channel.close reply-code=200"] {
            frames(channel, line, 4096)
                .iter()
                .for_each(|frame: &Frame| frame.put(&mut octets));
        }
    }
    scope(|threads| {
        let mut writer = client.writer();
        threads.spawn(move || {
            // A broker that refuses a number closes before it has read all of them.
            let _closed = writer.write_all(&octets);
        });
        let begin = Instant::now();
        let mut last = String::new();
        while last != "eof" && last != "channel.close-ok" {
            last = client
                .receive_within(u16::MAX, Duration::from_secs(120))
                .expect("an answer to the last");
        }
        assert!(begin.elapsed() < Duration::from_secs(120));
    });
    still_serves();
}

#[test]
fn a_client_that_stops_reading_delays_no_other() {
    let queue = unique("stuck");
    let mut publisher = Client::ready(target().addr);
    publisher.call(
        1,
        &format!("queue.declare queue={queue} arguments={{x-max-length=l200,x-expires=l60000}}"),
    );
    let mut stuck = Client::ready(target().addr);
    stuck.send(
        1,
        &format!("basic.consume queue={queue} consumer-tag=c no-ack"),
    );
    assert_eq!(stuck.receive(1), "basic.consume-ok consumer-tag=c");
    // Far more than sockets hold; the queue keeps 200 of them, somebody else is served all the while.
    for round in 0..40 {
        for _ in 0..25 {
            publisher.send(
                1,
                &format!("basic.publish routing-key={queue} body=x*100000"),
            );
        }
        publisher.call(1, "basic.qos");
        if round % 10 == 0 {
            still_serves();
        }
    }
    drop(stuck);
    publisher.call(1, &format!("queue.delete queue={queue}"));
    still_serves();
}

#[test]
fn a_client_that_never_reads_its_answers() {
    let mut socket = TcpStream::connect(target().addr).unwrap();
    socket
        .set_write_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    socket.write_all(&session()).unwrap();
    let mut octets = Vec::new();
    for _ in 0..1000 {
        frames(1, "queue.declare queue=amq.topic passive", 4096)
            .iter()
            .for_each(|frame| frame.put(&mut octets));
        frames(1, "basic.qos", 4096)
            .iter()
            .for_each(|frame| frame.put(&mut octets));
    }
    // Writes until the broker takes no more (or has closed): its answers may not pile up without end.
    let mut written = 0_usize;
    while written < 64 << 20 && socket.write_all(&octets).is_ok() {
        written += octets.len();
    }
    still_serves();
}

/// Everything that a client sends until its consumer has a separate queue, bound to `exchange`.
fn listener(exchange: &str) -> Vec<u8> {
    let mut octets = b"AMQP\0\0\x09\x01".to_vec();
    let bind = format!("queue.bind exchange={exchange}");
    let steps = [
        (
            0,
            "connection.start-ok mechanism=PLAIN response='\\x00guest\\x00guest' locale=en_US",
        ),
        (
            0,
            "connection.tune-ok channel-max=10 frame-max=4096 heartbeat=0",
        ),
        (0, "connection.open virtual-host=/"),
        (1, "channel.open"),
        (1, "queue.declare exclusive"),
        (1, &bind),
        (1, "basic.consume consumer-tag=crowd no-ack"),
    ];
    for (channel, line) in steps {
        frames(channel, line, 4096)
            .iter()
            .for_each(|frame| frame.put(&mut octets));
    }
    octets
}

/// Reads until this has come.
fn read_until(socket: &mut TcpStream, wanted: &[u8], which: usize) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !read.windows(wanted.len()).any(|octets| octets == wanted) {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "{which}: closed after {:?}", read.escape_ascii());
        read.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn a_message_reaches_each_of_many_consumers() {
    // As many as the descriptors of this process allow with room to spare, up to 5,000 (in both directions
    // when the broker runs inside it).
    let limit = rlimit::increase_nofile_limit(20_000).unwrap();
    let ends = if target().kind == Kind::Musterd { 2 } else { 1 };
    let room = usize::try_from((limit / ends).saturating_sub(1000)).unwrap();
    let wanted = room.min(if target().kind == Kind::Musterd {
        5000
    } else {
        500
    });
    assert!(wanted >= 500, "only {limit} descriptors");
    let exchange = unique("crowd");
    let mut publisher = Client::ready(target().addr);
    publisher.call(
        1,
        &format!("exchange.declare exchange={exchange} type=fanout auto-delete"),
    );
    let octets = listener(&exchange);
    let mut sockets = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        let mut socket = TcpStream::connect(target().addr).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        socket.write_all(&octets).unwrap();
        sockets.push(socket);
    }
    for (which, socket) in sockets.iter_mut().enumerate() {
        read_until(socket, b"\x05crowd\xCE", which);
    }
    publisher.send(
        1,
        &format!("basic.publish exchange={exchange} body=to-everybody"),
    );
    for (which, socket) in sockets.iter_mut().enumerate() {
        read_until(socket, b"to-everybody\xCE", which);
    }
    drop(sockets);
    still_serves();
}

#[test]
fn connections_are_opened_and_closed_for_five_seconds() {
    let begin = Instant::now();
    let count = scope(|threads| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    let mut count = 0;
                    while begin.elapsed() < Duration::from_secs(5) {
                        let mut client = Client::ready(target().addr);
                        client.call(1, "queue.declare exclusive");
                        if count % 2 == 0 {
                            client.close();
                        }
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum::<u32>()
    });
    assert!(count > 100, "only {count} connections in 5 s");
    still_serves();
}

/// Tables within tables, as deep as one frame can hold them: a broker that passes them on must not end a daemon.
#[test]
fn tables_as_deep_as_a_frame_do_not_end_a_daemon() {
    let target = target();
    let url = format!(
        "transport.amqp_url=amqp://guest:guest@{}/second",
        target.addr
    );
    let daemon = Daemon::start(&["--set", "broker.listen=", "--set", &url]);
    daemon.logged(|line| {
        line["message"]
            .as_str()
            .is_some_and(|state| state.starts_with("connected"))
    });
    let login = Login {
        vhost: "second".to_owned(),
        ..Login::default()
    };
    let mut client = Client::open(target.addr, &login);
    client.call(1, "channel.open");
    let look = "queue.declare queue=service.discover passive";
    let quiet = "queue.declare-ok queue=service.discover message-count=0 consumer-count=1";
    until(&mut client, look, quiet);
    client.send_frame(1, 1, b"\0\x3c\0\x28\0\0\0\x10service.discover\0");
    let mut table = Vec::new();
    for level in (0..18_000_u32).rev() {
        table.extend_from_slice(b"\0F");
        table.extend_from_slice(&(level * 6).to_be_bytes());
    }
    let mut header = b"\0\x3c\0\0\0\0\0\0\0\0\0\x02\x20\0".to_vec();
    header.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
    header.extend_from_slice(&table);
    client.send_frame(2, 1, &header);
    client.send_frame(3, 1, b"{}");
    // One broker takes it and the daemon does, another closes the connection.
    let mut other = Client::open(target.addr, &login);
    other.call(1, "channel.open");
    std::thread::sleep(Duration::from_millis(300));
    until(&mut other, look, quiet);
    daemon.stop();
    assert_eq!(daemon.exit_code(), 0);
}

fn until(client: &mut Client, ask: &str, wanted: &str) {
    let begun = Instant::now();
    loop {
        let answer = client.call(1, ask);
        if answer == wanted {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
