//! Commands in: the REST bodies and answers, over queues.

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Consumer,
    options::{BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable, LongString},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::stage::{PATIENCE, Stage, connect, registration};

/// A client that asks by direct reply-to.
pub(super) struct Caller {
    pub(super) channel: Channel,
    pub(super) answers: Consumer,
    asked: u32,
}

impl Caller {
    pub(super) async fn new(stage: &Stage) -> Self {
        let connection = connect(&stage.amqp).await;
        let channel = connection.create_channel().await.unwrap();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let answers = channel.basic_consume(
            "amq.rabbitmq.reply-to".into(),
            "".into(),
            options,
            FieldTable::default(),
        );
        Self {
            answers: answers.await.unwrap(),
            channel,
            asked: 0,
        }
    }

    pub(super) async fn ask(&mut self, exchange: &str, queue: &str, body: &[u8]) -> Value {
        self.asked += 1;
        let id = format!("call {}", self.asked);
        let properties = BasicProperties::default()
            .with_reply_to("amq.rabbitmq.reply-to".into())
            .with_correlation_id(id.clone().into());
        self.publish(exchange, queue, body, properties).await;
        let answer = timeout(PATIENCE, self.answers.next()).await;
        let answer = answer.expect("an answer in time").unwrap().unwrap();
        let answered = answer.properties.correlation_id().as_ref().unwrap();
        assert_eq!(answered.as_str(), id);
        let body: Value = serde_json::from_slice(&answer.data).unwrap();
        let expected = match body["status"].is_u64() {
            true => "application/problem+json",
            false => "application/json",
        };
        let kind = answer.properties.content_type().as_ref().unwrap();
        assert_eq!(kind.as_str(), expected, "{body}");
        body
    }

    pub(super) async fn publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) {
        let options = BasicPublishOptions::default();
        let sent =
            self.channel
                .basic_publish(exchange.into(), key.into(), options, body, properties);
        sent.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_as_rest_answers_them() {
    let stage = Stage::start(&[("transport.discovery", "dual")]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    let body = registration("web", 1).to_string();
    let answer = caller.ask("", "service.register", body.as_bytes()).await;
    assert_eq!(
        answer["message"], "Service registered successfully",
        "{answer}"
    );
    let incarnation = answer["incarnation"].as_u64().unwrap();

    // By the exchange too.
    let body = json!({"service_name": "web"}).to_string();
    let found = caller
        .ask("musterd", "service.discover", body.as_bytes())
        .await;
    assert_eq!(found, stage.get("/services/discover/web").await);
    assert_eq!(found["total_count"], 1);
    let body = json!({"service_name": "web", "tags": ["x"], "healthy_only": "no", "colour": 1});
    let body = body.to_string();
    let found = caller.ask("", "service.discover", body.as_bytes()).await;
    assert_eq!(found["total_count"], 0);
    assert!(names_colour(&found), "{found}");

    let body = json!({"service_id": "web-1", "incarnation": incarnation, "colour": 1}).to_string();
    let answer = caller.ask("", "service.heartbeat", body.as_bytes()).await;
    assert_eq!(answer["message"], "Heartbeat received");
    assert!(names_colour(&answer), "{answer}");
    let older = json!({"service_id": "web-1", "incarnation": incarnation - 1}).to_string();
    let answer = caller.ask("", "service.deregister", older.as_bytes()).await;
    assert_eq!(answer["status"], 409);
    let answer = caller.ask("", "service.deregister", body.as_bytes()).await;
    assert_eq!(answer["message"], "Service deregistered successfully");
    assert!(names_colour(&answer), "{answer}");
    let answer = caller.ask("", "service.heartbeat", body.as_bytes()).await;
    assert_eq!(
        (&answer["status"], &answer["detail"]),
        (&json!(404), &json!("Service not found"))
    );

    let compared = |report: &Value| report["channels"]["discovery"]["compared"] == 3;
    let report = stage.until("both ways are compared", compared).await;
    assert_eq!(report["channels"]["discovery"]["different"], 0, "{report}");
    assert_eq!(report["channels"]["discovery"]["sent"], 7);
    stage.stop().await;
}

/// Whether an answer warns of the unknown field.
fn names_colour(answer: &Value) -> bool {
    let warnings = answer["warnings"].as_array();
    warnings.is_some_and(|all| all.len() == 1 && all[0].as_str().unwrap().contains("colour"))
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_messages_are_dead_lettered_with_the_reason() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    let answer = caller.ask("", "service.register", b"{no json").await;
    assert_eq!(answer["status"], 422, "{answer}");
    let mut headers = FieldTable::default();
    let mine = AMQPValue::LongString(LongString::from("mine"));
    headers.insert("mine".into(), mine.clone());
    let cc = vec![AMQPValue::LongString(LongString::from("service.register"))];
    headers.insert("CC".into(), AMQPValue::FieldArray(cc.into()));
    let properties = BasicProperties::default()
        .with_message_id("poison".into())
        .with_user_id("guest".into())
        .with_expiration("60000".into())
        .with_headers(headers);
    caller
        .publish("", "service.heartbeat", b"\xff", properties)
        .await;

    // The first one, and the second with its copy that CC sent to another queue.
    let mut dead = Vec::new();
    while dead.len() < 3 {
        let got = caller
            .channel
            .basic_get("musterd.dead".into(), BasicGetOptions { no_ack: true });
        match got.await.unwrap() {
            Some(message) => dead.push(message.delivery),
            None => sleep(std::time::Duration::from_millis(10)).await,
        }
    }
    dead.retain(|message| message.properties.message_id().is_some());
    assert_eq!(dead.len(), 2);
    for message in &dead {
        assert_eq!(message.data, b"\xff");
        let headers = message.properties.headers().as_ref().unwrap().inner();
        assert_eq!(headers["mine"], mine);
        let reason = headers["x-musterd-reason"]
            .as_long_string()
            .unwrap()
            .to_string();
        assert!(reason.contains("JSON"), "{reason}");
    }
    // Others are not held up.
    let body = registration("web", 1).to_string();
    let answer = caller.ask("", "service.register", body.as_bytes()).await;
    assert_eq!(answer["service_id"], "web-1");
    let report = stage.transport().await;
    assert_eq!(report["broker"]["dead_letters"], 3, "{report}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_dead_letter_queue_is_declared_with_the_next_message() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    let options = QueueDeleteOptions::default();
    let deleted = caller.channel.queue_delete("musterd.dead".into(), options);
    deleted.await.unwrap();
    let answer = caller.ask("", "service.register", b"{no json").await;
    assert_eq!(answer["status"], 422, "{answer}");
    let options = BasicGetOptions { no_ack: true };
    let got = caller.channel.basic_get("musterd.dead".into(), options);
    let message = got
        .await
        .unwrap()
        .expect("the message that nobody can read");
    assert_eq!(message.delivery.data, b"{no json");
    stage.stop().await;
}

/// Headers that leave no octet of a frame free where other properties take `besides`.
pub(super) fn filling_a_frame(besides: usize) -> FieldTable {
    // What else is in the frame: its head and end, what a content header begins with, the table's length, the
    // name and the length of its one value.
    let left = 131_072 - 8 - 14 - 4 - 7 - besides;
    let mut headers = FieldTable::default();
    let long = AMQPValue::LongString(LongString::from("x".repeat(left)));
    headers.insert("x".into(), long);
    headers
}

/// The broker's stamp makes them larger than the frame they came in.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_exactly_fill_a_frame_affect_no_other_client() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    let properties = BasicProperties::default().with_headers(filling_a_frame(0));
    caller
        .publish("musterd", "service.discover", b"{}", properties)
        .await;
    let body = registration("web", 1).to_string();
    let answer = caller.ask("", "service.register", body.as_bytes()).await;
    assert_eq!(answer["service_id"], "web-1");
    let buried = |report: &Value| report["broker"]["dead_letters"] == 1;
    let report = stage.until("it is buried", buried).await;
    assert_eq!(report["broker"]["connections"], 1, "{report}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_as_large_as_a_frame_affect_no_other_client() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    let mut headers = FieldTable::default();
    for at in 0..10 {
        let long = AMQPValue::LongString(LongString::from("x".repeat(10_000)));
        headers.insert(format!("h{at}").into(), long);
    }
    for (key, body) in [
        ("service.register", &b"no json"[..]),
        ("service.events.x", b"not ours"),
        ("health.verdict", b"no json"),
    ] {
        let properties = BasicProperties::default().with_headers(headers.clone());
        caller.publish("musterd", key, body, properties).await;
    }
    let body = registration("web", 1).to_string();
    let answer = caller.ask("", "service.register", body.as_bytes()).await;
    assert_eq!(answer["service_id"], "web-1");
    stage.until_sent().await;
    let report = stage.transport().await;
    assert_eq!(report["broker"]["connections"], 1, "{report}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_direct_commands_wait_and_none_is_lost() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let mut caller = Caller::new(&stage).await;
    stage
        .put(200, json!({"channels": {"discovery": "direct"}}))
        .await;
    let body = registration("web", 1).to_string();
    let unanswered = BasicProperties::default();
    caller
        .publish("", "service.register", body.as_bytes(), unanswered)
        .await;
    sleep(std::time::Duration::from_millis(300)).await;
    assert!(stage.registry.instance("web-1").is_none());
    stage
        .put(200, json!({"channels": {"discovery": "queue"}}))
        .await;
    let body = json!({"service_id": "web-1"}).to_string();
    while caller.ask("", "service.heartbeat", body.as_bytes()).await["status"] == 404 {
        sleep(std::time::Duration::from_millis(10)).await;
    }
    stage.stop().await;
}
