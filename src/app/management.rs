//! The broker's management API: opened beside HTTP, for the broker that runs in this process.

use std::{net::SocketAddr, sync::Arc};

use tokio::runtime::Handle;

use super::{
    AppError,
    doors::{default_or_configured, is_configured},
};
use crate::{
    broker::{Listening, config::MANAGEMENT_LISTEN},
    config::Config,
    http::{self, BindError, BrokerAddresses, HttpApp, ManagedBroker},
    monitor::BrokerMonitor,
    tasks::{Stage, Tasks},
    telemetry::Metrics,
};

/// Shows the broker over HTTP and among the metrics.
pub(super) fn show_broker(
    config: &Config,
    listening: Option<&Listening>,
    metrics: &Metrics,
    tasks: &mut Tasks,
) -> Option<Arc<BrokerMonitor>> {
    let queues_max = config.http.broker.metrics_queues_max.get();
    let broker = listening?.broker();
    let monitor = BrokerMonitor::start(broker, queues_max, metrics, tasks);
    Some(Arc::new(monitor))
}

/// Serves the management API, unless there is no broker or it is switched off. The default address may be taken by a
/// RabbitMQ: then it stays off.
///
/// # Errors
/// The configured address is not one, or is taken.
pub(super) async fn open(
    config: &Config,
    (listening, monitor): (Option<&Listening>, Option<Arc<BrokerMonitor>>),
    door: &HttpApp,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<Option<SocketAddr>, AppError> {
    let listen = &config.broker.management_listen;
    let (Some(listening), Some(monitor), false) = (listening, monitor, listen.is_empty()) else {
        return Ok(None);
    };
    let key = "broker.management_listen";
    let is_wanted = is_configured(config, key, listen, MANAGEMENT_LISTEN);
    let is_taken = |error: &BindError| matches!(error, BindError::Listen { .. });
    let bound = http::bind_management(listen).await;
    let Some(bound) = default_or_configured(key, is_wanted, bound, is_taken)? else {
        return Ok(None);
    };
    let address = bound.local_addr();
    let addresses = BrokerAddresses {
        amqp: listening.address(),
        amqps: listening.tls_address(),
    };
    let broker: Arc<dyn ManagedBroker> = monitor;
    let app = door.management(broker, addresses, address);
    let serve = move |stop| app.serve(bound, stop);
    tasks.spawn_on(runtime, Stage::Source, "management API", serve);
    Ok(Some(address))
}
