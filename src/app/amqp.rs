//! The way over a broker, built and started.

pub(super) mod checks;
mod direct;

use std::sync::Arc;

use bytes::Bytes;

use self::direct::AskedDirectly;
use super::AppError;
use crate::{
    api::Defaults,
    broker::{Broker, Listening},
    catalog::Catalog,
    config::Config,
    http::InProcessClient,
    registry::{Notices, Registry},
    tasks::{Stage, Tasks},
    transport::{
        DirectMetrics, Flag,
        amqp::{self, Carrier, Desk, Target},
    },
};

/// The way over a broker.
pub(super) type Way = Carrier;

/// Finds what is wrong with the broker's URL without going there.
pub(super) fn check(config: &Config) -> Result<(), AppError> {
    Ok(amqp::check(&config.transport)?)
}

/// The way over the broker that the configuration names, or over the embedded one; none where there is
/// neither.
pub(super) fn build(
    config: &Config,
    embedded: Option<&Listening>,
    registry: &Registry,
    flag: &Flag,
    metrics: DirectMetrics,
) -> Result<Option<Way>, AppError> {
    let mut transport = config.transport.clone();
    let target = if transport.amqp_url.is_empty() {
        let largest = config.broker.limits.message_size;
        transport.amqp.body_max = transport.amqp.body_max.min(largest);
        embedded.and_then(|listening| own(config, listening))
    } else {
        let ca_file = transport.amqp.ca_file.as_deref();
        Some(Target::external(&transport.amqp_url, ca_file)?)
    };
    let carrier = |target| {
        Carrier::new(
            target,
            transport.clone(),
            registry.clone(),
            flag.clone(),
            metrics,
        )
    };
    Ok(target.map(carrier))
}

/// The broker within this process, under its internal login.
fn own(config: &Config, listening: &Listening) -> Option<Target> {
    let address = listening.own_address()?;
    let login = listening.broker().internal_login();
    let vhost = config.broker.vhosts.first()?;
    Some(Target::embedded(
        address.ip().to_string(),
        address.port(),
        login.user,
        login.password,
        vhost,
    ))
}

/// Sends a command over the broker and waits for its answer.
pub(super) async fn ask(way: &Way, queue: &'static str, body: &[u8]) -> Result<Bytes, String> {
    let answer = way.caller().ask(queue, body).await;
    answer.map_err(|error| super::chain(&error))
}

/// What it takes to answer commands.
pub(super) struct Answers {
    pub(super) catalog: Catalog,
    pub(super) defaults: Arc<Defaults>,
    /// The embedded broker, where commands come over that one.
    pub(super) broker: Option<Broker>,
    /// The direct way that answers are compared with.
    pub(super) asker: InProcessClient,
}

/// Starts it; `notices` leave like events.
pub(super) fn start(way: &Way, answers: Answers, notices: Arc<Notices>, tasks: &mut Tasks) {
    let teller = way.clone();
    tasks.spawn(Stage::Carrier, "notices", |stop| teller.tell(notices, stop));
    let desk = Desk {
        catalog: answers.catalog,
        defaults: answers.defaults,
        broker: answers.broker,
        direct: Arc::new(AskedDirectly(answers.asker)),
    };
    let way = way.clone();
    tasks.spawn(Stage::Carrier, "amqp", |stop| way.run(desk, stop));
}
