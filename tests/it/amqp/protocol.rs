//! What transcripts cannot say: times, sizes, several clients at once.

use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, Login};
use super::codec::field;
use super::target::{Kind, target};

fn ready() -> Client {
    Client::ready(target().addr)
}

fn unique(word: &str) -> String {
    format!("p-{:08x}-{word}", fastrand::u32(..))
}

/// What is sure to have been handled before it is answered.
fn sync(client: &mut Client) {
    assert_eq!(client.call(1, "basic.qos"), "basic.qos-ok");
}

#[test]
fn the_server_says_what_it_can_do() {
    let mut client = Client::connect(target().addr);
    client.write(b"AMQP\0\0\x09\x01");
    let start = client.receive(0);
    for capability in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert!(
            start.contains(&format!("{capability}=t1")),
            "{capability}: {start}"
        );
    }
    for property in [
        "product",
        "version",
        "platform",
        "copyright",
        "information",
        "cluster_name",
    ] {
        assert!(
            start.contains(&format!("{property}=S")),
            "{property}: {start}"
        );
    }
    let mechanisms = field(&start, "mechanisms");
    assert!(
        mechanisms.split(' ').any(|word| word == "PLAIN"),
        "{mechanisms}"
    );
    assert!(
        mechanisms.split(' ').any(|word| word == "AMQPLAIN"),
        "{mechanisms}"
    );
    assert!(start.ends_with(" locales=en_US"), "{start}");
    assert!(
        start.starts_with("connection.start version-major=0 version-minor=9 "),
        "{start}"
    );
}

#[test]
fn a_failed_login_is_closed_within_three_seconds() {
    let begin = Instant::now();
    let mut client = Client::connect(target().addr);
    client.answers_close = false;
    let close = client.handshake(&Login {
        password: "wrong".to_owned(),
        ..Login::default()
    });
    assert!(
        close.starts_with("connection.close reply-code=403"),
        "{close}"
    );
    assert_eq!(client.receive(0), "eof");
    assert!(
        begin.elapsed() < Duration::from_millis(4500),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_stalled_handshake_times_out() {
    let begin = Instant::now();
    let mut client = Client::connect(target().addr);
    client.write(b"AMQP\0\0\x09\x01");
    client.receive(0);
    let end = client
        .receive_within(0, Duration::from_secs(20))
        .expect("an end of the handshake");
    assert!(
        begin.elapsed() > Duration::from_secs(5),
        "{end} after {:?}",
        begin.elapsed()
    );
}

#[test]
fn heartbeats_go_out_and_their_absence_ends_the_connection() {
    let begin = Instant::now();
    let mut client = Client::open(
        target().addr,
        &Login {
            heartbeat: 1,
            ..Login::default()
        },
    );
    assert_eq!(
        client.receive(0),
        "eof",
        "a silent client is dropped without a word"
    );
    let lived = begin.elapsed();
    assert!(
        lived >= Duration::from_millis(1900) && lived < Duration::from_millis(4500),
        "dropped after {lived:?}"
    );
    let count = client.heartbeats.len();
    assert!((2..=10).contains(&count), "{count} heartbeats in {lived:?}");
}

#[test]
fn any_traffic_keeps_a_connection_alive() {
    let mut client = Client::open(
        target().addr,
        &Login {
            heartbeat: 1,
            ..Login::default()
        },
    );
    client.call(1, "channel.open");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        sync(&mut client);
        std::thread::sleep(Duration::from_millis(400));
    }
    sync(&mut client);
}

#[test]
fn without_heartbeats_silence_is_fine() {
    let mut client = ready();
    assert!(client.drain(Duration::from_secs(3)).is_empty());
    sync(&mut client);
    assert!(client.heartbeats.is_empty());
}

#[test]
fn a_connection_exception_waits_for_close_ok() {
    let mut client = ready();
    client.answers_close = false;
    client.send(1, "channel.open");
    assert!(
        client
            .receive(0)
            .starts_with("connection.close reply-code=504")
    );
    client.send(1, "queue.declare");
    let during = client.drain(Duration::from_millis(1500));
    assert!(
        during.is_empty() && !client.ended(),
        "discarded, and the socket stays: {during:?}"
    );
    client.send(0, "connection.close-ok");
    assert_eq!(client.receive(0), "eof");
}

#[test]
fn a_client_that_closes_at_the_same_time_gets_its_close_ok() {
    let mut client = ready();
    client.answers_close = false;
    client.send(1, "queue.declare queue=none-of-ours passive");
    assert!(
        client
            .receive(1)
            .starts_with("channel.close reply-code=404")
    );
    assert_eq!(
        client.call(1, "channel.close reply-code=200"),
        "channel.close-ok"
    );
    client.send(1, "channel.close-ok");
    assert_eq!(client.call(1, "channel.open"), "channel.open-ok");
    client.send(1, "channel.open");
    assert!(
        client
            .receive(0)
            .starts_with("connection.close reply-code=504")
    );
    assert_eq!(
        client.call(0, "connection.close reply-code=200"),
        "connection.close-ok"
    );
}

#[test]
fn frames_are_cut_to_the_size_agreed_and_bodies_are_whole() {
    let mut client = Client::open(
        target().addr,
        &Login {
            frame_max: 4096,
            ..Login::default()
        },
    );
    client.call(1, "channel.open");
    let queue = unique("pieces");
    client.call(1, &format!("queue.declare queue={queue} exclusive"));
    // The client itself refuses a frame that is larger than agreed.
    for size in [0, 1, 4087, 4088, 4089, 8176, 8177, 100_000] {
        client.send(
            1,
            &format!("basic.publish routing-key={queue} body=x*{size}"),
        );
        sync(&mut client);
        let got = loop {
            let got = client.call(1, &format!("basic.get queue={queue} no-ack"));
            if got != "basic.get-empty" {
                break got;
            }
        };
        let wanted = match size {
            0 => "body=''".to_owned(),
            1 => "body=x".to_owned(),
            size => format!("body=x*{size}"),
        };
        assert!(got.ends_with(&wanted), "{size}: {got}");
    }
}

#[test]
fn a_return_comes_before_its_confirm() {
    let mut client = ready();
    client.call(1, "confirm.select");
    let none = unique("none");
    for tag in 1..=50 {
        client.send(
            1,
            &format!("basic.publish exchange=amq.topic routing-key={none} mandatory body={tag}"),
        );
    }
    for tag in 1..=50 {
        assert!(client.receive(1).ends_with(&format!("body={tag}")));
    }
    client.all_acked(1);
}

#[test]
fn a_thousand_pipelined_publishes_are_all_confirmed_and_in_order() {
    let mut client = ready();
    let queue = unique("pipeline");
    client.call(1, &format!("queue.declare queue={queue} exclusive"));
    client.call(1, "confirm.select");
    for number in 0..1000 {
        client.send(
            1,
            &format!("basic.publish routing-key={queue} body={number}"),
        );
    }
    client.all_acked(1);
    client.send(
        1,
        &format!("basic.consume queue={queue} consumer-tag=c no-ack"),
    );
    assert_eq!(client.receive(1), "basic.consume-ok consumer-tag=c");
    for number in 0..1000 {
        let line = client.receive(1);
        assert!(line.ends_with(&format!(" body={number}")), "{line}");
    }
}

#[test]
fn direct_reply_to_answers_on_the_same_channel() {
    let (mut client, mut server) = (ready(), ready());
    let queue = unique("calls");
    server.call(1, &format!("queue.declare queue={queue} exclusive"));
    server.call(
        1,
        &format!("basic.consume queue={queue} consumer-tag=s no-ack"),
    );
    client.call(
        1,
        "basic.consume queue=amq.rabbitmq.reply-to consumer-tag=r no-ack",
    );
    client.send(1, &format!("basic.publish routing-key={queue} reply-to=amq.rabbitmq.reply-to correlation-id=7 body=q"));
    let address = field(&server.receive(1), "reply-to");
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    let alive = server.call(1, &format!("queue.declare queue='{address}' passive"));
    assert!(
        alive.starts_with("queue.declare-ok")
            && alive.ends_with("message-count=0 consumer-count=1"),
        "{alive}"
    );
    server.send(
        1,
        &format!("basic.publish routing-key='{address}' correlation-id=7 body=a"),
    );
    let answer = client.receive(1);
    assert!(
        answer.starts_with("basic.deliver consumer-tag=r delivery-tag=1"),
        "{answer}"
    );
    assert!(
        answer.contains(" correlation-id=7 ") && answer.ends_with(" body=a"),
        "{answer}"
    );
    client.close();
    let gone = server.call(1, &format!("queue.declare queue='{address}' passive"));
    assert!(gone.starts_with("channel.close reply-code=404 "), "{gone}");
}

#[test]
fn an_answer_to_a_disconnected_requester_is_dropped_or_returned() {
    let (mut client, mut server) = (ready(), ready());
    let queue = unique("calls");
    server.call(1, &format!("queue.declare queue={queue} exclusive"));
    server.call(
        1,
        &format!("basic.consume queue={queue} consumer-tag=s no-ack"),
    );
    client.call(
        1,
        "basic.consume queue=amq.rabbitmq.reply-to consumer-tag=r no-ack",
    );
    client.send(
        1,
        &format!("basic.publish routing-key={queue} reply-to=amq.rabbitmq.reply-to body=q"),
    );
    let address = field(&server.receive(1), "reply-to");
    client.close();
    server.send(1, &format!("basic.publish routing-key='{address}' body=a"));
    sync(&mut server);
    server.send(
        1,
        &format!("basic.publish routing-key='{address}' mandatory body=a"),
    );
    let back = server.receive(1);
    assert!(
        back.starts_with("basic.return reply-code=312 reply-text=NO_ROUTE"),
        "{back}"
    );
}

#[test]
fn no_message_is_lost_or_doubled_when_consumers_come_and_go() {
    let mut publisher = ready();
    let queue = unique("churn");
    publisher.call(1, &format!("queue.declare queue={queue}"));
    publisher.call(1, "confirm.select");
    for number in 0..200 {
        publisher.send(
            1,
            &format!("basic.publish routing-key={queue} body={number}"),
        );
    }
    publisher.all_acked(1);
    let mut acked = Vec::new();
    let mut round = 0;
    while acked.len() < 200 {
        let mut consumer = ready();
        consumer.call(1, "basic.qos prefetch-count=30");
        consumer.send(1, &format!("basic.consume queue={queue} consumer-tag=c"));
        assert_eq!(consumer.receive(1), "basic.consume-ok consumer-tag=c");
        for take in 0..20 {
            let Some(line) = consumer.receive_within(1, Duration::from_millis(300)) else {
                break;
            };
            let tag = field(&line, "delivery-tag");
            match (take + round) % 3 {
                0 => consumer.send(1, &format!("basic.nack delivery-tag={tag} requeue")),
                _ => {
                    consumer.send(1, &format!("basic.ack delivery-tag={tag}"));
                    acked.push(field(&line, "body").parse::<u32>().unwrap());
                }
            }
        }
        sync_through_deliveries(&mut consumer);
        round += 1;
    }
    acked.sort_unstable();
    assert!(acked.iter().copied().eq(0..200), "{acked:?}");
    std::thread::sleep(Duration::from_millis(300));
    let end = publisher.call(1, &format!("queue.delete queue={queue}"));
    assert_eq!(end, "queue.delete-ok message-count=0");
}

/// The acks of this channel are done; deliveries that come in between are left to the next consumer.
fn sync_through_deliveries(client: &mut Client) {
    client.send(1, "basic.qos");
    while client.receive(1) != "basic.qos-ok" {}
}

#[test]
fn guest_and_passwords_are_checked_for_each_vhost() {
    let login = |user: &str, vhost: &str| {
        let mut client = Client::connect(target().addr);
        let (user, vhost) = (user.to_owned(), vhost.to_owned());
        client.handshake(&Login {
            password: user.clone(),
            user,
            vhost,
            ..Login::default()
        })
    };
    assert_eq!(login("guest", "/"), "connection.open-ok");
    assert_eq!(login("guest", "second"), "connection.open-ok");
    assert_eq!(login("mine", "/"), "connection.open-ok");
    assert!(
        login("mine", "second")
            .contains("access to vhost \\'second\\' refused for user \\'mine\\'")
    );
    assert!(login("nobody", "/").contains("access to vhost \\'/\\' refused for user \\'nobody\\'"));
    assert!(login("stranger", "/").starts_with("connection.close reply-code=403"));
}

#[test]
fn an_authorization_identity_is_refused() {
    let mut client = Client::connect(target().addr);
    client.write(b"AMQP\0\0\x09\x01");
    client.receive(0);
    let answer = client.call(
        0,
        "connection.start-ok client-properties={capabilities=F{authentication_failure_close=t1}} mechanism=PLAIN \
         locale=en_US response='other\\x00guest\\x00guest'",
    );
    match target().kind {
        Kind::RabbitMq => assert_eq!(answer, "eof"),
        Kind::Musterd => assert!(
            answer.starts_with("connection.close reply-code="),
            "{answer}"
        ),
    }
}
