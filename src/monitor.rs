//! What the daemon shows of its rooms: the metrics of registry, transport and broker, and the broker's pages.
//! It reads and changes nothing.

mod broker;
mod services;
mod sizes;
mod transport;

pub use self::broker::BrokerMonitor;
use crate::{registry::Registry, tasks::Tasks, telemetry::Metrics, transport::TransportSwitch};

/// Shows the registry's sizes and its largest services among the metrics.
pub fn show_registry(metrics: &Metrics, registry: &Registry, tasks: &mut Tasks) {
    sizes::show(metrics, registry);
    services::show(metrics, registry, tasks);
}

/// Shows the transport among the metrics.
pub fn show_transport(metrics: &Metrics, transports: TransportSwitch) {
    transport::show(metrics, transports);
}
