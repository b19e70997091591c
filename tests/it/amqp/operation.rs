//! What an operator does to a broker: stops it, lets its memory run short. On a broker of the test's own.

use std::net::SocketAddr;
use std::time::Duration;

use musterd::broker::{Broker, Config};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Login};
use super::codec::field;
use super::faulty;
use super::target::{Kind, target};
use crate::rabbitmq::Rabbit;

/// A broker that nobody else uses, of the kind under test.
pub(super) enum Own {
    Embedded {
        broker: Broker,
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
    pub(super) fn embedded(config: Config) -> Self {
        Self::on(Runtime::new().unwrap(), config)
    }

    fn on(runtime: Runtime, mut config: Config) -> Self {
        config.listen = "127.0.0.1:0".to_owned();
        let stop = CancellationToken::new();
        let listening = runtime.block_on(Broker::bind(config)).unwrap();
        let (broker, addr) = (listening.broker(), listening.address().unwrap());
        runtime.spawn(listening.serve(stop.clone()));
        Self::Embedded {
            broker,
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
                let blocked = client.receive(0);
                assert!(blocked.starts_with("connection.blocked "), "{blocked}");
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
fn a_memory_alarm_blocks_publishers_only() {
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
    assert_eq!(answer, None, "frames after the publish wait");
    // Others, which declare and consume, get no notice.
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

/// A new connection is blocked as well, before a header or a body of it is read.
#[test]
fn an_alarm_blocks_publishers_that_connect_during_it() {
    let mut config = Config::default();
    config.limits.memory = bytesize::ByteSize::b(MEMORY as u64).into();
    let own = Own::embedded(config);
    let Own::Embedded {
        broker,
        addr,
        runtime,
        ..
    } = &own
    else {
        panic!("embedded");
    };
    let overview = || runtime.block_on(broker.overview());
    let mut other = Client::ready(*addr);
    other.call(1, "queue.declare queue=bulk");
    own.run_short(&mut other, "bulk");
    let before = overview();
    assert!(before.memory_alarm);
    let mut publishers: Vec<_> = (0..8).map(|_| Client::ready(*addr)).collect();
    for publisher in &mut publishers {
        publisher.send(1, "basic.publish routing-key=bulk body=x*100000");
        let blocked = publisher.receive(0);
        assert!(blocked.starts_with("connection.blocked "), "{blocked}");
    }
    let during = overview();
    assert!(
        during.memory_bytes < before.memory_bytes + 8 * 64 * 1024,
        "{} bytes and then {}",
        before.memory_bytes,
        during.memory_bytes
    );
    // A connection that has published is not read from during the alarm.
    own.recover(&mut Client::ready(*addr), "bulk");
    for publisher in &mut publishers {
        assert_eq!(publisher.receive(0), "connection.unblocked");
    }
}

#[test]
fn unauthenticated_clients_do_not_block_others() {
    let mut config = Config::default();
    config.limits.connections = 4.into();
    config.limits.unauthenticated = 2.into();
    let own = Own::embedded(config);
    let mut silent: Vec<_> = (0..6).map(|_| Client::connect(own.addr())).collect();
    let mut open: Vec<_> = (0..4).map(|_| Client::ready(own.addr())).collect();
    for evicted in &mut silent[..4] {
        assert_eq!(evicted.receive(0), "eof");
    }
    let refused = Client::connect(own.addr()).handshake(&Login::default());
    assert_eq!(
        refused,
        "connection.close reply-code=530 reply-text='NOT_ALLOWED - connection refused: connection limit (4) is \
         reached' class-id=10 method-id=40"
    );
    open.pop().unwrap().close();
    // Its place is free a moment after it has ended.
    let again = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        Client::connect(own.addr()).handshake(&Login::default()) == "connection.open-ok"
    });
    assert!(again);
}

#[test]
fn a_panic_in_one_connection_is_cleaned_up_and_ends_no_other() {
    let own = Own::on(faulty::runtime("faulty"), Config::default());
    let Own::Embedded {
        broker,
        addr,
        runtime,
        ..
    } = &own
    else {
        panic!("embedded");
    };
    let mut closed = broker.closed_connections().unwrap();
    // What a client without heartbeats declares is not logged.
    let login = Login {
        heartbeat: 60,
        ..Login::default()
    };
    let (mut other, mut victim) = (Client::ready(*addr), Client::open(*addr, &login));
    victim.call(1, "channel.open");
    other.call(1, "queue.declare queue=fine durable");
    other.send(
        1,
        "basic.publish routing-key=fine delivery-mode=2 body=given",
    );
    victim.call(1, "queue.declare queue=own exclusive");
    victim.send(1, "basic.consume queue=fine consumer-tag=c");
    assert_eq!(victim.receive(1), "basic.consume-ok consumer-tag=c");
    assert!(victim.receive(1).ends_with(" body=given"));
    let overview = || runtime.block_on(broker.overview());
    let used = overview().memory_bytes;
    victim.send(1, "queue.declare queue=faulty durable");
    assert_eq!(victim.receive(0), "eof");
    let id = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), closed.recv()).await });
    assert!(!broker.is_connected(id.unwrap().unwrap()));
    let after = overview();
    assert_eq!((after.connections, after.vhosts[0].channels), (1, 1));
    assert!(after.memory_bytes < used, "its memory is released");
    let gone = other.call(1, "queue.declare queue=own passive");
    assert!(gone.starts_with("channel.close reply-code=404 "), "{gone}");
    other.call(1, "channel.open");
    let again = other.call(1, "basic.get queue=fine");
    assert!(again.ends_with(" body=given"), "{again}");
    Client::ready(*addr);
}

#[test]
fn a_reload_closes_connections_of_removed_users_and_changes_permissions_of_others() {
    use musterd::broker::auth::config::{PermissionConfig, UserConfig};
    let user = |permission: PermissionConfig| UserConfig {
        password: Some("p".to_owned().into()),
        permissions: [("/".to_owned(), permission)].into(),
        ..UserConfig::default()
    };
    let mut config = Config::default();
    config
        .users
        .insert("gone".to_owned(), user(PermissionConfig::all()));
    config
        .users
        .insert("stays".to_owned(), user(PermissionConfig::all()));
    let own = Own::embedded(config.clone());
    let Own::Embedded { broker, addr, .. } = &own else {
        panic!("embedded");
    };
    let login = |user: &str| Login {
        user: user.to_owned(),
        password: "p".to_owned(),
        ..Login::default()
    };
    let (mut gone, mut stays) = (
        Client::open(*addr, &login("gone")),
        Client::open(*addr, &login("stays")),
    );
    stays.call(1, "channel.open");
    assert!(
        stays
            .call(1, "queue.declare queue=a")
            .starts_with("queue.declare-ok")
    );
    config.users.remove("gone");
    config
        .users
        .insert("stays".to_owned(), user(PermissionConfig::default()));
    broker.reload(&config).unwrap();
    let close = gone.receive(0);
    assert!(
        close.starts_with("connection.close reply-code=320 "),
        "{close}"
    );
    let refused = stays.call(1, "queue.declare queue=b");
    assert!(
        refused.starts_with("channel.close reply-code=403 "),
        "{refused}"
    );
    let refused = Client::connect(*addr).handshake(&login("gone"));
    assert!(
        refused.starts_with("connection.close reply-code=403 "),
        "{refused}"
    );
}
