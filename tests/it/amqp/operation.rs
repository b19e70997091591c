//! What an operator does to a broker: stops it, lets its memory run short. On a broker of the test's own.

use std::net::SocketAddr;
use std::time::Duration;

use musterd::broker::{Broker, Config};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Login};
use super::codec::field;
use super::target::{Kind, target};
use crate::rabbitmq::Rabbit;

/// A broker that nobody else uses, of the kind under test.
pub(super) enum Own {
    Embedded {
        addr: SocketAddr,
        stop: CancellationToken,
        runtime: Runtime,
    },
    RabbitMq(Rabbit),
}

/// Bytes of messages that the embedded one holds before it blocks publishers.
const MEMORY: usize = 4 << 20;

impl Own {
    fn start() -> Self {
        if target().kind == Kind::RabbitMq {
            return Self::RabbitMq(Rabbit::private());
        }
        let mut config = Config::default();
        config.limits.memory = bytesize::ByteSize::b(MEMORY as u64).into();
        Self::embedded(config)
    }

    /// The embedded one, on a free port.
    pub(super) fn embedded(mut config: Config) -> Self {
        config.listen = "127.0.0.1:0".to_owned();
        let (runtime, stop) = (Runtime::new().unwrap(), CancellationToken::new());
        let listening = runtime.block_on(Broker::bind(config)).unwrap();
        let addr = listening.address().unwrap();
        runtime.spawn(listening.serve(stop.clone()));
        Self::Embedded {
            addr,
            stop,
            runtime,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        match self {
            Self::Embedded { addr, .. } => *addr,
            Self::RabbitMq(rabbit) => rabbit.addr(),
        }
    }

    /// Stops it while clients are connected.
    fn stop(&self) {
        match self {
            Self::Embedded { stop, .. } => stop.cancel(),
            Self::RabbitMq(rabbit) => drop(rabbit.ctl(&["stop_app"])),
        }
    }

    /// Makes memory short, by what is in `queue` where only that helps.
    fn run_short(&self, client: &mut Client, queue: &str) {
        match self {
            Self::Embedded { .. } => {
                client.send(
                    1,
                    &format!("basic.publish routing-key={queue} body=x*{}", MEMORY + 1000),
                );
                assert_eq!(client.call(1, "basic.qos"), "basic.qos-ok");
            }
            Self::RabbitMq(rabbit) => {
                drop(rabbit.ctl(&["set_vm_memory_high_watermark", "0.00001"]));
            }
        }
    }

    /// Ends the shortage.
    fn recover(&self, client: &mut Client, queue: &str) {
        client.call(1, &format!("queue.purge queue={queue}"));
        if let Self::RabbitMq(rabbit) = self {
            rabbit.ctl(&["set_vm_memory_high_watermark", "0.6"]);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Self::Embedded { stop, runtime, .. } = self {
            stop.cancel();
            let left = std::mem::replace(runtime, Runtime::new().unwrap());
            left.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

#[test]
fn a_broker_that_stops_closes_its_connections_with_320() {
    let own = Own::start();
    let mut idle = Client::open(own.addr(), &Login::default());
    let mut busy = Client::ready(own.addr());
    busy.call(1, "queue.declare queue=stop exclusive");
    busy.call(1, "basic.consume queue=stop consumer-tag=c");
    own.stop();
    for client in [&mut idle, &mut busy] {
        let close = client.receive(0);
        assert!(
            close.starts_with("connection.close reply-code=320 reply-text='CONNECTION_FORCED - "),
            "{close}"
        );
        assert!(close.ends_with(" class-id=0 method-id=0"), "{close}");
        assert_eq!(client.receive(0), "eof");
    }
}

#[test]
fn short_memory_blocks_publishers_and_nobody_else() {
    let own = Own::start();
    let (mut publisher, mut consumer, mut other) = (
        Client::ready(own.addr()),
        Client::ready(own.addr()),
        Client::ready(own.addr()),
    );
    for queue in ["bulk", "short"] {
        other.call(1, &format!("queue.declare queue={queue}"));
    }
    publisher.send(1, "basic.publish routing-key=short body=before");
    assert_eq!(publisher.call(1, "basic.qos"), "basic.qos-ok");
    own.run_short(&mut other, "bulk");
    publisher.send(1, "basic.publish routing-key=short body=during");
    publisher.send(1, "queue.declare queue=short passive");
    let blocked = publisher.receive(0);
    assert!(
        blocked.starts_with("connection.blocked reason="),
        "{blocked}"
    );
    assert!(!field(&blocked, "reason").is_empty());
    let answer = publisher.receive_within(1, Duration::from_millis(500));
    assert_eq!(answer, None, "what follows the publish waits");
    // Others declare and consume, and are told nothing.
    consumer.send(1, "basic.consume queue=short consumer-tag=c no-ack");
    assert_eq!(consumer.receive(1), "basic.consume-ok consumer-tag=c");
    assert!(consumer.receive(1).ends_with(" body=before"));
    let mut newcomer = Client::ready(own.addr());
    assert!(
        newcomer
            .call(1, "queue.declare queue=new")
            .starts_with("queue.declare-ok")
    );
    assert_eq!(newcomer.receive_within(0, Duration::from_millis(200)), None);
    own.recover(&mut newcomer, "bulk");
    assert_eq!(publisher.receive(0), "connection.unblocked");
    assert!(
        publisher
            .receive(1)
            .starts_with("queue.declare-ok queue=short")
    );
    assert!(consumer.receive(1).ends_with(" body=during"));
}
