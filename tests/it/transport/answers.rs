//! Answers to those who make addresses up, and messages that no frame holds any more: they harm nobody else.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable, LongString},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    commands::{Caller, filling_a_frame},
    stage::{PATIENCE, Stage, is_rabbit, registration},
};

/// Has the form of a reply address of RabbitMQ, but names no node: RabbitMQ 3.10 closes the connection
/// that publishes to it.
const MADE_UP: &str = "amq.rabbitmq.reply-to.g1h3AXgAAAAAAAAAAAAAAAA=.key";
/// Not the form of a reply address of any broker.
const MALFORMED: &str = "amq.rabbitmq.reply-to.garbage.key";
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Registers an instance, to be answered there.
async fn register(caller: &Caller, id: usize, reply_to: &str) {
    let body = registration("web", id).to_string();
    let properties = BasicProperties::default()
        .with_reply_to(reply_to.into())
        .with_correlation_id(id.to_string().into());
    let key = "service.register";
    caller.publish("", key, body.as_bytes(), properties).await;
}

/// Waits until these were answered, some perhaps twice.
async fn until_answered(caller: &mut Caller, ids: &[usize]) {
    let mut left: BTreeSet<_> = ids.iter().map(usize::to_string).collect();
    while !left.is_empty() {
        let answer = timeout(PATIENCE, caller.answers.next()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answers to {left:?}"));
        let answer = answer.unwrap().unwrap();
        if let Some(id) = answer.properties.correlation_id() {
            left.remove(id.as_str());
        }
    }
}

/// Only the client that invented an address is affected; no command waits to be delivered again.
async fn check_unharmed(stage: &Stage, caller: &Caller, lost: u64) {
    stage.register("a", 0..5).await;
    stage.until_called().await;
    stage.until_sent().await;
    let lost = if is_rabbit() { lost } else { 0 };
    let counted = |report: &Value| report["broker"]["answers_lost"] == lost;
    let report = stage.until("what was lost is counted", counted).await;
    assert_eq!(report["broker"]["connections"], 1, "{report}");
    assert_eq!(report["broker"]["dead_letters"], 0, "{report}");
    assert_eq!(report["channels"]["discovery"]["failed"], 0, "{report}");
    assert_eq!(report["channels"]["events"]["mode"], "dual", "{report}");
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let table = FieldTable::default();
    let queue = caller
        .channel
        .queue_declare("service.register".into(), passive, table);
    assert_eq!(queue.await.unwrap().message_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_reply_to_affects_no_other_command_or_event() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    register(&caller, 0, REPLY_TO).await;
    until_answered(&mut caller, &[0]).await;
    for (id, reply_to) in [
        (1, REPLY_TO),
        (2, MADE_UP),
        (3, REPLY_TO),
        (4, MALFORMED),
        (5, MADE_UP),
        (6, REPLY_TO),
    ] {
        register(&caller, id, reply_to).await;
    }
    until_answered(&mut caller, &[1, 3, 6]).await;
    // Theirs were commands like any other.
    for id in 0..=6 {
        let path = format!("/services/web-{id}");
        assert_eq!(stage.get(&path).await["service_name"], "web");
    }
    check_unharmed(&stage, &caller, 3).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_made_up_addresses_make_pauses_and_hold_up_no_command() {
    let pauses = [
        ("transport.amqp.backoff_first", "2s"),
        ("transport.amqp.backoff_max", "2s"),
    ];
    let stage = Stage::start(&pauses).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    register(&caller, 0, REPLY_TO).await;
    until_answered(&mut caller, &[0]).await;
    let begun = Instant::now();
    for id in 1..=3 {
        register(&caller, id, MADE_UP).await;
        // One at a time: each is answered alone.
        sleep(Duration::from_millis(50)).await;
    }
    register(&caller, 4, REPLY_TO).await;
    let taken = timeout(PATIENCE, async {
        while stage.registry.instance("web-4").is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    taken.await.expect("the commands are taken");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    until_answered(&mut caller, &[4]).await;
    let took = begun.elapsed();
    assert!(
        !is_rabbit() || took > Duration::from_millis(2_500),
        "{took:?}"
    );
    check_unharmed(&stage, &caller, 3).await;
    stage.stop().await;
}

/// The broker writes the requester's own address into it, and so it outgrows the frame that it came in.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_larger_than_a_frame_is_removed() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    register(&caller, 1, REPLY_TO).await;
    until_answered(&mut caller, &[1]).await;
    let headers = filling_a_frame(1 + REPLY_TO.len());
    let properties = BasicProperties::default()
        .with_reply_to(REPLY_TO.into())
        .with_headers(headers);
    let discovery = |mode: &str| json!({"channels": {"discovery": mode}});
    stage.put(200, discovery("direct")).await;
    let key = "service.register";
    let properties = || properties.clone();
    register(&caller, 2, REPLY_TO).await;
    caller.publish("", key, b"no json", properties()).await;
    register(&caller, 3, REPLY_TO).await;
    register(&caller, 4, REPLY_TO).await;
    caller.publish("", key, b"no json", properties()).await;
    register(&caller, 5, REPLY_TO).await;
    stage.put(200, discovery("queue")).await;
    // Those between them are taken.
    until_answered(&mut caller, &[2, 3, 4, 5]).await;
    let buried = |report: &Value| report["broker"]["dead_letters"] == 2;
    let report = stage.until("it is buried", buried).await;
    let connections = report["broker"]["connections"].clone();
    sleep(Duration::from_secs(3)).await;
    let report = stage.transport().await;
    assert_eq!(report["broker"]["connections"], connections, "{report}");
    assert_eq!(report["broker"]["dead_letters"], 2, "{report}");
    stage.register("a", 0..5).await;
    stage.until_called().await;
    stage.until_sent().await;
    stage.stop().await;
}

/// A copy of a message that nobody can read has more headers than it, and must leave in a frame as small.
#[tokio::test(flavor = "multi_thread")]
async fn with_small_frames_dead_letters_keep_fewer_headers() {
    let host = Stage::embedded(&[
        ("transport.mode", "direct"),
        ("broker.limits.frame_size", "8KiB"),
    ])
    .await;
    let stage = Stage::on(&host.amqp, &[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    let mut headers = FieldTable::default();
    for at in 0..3 {
        let long = AMQPValue::LongString(LongString::from("x".repeat(2_510)));
        headers.insert(format!("h{at}").into(), long);
    }
    let properties = BasicProperties::default()
        .with_message_id("m".repeat(255).into())
        .with_app_id("a".repeat(255).into())
        .with_expiration("60000".into())
        .with_headers(headers);
    let key = "service.register";
    caller.publish("", key, b"no json", properties).await;
    register(&caller, 1, REPLY_TO).await;
    until_answered(&mut caller, &[1]).await;
    let buried = |report: &Value| report["broker"]["dead_letters"] == 1;
    let report = stage.until("it is buried", buried).await;
    assert_eq!(report["broker"]["connections"], 1, "{report}");
    stage.stop().await;
    host.stop().await;
}
