//! The daemon's figures: the metrics of registry, transport and broker, and the broker's pages. It reads and
//! changes nothing.

mod broker;
mod figures;
mod kv;
mod services;
mod sizes;
mod store;
mod transport;

pub use self::broker::BrokerMonitor;
use crate::{
    kv::KvStore, registry::Registry, store::Store, tasks::Tasks, telemetry::Metrics,
    transport::TransportSwitch,
};

/// Shows the registry's sizes, its largest services and its store, if it has one, among the metrics.
pub fn show_registry(
    metrics: &Metrics,
    registry: &Registry,
    store: Option<&Store>,
    tasks: &mut Tasks,
) {
    sizes::show(metrics, registry);
    services::show(metrics, registry, tasks);
    if let Some(store) = store {
        store::show(metrics, registry, store.clone());
    }
}

/// Shows keys and sessions among the metrics.
pub fn show_kv(metrics: &Metrics, kv: KvStore) {
    kv::show(metrics, kv);
}

/// Shows the transport among the metrics.
pub fn show_transport(metrics: &Metrics, transports: TransportSwitch) {
    transport::show(metrics, transports);
}
