//! `musterd prober` as an operator has it: whom it can't work for, and how it leaves.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, ExchangeDeleteOptions},
    types::FieldTable,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    health::{metric, until},
    stage::{PATIENCE, Stage, connect},
};
use crate::daemon::signal;

/// `musterd prober`; killed when it goes out of scope.
pub(super) struct Remote(Child);

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Remote {
    pub(super) fn start(url: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        command.args(["prober", "--amqp-url", url, "--concurrency", "8"]);
        command.stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(super) fn signal(&self, name: &str) {
        signal(&self.0, name);
    }

    pub(super) async fn exit_code(mut self) -> Option<i32> {
        timeout(PATIENCE, async {
            loop {
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status.code();
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it ends")
    }
}

/// What it says when it gives up at once.
async fn refused(url: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
    command.args(["prober", "--amqp-url", url]);
    let mut remote = Remote(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut stderr = remote.0.stderr.take().unwrap();
    assert_eq!(remote.exit_code().await, Some(2), "{url}");
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(log.matches("refuses").count(), 1, "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_at_first_ends_it() {
    let stage = Stage::start(&[("transport.mode", "direct")]).await;
    let password = refused(&stage.amqp.replace("guest:guest", "guest:wrong")).await;
    assert!(
        password.contains("refuses") && password.contains("ACCESS_REFUSED"),
        "{password}"
    );
    let (server, _) = stage.amqp.rsplit_once('/').unwrap();
    let vhost = refused(&format!("{server}/nowhere")).await;
    assert!(
        vhost.contains("refuses") && vhost.contains("nowhere"),
        "{vhost}"
    );

    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.exchange_delete("musterd".into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    let options = ExchangeDeclareOptions::default();
    let declared = channel.exchange_declare(
        "musterd".into(),
        ExchangeKind::Fanout,
        options,
        FieldTable::default(),
    );
    declared.await.unwrap();
    let exchange = refused(&stage.amqp).await;
    assert!(
        exchange.contains("refuses") && exchange.contains("PRECONDITION_FAILED"),
        "{exchange}"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_later_is_tried_again() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let keys = [
        ("broker.listen", address.as_str()),
        ("transport.mode", "direct"),
    ];
    let consumed = async |stage: &Stage| {
        until("it takes requests", async || {
            let queue = stage.get("/broker/queues/%2F/health.check.request").await;
            queue["consumers"] == 1
        })
        .await;
    };
    let stage = Stage::embedded(&keys).await;
    let mut remote = Remote::start(&stage.amqp);
    consumed(&stage).await;
    stage.stop().await;
    let shut = [keys[0], keys[1], ("broker.auth.guest", "false")];
    let stage = Stage::embedded(&shut).await;
    sleep(Duration::from_secs(1)).await;
    assert!(remote.0.try_wait().unwrap().is_none(), "it waits");
    stage.stop().await;
    let stage = Stage::embedded(&keys).await;
    consumed(&stage).await;
    stage.stop().await;
}

/// A daemon that probes over the queue, with a probe under way that is answered after so long.
async fn slow_probe(answered_after: Duration) -> (Stage, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, was_asked) = oneshot::channel();
    let mut served = JoinSet::new();
    served.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let read = socket.read(&mut [0; 2048]).await.unwrap();
        asked.send(read).unwrap();
        sleep(answered_after).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
    });
    let keys = [
        ("transport.mode", "direct"),
        ("transport.health", "queue"),
        ("transport.drain", "20s"),
        ("stop.grace", "60s"),
    ];
    let stage = Stage::start(&keys).await;
    // Without a connection the daemon would make the probe itself.
    let up = |report: &Value| report["broker"]["state"] == "up";
    stage.until("the broker is there", up).await;
    let body = json!({
        "service_id": "slow", "service_name": "s", "host": "127.0.0.1", "port": port,
        "checks": [{"type": "http", "name": "web", "path": "/", "interval": "60s", "timeout": "30s"}],
    });
    let registered = stage
        .client
        .post(format!("{}/services/register", stage.http));
    let registered = registered.body(body.to_string()).send().await.unwrap();
    assert_eq!(registered.status(), 200);
    timeout(PATIENCE, was_asked).await.unwrap().unwrap();
    (stage, served)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_under_way_has_the_time_of_drain() {
    // Longer than consumers and connections are given without a probe.
    let (stage, mut served) = slow_probe(Duration::from_millis(4_400)).await;
    stage.set("direct").await;
    until("the probe is answered", async || {
        metric(&stage, "musterd_prober_requests_total{result=\"answered\"}").await >= 1.0
    })
    .await;
    served.join_next().await.unwrap().unwrap();
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_under_way_does_not_delay_a_mode_change() {
    let (stage, _served) = slow_probe(Duration::from_secs(600)).await;
    stage.set("direct").await;
    stage
        .put(200, json!({"channels": {"health": "queue"}}))
        .await;
    // The daemon itself does not wait either.
    stage.set("direct").await;
}
