//! The transport over a broker, built and started.

pub(super) mod checks;
mod direct;

use std::sync::Arc;

use bytes::Bytes;

use self::direct::AskedDirectly;
use super::{AppError, store::Kept};
#[cfg(feature = "amqp")]
use crate::transport::rabbitmq::RabbitMq;
use crate::{
    api::Defaults,
    broker::{Broker, Listening},
    catalog::Catalog,
    config::Config,
    http::InProcessClient,
    registry::{Notices, Registry},
    security::Identities,
    tasks::{Stage, Tasks},
    transport::{
        self, DirectMetrics, Flag,
        amqp::{BrokerTransport, CommandContext, broker::BrokerClient},
        embedded::Embedded,
    },
};

/// The transport over a broker.
pub(super) type Way = BrokerTransport;

/// Finds what is wrong with the broker's URL without connecting.
pub(super) fn check(config: &Config) -> Result<(), AppError> {
    match config.transport.amqp_url.is_empty() {
        true => Ok(()),
        false => external(&config.transport).map(drop),
    }
}

/// The transport over the broker that the configuration names, or over the embedded one; none where there is
/// neither. What is declared at the embedded one is declared here, before clients are served.
pub(super) async fn build(
    config: &Config,
    embedded: Option<&Listening>,
    registry: &Registry,
    flag: &Flag,
    metrics: DirectMetrics,
    kept: &Kept,
) -> Result<Option<Way>, AppError> {
    let mut transport = config.transport.clone();
    let client = if transport.amqp_url.is_empty() {
        let Some(client) = embedded.and_then(|listening| own(config, listening)) else {
            return Ok(None);
        };
        let largest = config.broker.limits.message_size;
        transport.amqp.body_max = transport.amqp.body_max.get().min(*largest).into();
        Arc::new(client)
    } else {
        external(&transport)?
    };
    let (registry, flag) = (registry.clone(), flag.clone());
    let rows = Arc::new(kept.rows.clone());
    let stored = &kept.transport;
    let way = BrokerTransport::new(client, transport, registry, flag, metrics, stored, rows);
    way.store_cursors().await;
    if config.transport.amqp_url.is_empty() {
        way.declare_first().await;
    }
    Ok(Some(way))
}

/// The broker in this process, shown by the address of its plain door.
fn own(config: &Config, listening: &Listening) -> Option<Embedded> {
    let vhost = config.broker.vhosts.first()?;
    let client = listening.broker().local(vhost)?;
    let url = match (listening.address(), listening.tls_address()) {
        (Some(address), _) => format!("amqp://{address}/"),
        (None, Some(address)) => format!("amqps://{address}/"),
        (None, None) => return None,
    };
    let url = match &**vhost {
        "/" => url,
        vhost => format!("{url}{vhost}"),
    };
    Some(Embedded::new(client, url, config.transport.amqp.ping.get()))
}

/// The broker of `transport.amqp_url`.
#[cfg(feature = "amqp")]
fn external(config: &transport::Config) -> Result<Arc<dyn BrokerClient>, AppError> {
    Ok(Arc::new(RabbitMq::new(config)?))
}

/// The broker of `transport.amqp_url`.
#[cfg(not(feature = "amqp"))]
fn external(_: &transport::Config) -> Result<Arc<dyn BrokerClient>, AppError> {
    Err(AppError::NotBuilt)
}

/// Sends a command over the broker and waits for its answer.
pub(super) async fn ask(way: &Way, queue: &'static str, body: &[u8]) -> Result<Bytes, String> {
    let answer = way.caller().ask(queue, body).await;
    answer.map_err(|error| super::chain(&error))
}

/// The parts that answer commands.
pub(super) struct Answers {
    pub(super) catalog: Catalog,
    pub(super) defaults: Arc<Defaults>,
    /// The embedded broker, where commands come over that one.
    pub(super) broker: Option<Broker>,
    /// The direct way that answers are compared with.
    pub(super) direct: InProcessClient,
    pub(super) identities: Identities,
    /// The queues that the embedded broker stamps, and the header for the user.
    pub(super) stamps: (Arc<[String]>, Arc<str>),
}

/// Starts it; `notices` are published like events.
pub(super) fn start(way: &Way, answers: Answers, notices: Arc<Notices>, tasks: &mut Tasks) {
    let sender = way.clone();
    tasks.spawn(Stage::Carrier, "notices", |stop| {
        sender.publish_notices(notices, stop)
    });
    let context = CommandContext {
        catalog: answers.catalog,
        defaults: answers.defaults,
        broker: answers.broker,
        direct: Arc::new(AskedDirectly(answers.direct)),
        identities: answers.identities,
        stamped: answers.stamps.0,
        user_header: answers.stamps.1,
    };
    let way = way.clone();
    tasks.spawn(Stage::Carrier, "amqp", |stop| way.run(context, stop));
}
