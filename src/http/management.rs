//! RabbitMQ's management API for the embedded broker, on an address of its own: the calls that tools and exporters make.
//!
//! Users are those of the broker, with its permissions and RabbitMQ's tags. What has no meaning here is answered as
//! RabbitMQ does without that plugin.

mod answer;
mod ask;
mod bindings;
mod connections;
mod definitions;
mod exchanges;
mod health;
mod messages;
mod metrics;
mod names;
mod node;
mod page;
mod policies;
mod queues;
mod routes;
mod service;
mod shapes;
mod users;
mod vhosts;

use std::{fmt, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::service::ManagementService;
use super::{
    Config,
    serve::{self, BindError, HttpListener, ServeState, pipeline::Pipeline},
    state::{AppState, HttpApp},
};
use crate::broker::{Broker, server::Overview, vhost::QueueView};

/// The key of the configuration with the address.
const KEY: &str = "broker.management_listen";

/// The embedded broker with its rates.
pub trait ManagedBroker: fmt::Debug + Send + Sync {
    /// The broker.
    fn broker(&self) -> &Broker;

    /// Totals and rates.
    fn totals(&self) -> BoxFuture<'_, Overview>;

    /// Adds the rates of queues.
    fn add_queue_rates(&self, queues: &mut [QueueView]);
}

/// Where clients reach the broker.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrokerAddresses {
    /// In the clear.
    pub amqp: Option<SocketAddr>,
    /// Encrypted.
    pub amqps: Option<SocketAddr>,
}

/// Listens on `broker.management_listen`.
///
/// # Errors
/// The address is not one, or is taken.
pub async fn bind_management(listen: &str) -> Result<HttpListener, BindError> {
    serve::bind(KEY, listen).await
}

/// The management API, ready to be served.
#[derive(Clone, Debug)]
pub struct ManagementApp {
    state: ManagementState,
}

impl HttpApp {
    /// The management API of a broker, with the limits and the rules for hosts and other origins of this one.
    pub fn management(
        &self,
        broker: Arc<dyn ManagedBroker>,
        addresses: BrokerAddresses,
        listen: SocketAddr,
    ) -> ManagementApp {
        ManagementApp {
            state: ManagementState(Arc::new(ManagementStateInner {
                app: self.state.clone(),
                broker,
                addresses,
                listen,
                started: tokio::time::Instant::now(),
            })),
        }
    }
}

impl ManagementApp {
    /// Serves until `stop`.
    pub async fn serve(self, listener: HttpListener, stop: CancellationToken) {
        let serve = Arc::new(ServeState::beside(&self.state.app.serve));
        let pipeline = Pipeline::new(ManagementService::new(self.state, &serve), serve);
        serve::serve(vec![listener], pipeline, stop).await;
    }
}

/// The state of all endpoints, as a cheap handle.
#[derive(Clone, Debug)]
struct ManagementState(Arc<ManagementStateInner>);

#[derive(Debug)]
struct ManagementStateInner {
    app: AppState,
    broker: Arc<dyn ManagedBroker>,
    addresses: BrokerAddresses,
    listen: SocketAddr,
    started: tokio::time::Instant,
}

impl std::ops::Deref for ManagementState {
    type Target = ManagementStateInner;

    fn deref(&self) -> &ManagementStateInner {
        &self.0
    }
}

impl ManagementState {
    fn broker(&self) -> &Broker {
        self.broker.broker()
    }

    fn config(&self) -> &Config {
        &self.app.config
    }
}

#[cfg(test)]
mod tests;
