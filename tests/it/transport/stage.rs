//! A daemon within the test's process, its broker, and what is listened with.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties, Consumer,
    message::Delivery as Message,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use musterd::{
    app::App,
    config::{Config, Sources},
    registry::Registry,
    transport::{Delivery, Filter, Start, Subscription},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::rabbitmq::Rabbit;

/// Longer than anything here takes, however busy the machine is.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether RabbitMQ is the broker under test.
pub(super) fn is_rabbit() -> bool {
    std::env::var("BROKER_UNDER_TEST").is_ok_and(|broker| broker == "rabbitmq")
}

/// A vhost of RabbitMQ for one test alone, as a URL: its queues have the names that all daemons use.
pub(super) fn vhost(rabbit: &Rabbit) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("test-{}-{number}", std::process::id());
    rabbit.ctl(&["add_vhost", &name]);
    rabbit.ctl(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]);
    format!("amqp://guest:guest@{}/{name}", rabbit.addr())
}

/// A running daemon; it stops when this is dropped.
pub(super) struct Stage {
    pub(super) registry: Registry,
    pub(super) http: String,
    /// Where clients of the broker under test connect.
    pub(super) amqp: String,
    pub(super) client: reqwest::Client,
    seen: Arc<Mutex<Vec<u64>>>,
    subscription: Option<Subscription>,
    stop: oneshot::Sender<()>,
    run: JoinSet<()>,
}

/// A daemon's configuration on free ports, with these keys besides.
pub(super) fn config(keys: &[(&str, &str)]) -> Config {
    let free = ["http", "broker"].map(|door| (format!("{door}.listen"), "127.0.0.1:0".to_owned()));
    let shut = ["consul.listen", "dns.listen", "broker.management_listen"];
    let shut = shut.map(|key| (key.to_owned(), String::new()));
    let keys = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let flags = free.into_iter().chain(shut).chain(keys).collect();
    let sources = Sources {
        flags,
        ..Sources::default()
    };
    sources.load().unwrap()
}

impl Stage {
    /// A daemon with the broker under test.
    pub(super) async fn start(keys: &[(&str, &str)]) -> Self {
        if !is_rabbit() {
            return Self::with(config(keys), None).await;
        }
        let url = tokio::task::spawn_blocking(|| vhost(&Rabbit::shared())).await;
        Self::on(&url.unwrap(), keys).await
    }

    /// A daemon with the embedded broker, whichever is under test.
    pub(super) async fn embedded(keys: &[(&str, &str)]) -> Self {
        Self::with(config(keys), None).await
    }

    /// A daemon with the broker at this URL.
    pub(super) async fn on(url: &str, keys: &[(&str, &str)]) -> Self {
        let mut all = vec![("transport.amqp_url", url), ("broker.listen", "")];
        all.extend(keys);
        Self::with(config(&all), Some(url.to_owned())).await
    }

    /// A daemon with its embedded broker, or with the one at this URL, as `config` has it.
    pub(super) async fn with(config: Config, url: Option<String>) -> Self {
        let app = App::start(config).await.unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let delivered = Arc::clone(&seen);
        let callback = move |delivery: Delivery| {
            match delivery {
                Delivery::Event(event) => delivered.lock().push(event.revision.0),
                Delivery::Resync(snapshot) => delivered.lock().push(snapshot.cursor.revision.0),
            }
            std::future::ready(Ok(()))
        };
        let subscription = app
            .subscribe(Filter::default(), Start::Newest, callback)
            .unwrap();
        let amqp = url
            .unwrap_or_else(|| format!("amqp://guest:guest@{}/%2f", app.amqp_address().unwrap()));
        let http = format!("http://{}", app.http_address().unwrap());
        let registry = app.registry().clone();
        let (stop, stopped) = oneshot::channel();
        let mut run = JoinSet::new();
        run.spawn(async move {
            let asked = async {
                let _ = stopped.await;
            };
            app.run_until(asked).await.unwrap();
        });
        Self {
            registry,
            http,
            amqp,
            client: reqwest::Client::new(),
            seen,
            subscription: Some(subscription),
            stop,
            run,
        }
    }

    /// Nobody is called any more.
    pub(super) fn unsubscribe(&mut self) {
        self.subscription = None;
    }

    /// Stops it in good order.
    pub(super) async fn stop(self) {
        let Self { stop, mut run, .. } = self;
        stop.send(()).unwrap();
        run.join_next().await.unwrap().unwrap();
    }

    /// GET /transport.
    pub(super) async fn transport(&self) -> Value {
        self.get("/transport").await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.http)).send();
        answer.await.unwrap().json().await.unwrap()
    }

    /// PUT /transport, which must be answered with this code.
    pub(super) async fn put(&self, code: u16, body: Value) -> Value {
        let asked = self.client.put(format!("{}/transport", self.http));
        let answer = asked.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        let report: Value = answer.json().await.unwrap();
        assert_eq!(status, code, "{report}");
        report
    }

    pub(super) async fn set(&self, mode: &str) {
        self.put(200, json!({"mode": mode})).await;
    }

    /// Waits until GET /transport says so.
    pub(super) async fn until(&self, what: &str, said: impl Fn(&Value) -> bool) -> Value {
        let waited = timeout(PATIENCE, async {
            loop {
                let report = self.transport().await;
                if said(&report) {
                    return report;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        match waited.await {
            Ok(report) => report,
            Err(_) => panic!("{what}: {}", self.transport().await),
        }
    }

    /// Waits until the broker is there and every event has left.
    pub(super) async fn until_sent(&self) {
        let sent = |report: &Value| {
            report["broker"]["state"] == "up" && report["channels"]["events"]["lag"] == 0
        };
        self.until("all events leave", sent).await;
    }

    /// Registers so many instances of a service.
    pub(super) async fn register(&self, service: &str, ids: std::ops::Range<usize>) {
        for id in ids {
            let body = registration(service, id).to_string();
            let asked = self.client.post(format!("{}/services/register", self.http));
            assert_eq!(asked.body(body).send().await.unwrap().status(), 200);
        }
    }

    /// Waits until the callback has seen every revision up to the newest, each once and in order.
    pub(super) async fn until_called(&self) {
        let newest = self.registry.newest().0;
        let all: Vec<_> = (1..=newest).collect();
        let waited = timeout(PATIENCE, async {
            while self.seen.lock().len() < all.len() {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?}", self.transport().await);
        assert_eq!(*self.seen.lock(), all);
    }

    /// Listens to the exchange by these routing keys.
    pub(super) async fn listen(&self, keys: &[&str]) -> Listener {
        Listener::new(&self.amqp, keys).await
    }
}

pub(super) fn registration(service: &str, id: usize) -> Value {
    json!({
        "service_id": format!("{service}-{id}"), "service_name": service,
        "host": "127.0.0.1", "port": 8080,
    })
}

/// A client with a separate queue that is bound to the exchange.
pub(super) struct Listener {
    _connection: Connection,
    consumer: Consumer,
}

impl Listener {
    pub(super) async fn new(url: &str, keys: &[&str]) -> Self {
        let connection = connect(url).await;
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let declared =
            channel.queue_declare(ShortString::default(), options, FieldTable::default());
        let queue = declared.await.unwrap().name().clone();
        for key in keys {
            let options = QueueBindOptions::default();
            let table = FieldTable::default();
            let bound = channel.queue_bind(
                queue.clone(),
                "musterd".into(),
                (*key).into(),
                options,
                table,
            );
            bound.await.unwrap();
        }
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        Self {
            consumer: consumer.await.unwrap(),
            _connection: connection,
        }
    }

    pub(super) async fn next(&mut self) -> Message {
        let next = timeout(PATIENCE, self.consumer.next()).await;
        next.expect("a message in time").unwrap().unwrap()
    }

    /// The next message's body and its routing key.
    pub(super) async fn event(&mut self) -> (String, Value) {
        let message = self.next().await;
        let body = serde_json::from_slice(&message.data).unwrap();
        (message.routing_key.to_string(), body)
    }

    /// The next message of this routing key.
    pub(super) async fn event_of(&mut self, wanted: &str) -> Value {
        loop {
            let (key, event) = self.event().await;
            if key == wanted {
                return event;
            }
        }
    }

    /// The next event's revision, whenever it comes; none when the broker has ended the connection.
    pub(super) async fn revision(&mut self) -> Option<u64> {
        loop {
            let message = self.consumer.next().await?.ok()?;
            let event: Value = serde_json::from_slice(&message.data).unwrap();
            if let Some(revision) = event["revision"].as_u64() {
                return Some(revision);
            }
        }
    }

    /// The revisions of the next messages, up to this one.
    pub(super) async fn revisions_until(&mut self, last: u64) -> Vec<u64> {
        let mut revisions = Vec::new();
        while revisions.last().is_none_or(|revision| *revision < last) {
            let (_, event) = self.event().await;
            revisions.extend(event["revision"].as_u64());
        }
        revisions
    }
}

/// A connection, waited for while the daemon and its broker start.
pub(super) async fn connect(url: &str) -> Connection {
    let connected = Connection::connect(url, ConnectionProperties::default());
    timeout(PATIENCE, connected).await.unwrap().unwrap()
}
