//! What every endpoint of this door can reach.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Deref,
    sync::Arc,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    checks::CheckPlaces, config::Config, indexes::IndexCache, nodes::LocalNode,
    service::ConsulService,
};
use crate::http::{
    serve::{self, BindError, HttpListener, ServeState, pipeline::Pipeline},
    state::{AppState, HttpApp},
};

/// The state of all endpoints, as a cheap handle.
#[derive(Clone, Debug)]
pub(in crate::http) struct ConsulState(Arc<ConsulStateInner>);

/// Behind the handle.
#[derive(Debug)]
pub(in crate::http) struct ConsulStateInner {
    pub(in crate::http) app: AppState,
    pub(in crate::http) config: Config,
    /// Where the door listens.
    pub(in crate::http) port: u16,
    pub(in crate::http) node: LocalNode,
    pub(in crate::http) serve: Arc<ServeState>,
    pub(super) indexes: IndexCache,
    pub(super) places: CheckPlaces,
    pub(super) controls: Arc<dyn ConsulControls>,
}

/// What the agent's own endpoints ask of the daemon.
pub trait ConsulControls: std::fmt::Debug + Send + Sync {
    /// Reads the configuration again.
    fn reload(&self);

    /// Stops the daemon in good order.
    fn leave(&self);

    /// Lines of the log of this level or a graver one, from now on. None when the daemon does not write it.
    fn follow_log(&self, level: tracing::Level) -> Option<mpsc::Receiver<Box<str>>>;
}

impl ConsulState {
    pub(super) fn new(
        app: AppState,
        config: Config,
        address: std::net::SocketAddr,
        controls: Arc<dyn ConsulControls>,
    ) -> Self {
        let own = match address.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let shown = match config.node_address.as_str() {
            "" => own.to_string(),
            configured => configured.to_owned(),
        };
        Self(Arc::new(ConsulStateInner {
            serve: Arc::new(ServeState::beside(&app.serve)),
            node: LocalNode::new(config.node(), shown, &config.datacenter),
            port: address.port(),
            indexes: IndexCache::default(),
            places: CheckPlaces::default(),
            controls,
            app,
            config,
        }))
    }
}

impl Deref for ConsulState {
    type Target = ConsulStateInner;

    fn deref(&self) -> &ConsulStateInner {
        &self.0
    }
}

/// The Consul-compatible API, ready to be served.
#[derive(Clone, Debug)]
pub struct ConsulApp {
    pub(super) state: ConsulState,
}

impl ConsulApp {
    /// Listens on `consul.listen`.
    ///
    /// # Errors
    /// The address is not one, or is taken.
    pub async fn bind(config: &Config) -> Result<HttpListener, BindError> {
        serve::bind("consul.listen", &config.listen).await
    }

    /// The API over what REST reaches; it listens at `address`.
    pub fn new(
        rest: &HttpApp,
        config: Config,
        address: std::net::SocketAddr,
        controls: Arc<dyn ConsulControls>,
    ) -> Self {
        let state = ConsulState::new(rest.state.clone(), config, address, controls);
        Self { state }
    }

    /// Serves until `stop`; then reads that wait end at once and requests under way are finished.
    pub async fn serve(self, listeners: Vec<HttpListener>, stop: CancellationToken) {
        let serve = Arc::clone(&self.state.serve);
        let pipeline = Pipeline::new(ConsulService::new(self.state), serve);
        serve::serve(listeners, pipeline, stop).await;
    }
}
