//! The names that stand at the broker, and how they are declared: the contract's table.

use std::time::Duration;

use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::AmqpError;
use crate::model::{Event, EventKind};

/// The exchange that everything leaves by.
pub(super) const EXCHANGE: &str = "musterd";

pub(super) const REGISTER: &str = "service.register";
pub(super) const DEREGISTER: &str = "service.deregister";
pub(super) const HEARTBEAT: &str = "service.heartbeat";
pub(super) const DISCOVER: &str = "service.discover";
pub(super) const CHECK_REQUEST: &str = "health.check.request";
pub(super) const VERDICT: &str = "health.verdict";
/// Where messages end that nobody can read.
pub(super) const DEAD: &str = "musterd.dead";
/// It keeps so many of them, the last.
const DEAD_MESSAGES_MAX: i32 = 10_000;
/// It keeps so many bytes of bodies.
const DEAD_BYTES_MAX: i32 = 64 << 20;

/// The key of a message that is sent to see whether the broker takes it; nobody binds to it.
pub(super) const TRIAL_KEY: &str = "musterd.trial";

/// The queues that commands come by.
pub(super) const COMMANDS: [&str; 4] = [REGISTER, DEREGISTER, HEARTBEAT, DISCOVER];

/// All queues that are consumed and outlive those who consume them.
pub(super) fn consumed() -> impl Iterator<Item = &'static str> {
    COMMANDS.into_iter().chain([CHECK_REQUEST, VERDICT])
}

/// The routing key of an event of channel events.
pub(super) fn event_key(event: &Event) -> String {
    match (event.kind, &event.service_name, &event.route) {
        (EventKind::RouteSet | EventKind::RouteRemoved, _, Some(route)) => {
            format!("gateway.routes.{}.{}", event.kind, route.route_id)
        }
        (kind, Some(name), _) => format!("service.events.{kind}.{name}"),
        // Every event is of a service or of a route.
        (kind, None, _) => format!("service.events.{kind}."),
    }
}

/// The routing key under which a service's snapshot takes the place of what was missed.
pub(super) fn resync_key(service: &str) -> String {
    format!("service.events.resync.{service}")
}

/// The routing key under which the routes take the place of what was missed.
pub(super) const ROUTES_RESYNC_KEY: &str = "gateway.routes.resync";

/// The routing key of an event of channel health; none for what is no change of health.
pub(super) fn health_key(event: &Event) -> Option<String> {
    let status = event.status?;
    let name = event.service_name.as_ref()?;
    let changed = matches!(
        event.kind,
        EventKind::Healthy | EventKind::Unhealthy | EventKind::Stopping
    );
    changed.then(|| format!("health.status.{status}.{name}"))
}

/// Declares all of it; what stands already is left as it is.
pub(super) async fn declare(channel: &lapin::Channel, within: Duration) -> Result<(), AmqpError> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(
        EXCHANGE.into(),
        ExchangeKind::Topic,
        durable,
        FieldTable::default(),
    );
    AmqpError::within("exchange \"musterd\"", within, declared).await?;
    declare_dead(channel, within).await?;
    for name in consumed() {
        queue(channel, name, FieldTable::default(), within).await?;
        let bound = channel.queue_bind(
            name.into(),
            EXCHANGE.into(),
            name.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        AmqpError::within(name, within, bound).await?;
    }
    Ok(())
}

/// Declares the queue of what nobody can read. What nobody reads must not fill the broker.
pub(super) async fn declare_dead(
    channel: &lapin::Channel,
    within: Duration,
) -> Result<(), AmqpError> {
    let mut bounded = FieldTable::default();
    bounded.insert("x-max-length".into(), AMQPValue::LongInt(DEAD_MESSAGES_MAX));
    bounded.insert(
        "x-max-length-bytes".into(),
        AMQPValue::LongInt(DEAD_BYTES_MAX),
    );
    queue(channel, DEAD, bounded, within).await
}

async fn queue(
    channel: &lapin::Channel,
    name: &'static str,
    arguments: FieldTable,
    within: Duration,
) -> Result<(), AmqpError> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(name.into(), durable, arguments);
    AmqpError::within(name, within, declared).await.map(drop)
}
