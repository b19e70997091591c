//! The broker under test.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::OnceLock;

use musterd::broker::auth::config::{PermissionConfig, UserConfig, Users};
use musterd::broker::{Broker, Config};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use crate::rabbitmq::Rabbit;

/// Whose behaviour to expect where RabbitMQ 3.10 differs from what we promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RabbitMq,
    Musterd,
}

/// Where it listens and what it is. Users: guest (everything), mine (names that begin with `mine-`, in `/`),
/// nobody (no permission anywhere), each with its name for a password; vhosts `/` and `second`.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    pub(super) kind: Kind,
}

/// The broker that `BROKER_UNDER_TEST` names.
pub(super) fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| match std::env::var("BROKER_UNDER_TEST").as_deref() {
        Err(_) | Ok("" | "musterd" | "embedded") => embedded(),
        Ok("rabbitmq") => {
            let rabbit = Rabbit::shared();
            Target {
                addr: rabbit.addr(),
                kind: Kind::RabbitMq,
            }
        }
        Ok(url) => elsewhere(url),
    })
}

impl Target {
    pub(super) fn url(&self, user: &str) -> String {
        format!("amqp://{user}:{user}@{}/%2f", self.addr)
    }
}

/// The embedded broker, inside this process, until the process ends.
fn embedded() -> Target {
    // On a separate thread: the caller may be inside a runtime.
    let addr = std::thread::spawn(|| {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
        let listening = runtime.block_on(Broker::bind(configuration())).unwrap();
        let addr = listening.address().unwrap();
        runtime.spawn(listening.serve(CancellationToken::new()));
        addr
    });
    Target {
        addr: addr.join().unwrap(),
        kind: Kind::Musterd,
    }
}

fn configuration() -> Config {
    let own = || "^mine-".to_owned();
    let mine = PermissionConfig {
        configure: own(),
        write: own(),
        read: own(),
    };
    let user = |name: &str, permissions| UserConfig {
        password: Some(name.to_owned().into()),
        permissions,
        ..UserConfig::default()
    };
    let mut config = Config {
        listen: "127.0.0.1:0".to_owned(),
        vhosts: vec!["/".to_owned(), "second".to_owned()],
        users: Users::from([
            (
                "mine".to_owned(),
                user("mine", [("/".to_owned(), mine)].into()),
            ),
            ("nobody".to_owned(), user("nobody", [].into())),
        ]),
        ..Config::default()
    };
    // Some tests fail to log in on purpose, from the one address that all of them have.
    config.auth.failures_per_address = 1000.into();
    config
}

fn elsewhere(url: &str) -> Target {
    let host = url
        .strip_prefix("amqp://")
        .unwrap_or_else(|| panic!("BROKER_UNDER_TEST=\"{url}\" is no amqp:// URL"));
    let host = host
        .split('/')
        .next()
        .unwrap_or_default()
        .rsplit('@')
        .next()
        .unwrap_or_default();
    let addr = host.to_socket_addrs().unwrap().next().unwrap();
    let mut client = Client::connect(addr);
    client.write(b"AMQP\0\0\x09\x01");
    let kind = if client.receive(0).contains("platform=S'Erlang") {
        Kind::RabbitMq
    } else {
        Kind::Musterd
    };
    Target { addr, kind }
}
