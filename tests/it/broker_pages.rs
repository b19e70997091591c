//! The embedded broker over HTTP: what a client does over AMQP is what the pages show, and what an
//! operator does there is what the client meets.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};
use musterd::{
    app::{App, AppError},
    config::Config,
    model::Mode,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinSet};

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon in this process, on free ports.
struct Daemon {
    url: String,
    amqp: String,
    stop: oneshot::Sender<()>,
    running: JoinSet<Result<(), AppError>>,
    client: reqwest::Client,
}

impl Daemon {
    async fn start(edit: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.http.listen = "127.0.0.1:0".to_owned();
        config.broker.listen = "127.0.0.1:0".to_owned();
        config.broker.management_listen = String::new();
        config.consul.listen = String::new();
        config.dns.listen = String::new();
        // The daemon's own connection and queues are not what is looked for.
        config.transport.mode = Some(Mode::Direct);
        edit(&mut config);
        let app = App::start(config).await.unwrap();
        let url = format!("http://{}", app.http_address().unwrap());
        let amqp = app.amqp_address().map(|at| format!("amqp://{at}/%2f"));
        let (stop, asked) = oneshot::channel();
        let mut running = JoinSet::new();
        running.spawn(app.run_until(async {
            let _ = asked.await;
        }));
        Self {
            url,
            amqp: amqp.unwrap_or_default(),
            stop,
            running,
            client: reqwest::Client::new(),
        }
    }

    async fn ask(&self, method: Method, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.url);
        let answer = self.client.request(method, url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, text) = self.ask(Method::GET, path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    async fn delete(&self, path: &str) -> Value {
        let (status, text) = self.ask(Method::DELETE, path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn connect(&self) -> (Connection, Channel) {
        let properties = ConnectionProperties::default().with_connection_name("pages-test".into());
        let connection = Connection::connect(&self.amqp, properties).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    async fn stopped(mut self) {
        self.stop.send(()).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        ended.unwrap().unwrap().unwrap().unwrap();
    }
}

async fn declare(channel: &Channel, name: &str) {
    channel
        .queue_declare(
            name.into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
}

async fn publish(channel: &Channel, queue: &str, body: &str) {
    let properties = BasicProperties::default().with_content_type("text/plain".into());
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            body.as_bytes(),
            properties,
        )
        .await
        .unwrap()
        .await
        .unwrap();
}

#[tokio::test]
async fn queues_are_seen_read_purged_and_deleted_over_http() {
    let daemon = Daemon::start(|_| {}).await;
    let (connection, channel) = daemon.connect().await;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.unwrap();
    declare(&channel, "orders/new").await;
    for body in ["one", "two", "three"] {
        publish(&channel, "orders/new", body).await;
    }
    let taken = channel
        .basic_get("orders/new".into(), BasicGetOptions::default())
        .await
        .unwrap()
        .unwrap();

    let path = "/broker/queues/%2F/orders%2Fnew";
    let queue = daemon.get(path).await;
    assert_eq!(
        (&queue["messages_ready"], &queue["messages_unacked"]),
        (&json!(2), &json!(1))
    );
    let counters = &queue["counters"];
    assert_eq!(
        (&counters["published"], &counters["delivered"]),
        (&json!(3), &json!(1))
    );
    assert!(queue["rates"]["published"].as_f64() > Some(0.0), "{queue}");
    taken.acker.ack(BasicAckOptions::default()).await.unwrap();

    let read = daemon.get(&format!("{path}/messages?count=1")).await;
    let messages = read["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["body"], "two");
    assert_eq!(messages[0]["content_type"], "text/plain");

    // Answered before the ack is: one channel, in order.
    declare(&channel, "orders/new").await;
    let overview = daemon.get("/broker/overview").await;
    for (key, value) in [
        ("connections", 1),
        ("channels", 1),
        ("messages_ready", 2),
        ("messages_unacked", 0),
    ] {
        assert_eq!(overview[key], value, "{key}");
    }
    let counters = &overview["vhosts"][0]["counters"];
    for (key, value) in [("published", 3), ("delivered", 1), ("acked", 1)] {
        assert_eq!(counters[key], value, "{key}");
    }
    assert!(
        overview["rates"]["acked"].as_f64() > Some(0.0),
        "{overview}"
    );
    assert!(overview["memory_bytes"].as_u64() > Some(0), "{overview}");
    assert_eq!(overview["memory_alarm"], false);

    let purged = daemon.delete(&format!("{path}/messages")).await;
    assert_eq!(purged, json!({"purged": 2}));
    publish(&channel, "orders/new", "four").await;
    let deleted = daemon.delete(path).await;
    assert_eq!(deleted, json!({"deleted": true, "messages": 1}));
    let (status, text) = daemon.ask(Method::GET, path).await;
    assert_eq!(status, 404, "{text}");
    let get = channel.basic_get("orders/new".into(), BasicGetOptions::default());
    let gone = get.await.unwrap_err().to_string();
    assert!(
        gone.contains("NOT_FOUND") || gone.contains("no queue"),
        "{gone}"
    );
    drop(connection);
    daemon.stopped().await;
}

#[tokio::test]
async fn every_list_shows_what_a_client_made_in_parts() {
    let daemon = Daemon::start(|_| {}).await;
    let (connection, channel) = daemon.connect().await;
    for name in ["list-1", "list-2", "other"] {
        declare(&channel, name).await;
    }
    channel
        .queue_bind(
            "list-1".into(),
            "amq.topic".into(),
            "a.#".into(),
            Default::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let qos = BasicQosOptions::default();
    channel.basic_qos(5, qos).await.unwrap();
    let consume = BasicConsumeOptions::default();
    let consumer = channel
        .basic_consume(
            "list-2".into(),
            "tag-2".into(),
            consume,
            FieldTable::default(),
        )
        .await
        .unwrap();

    let connections = daemon.get("/broker/connections").await;
    assert_eq!(connections["total_count"], 1);
    let one = &connections["connections"][0];
    assert_eq!(
        (&one["name"], &one["user"]),
        (&json!("pages-test"), &json!("guest"))
    );
    let named = daemon.get("/broker/connections?name=nobody").await;
    assert_eq!(named, json!({"connections": [], "total_count": 0}));
    let channels = daemon.get("/broker/channels?name=pages").await;
    assert_eq!(channels["channels"][0]["connection"], one["id"]);
    let exchanges = daemon.get("/broker/exchanges?name=amq.t").await;
    assert_eq!(exchanges["exchanges"][0]["type"], "topic");
    let part = daemon
        .get("/broker/queues?vhost=%2F&name=list&limit=1")
        .await;
    assert_eq!(part["queues"].as_array().unwrap().len(), 1);
    assert_eq!(part["total_count"], 2);
    let elsewhere = daemon.get("/broker/queues?vhost=elsewhere").await;
    assert_eq!(elsewhere["total_count"], 0);
    let bindings = daemon.get("/broker/bindings?name=list-1").await;
    assert_eq!(bindings["bindings"].as_array().unwrap().len(), 1);
    assert_eq!(bindings["bindings"][0]["source"], "amq.topic");
    let consumers = daemon.get("/broker/consumers").await;
    let one = &consumers["consumers"][0];
    assert_eq!(
        (&one["consumer_tag"], &one["prefetch"]),
        (&json!("tag-2"), &json!(5))
    );
    drop((consumer, connection));
    daemon.stopped().await;
}

#[tokio::test]
async fn the_largest_queues_have_separate_metrics() {
    let daemon = Daemon::start(|config| config.http.broker.metrics_queues_max = 1.into()).await;
    let (connection, channel) = daemon.connect().await;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.unwrap();
    for (name, depth) in [("small", 1), ("large", 3), ("middle", 2)] {
        declare(&channel, name).await;
        for _ in 0..depth {
            publish(&channel, name, "body").await;
        }
    }
    let (status, page) = daemon.ask(Method::GET, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "musterd_broker_connections 1",
        "musterd_broker_channels 1",
        // Six are the daemon's own.
        "musterd_broker_queues 9",
        "musterd_broker_consumers 0",
        "musterd_broker_messages_ready 6",
        "musterd_broker_messages_unacked 0",
        "musterd_broker_memory_alarm 0",
        "musterd_broker_published_total 6",
        r#"musterd_broker_queue_messages_ready{queue="large",vhost="/"} 3"#,
        r#"musterd_broker_queue_messages_ready{queue="_others",vhost=""} 3"#,
        r#"musterd_broker_queue_consumers{queue="large",vhost="/"} 0"#,
    ] {
        assert!(page.lines().any(|own| own == line), "{line} in {page}");
    }
    assert!(!page.contains(r#"queue="small""#), "{page}");

    // Who does not acknowledge has settled what it gets; the next largest queue takes the place.
    let consume = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let arguments = FieldTable::default();
    let consumer = channel.basic_consume("large".into(), "".into(), consume, arguments);
    let mut consumer = consumer.await.unwrap();
    for _ in 0..3 {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await;
        assert_eq!(delivery.unwrap().unwrap().unwrap().data, b"body");
    }
    let (_, page) = daemon.ask(Method::GET, "/metrics").await;
    for line in [
        "musterd_broker_delivered_total 3",
        "musterd_broker_acked_total 3",
        r#"musterd_broker_queue_messages_ready{queue="middle",vhost="/"} 2"#,
        r#"musterd_broker_queue_messages_ready{queue="_others",vhost=""} 1"#,
    ] {
        assert!(page.lines().any(|own| own == line), "{line} in {page}");
    }
    assert!(!page.contains(r#"queue="large""#), "{page}");
    drop(connection);
    daemon.stopped().await;
}

#[tokio::test]
async fn a_daemon_without_a_broker_says_so() {
    let daemon = Daemon::start(|config| config.broker.listen = String::new()).await;
    let (status, text) = daemon.ask(Method::GET, "/broker/overview").await;
    assert_eq!(status, 404);
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["detail"], "the embedded broker is switched off");
    let (_, page) = daemon.ask(Method::GET, "/metrics").await;
    assert!(!page.contains("musterd_broker"), "{page}");
    daemon.stopped().await;
}
