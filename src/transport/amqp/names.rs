//! The names at the broker, and how they are declared: see docs/reference/amqp.md.

use super::{
    AmqpError,
    broker::{AmqpChannel, QueueSpec},
};
use crate::model::{Channel, Event, EventKind};

/// Delivery mode of a message that is never written to the disk.
pub(super) const TRANSIENT: u8 = 1;
/// Delivery mode of a message that survives a restart of the broker.
pub(super) const PERSISTENT: u8 = 2;

/// The exchange that everything leaves by.
pub(super) const EXCHANGE: &str = "musterd";

pub(super) const REGISTER: &str = "service.register";
pub(super) const DEREGISTER: &str = "service.deregister";
pub(super) const HEARTBEAT: &str = "service.heartbeat";
pub(super) const DISCOVER: &str = "service.discover";
pub(super) const CHECK_REQUEST: &str = "health.check.request";
pub(super) const VERDICT: &str = "health.verdict";
/// Where messages go that cannot be read.
pub(super) const DEAD: &str = "musterd.dead";
/// It keeps so many of them, the last.
const DEAD_MESSAGES_MAX: i32 = 10_000;
/// It keeps so many bytes of bodies.
const DEAD_BYTES_MAX: i32 = 64 << 20;

/// The key of a message that tests whether the broker takes messages; no queue is bound to it.
pub(super) const TRIAL_KEY: &str = "musterd.trial";

/// The queues that commands come by.
pub(super) const COMMANDS: [&str; 4] = [REGISTER, DEREGISTER, HEARTBEAT, DISCOVER];

/// All queues that are consumed and outlive those who consume them.
pub(crate) fn consumed() -> impl Iterator<Item = &'static str> {
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

/// The queues that a channel of the daemon needs while its mode uses the broker.
pub(super) fn queues_of(channel: Channel) -> &'static [&'static str] {
    match channel {
        // Its own queue is made up by the broker.
        Channel::Events => &[],
        Channel::Health => &[CHECK_REQUEST, VERDICT],
        Channel::Discovery => &COMMANDS,
    }
}

/// Declares the exchange that everything leaves by.
pub(crate) async fn declare_exchange(channel: &mut dyn AmqpChannel) -> Result<(), AmqpError> {
    channel.declare_exchange(EXCHANGE).await
}

/// Declares a queue that is consumed, and binds it to the exchange by its name.
pub(crate) async fn declare_queue(
    channel: &mut dyn AmqpChannel,
    name: &'static str,
) -> Result<(), AmqpError> {
    let queue = QueueSpec {
        name,
        ..QueueSpec::default()
    };
    channel.declare_queue(queue).await?;
    channel.bind(name, EXCHANGE, name).await
}

/// Declares the queue of what cannot be read. It is bounded, because it may never be read.
pub(crate) async fn declare_dead(channel: &mut dyn AmqpChannel) -> Result<(), AmqpError> {
    let queue = QueueSpec {
        name: DEAD,
        messages_max: Some(DEAD_MESSAGES_MAX),
        bytes_max: Some(DEAD_BYTES_MAX),
        exclusive: false,
    };
    channel.declare_queue(queue).await.map(drop)
}
