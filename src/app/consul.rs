//! The Consul-compatible API: opened beside HTTP.

use std::{net::SocketAddr, sync::Arc};

use tokio::runtime::Handle;

use super::{
    AppError, ClientRequests,
    doors::{default_or_configured, is_configured},
};
use crate::{
    config::Config,
    http::{BindError, ConsulApp, ConsulConfig, HttpApp},
    security::{Identities, is_open},
    tasks::{Stage, Tasks},
};

/// Serves it, unless it is switched off or its default address is taken: where.
pub(super) async fn open(
    config: &Config,
    identities: &Identities,
    (door, requests): (&HttpApp, &ClientRequests),
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<Option<SocketAddr>, AppError> {
    let listen = &config.consul.listen;
    if listen.is_empty() {
        return Ok(None);
    }
    let default = ConsulConfig::default().listen;
    let is_wanted = is_configured(config, "consul.listen", listen, &default);
    let is_taken = |error: &BindError| matches!(error, BindError::Listen { .. });
    let bound = ConsulApp::bind(&config.consul).await;
    let Some(bound) = default_or_configured("consul.listen", is_wanted, bound, is_taken)? else {
        return Ok(None);
    };
    let address = bound.local_addr();
    if is_open(&config.security, identities, "consul.listen", address)? {
        tracing::warn!(
            "Consul's HTTP API is open to other machines without authentication: security.allow_open is true"
        );
    }
    let controls = Arc::new(requests.clone());
    let app = ConsulApp::new(door, config.consul.clone(), address, controls);
    let sessions = app.clone();
    tasks.spawn_on(runtime, Stage::Source, "sessions", |stop| {
        sessions.follow_sessions(stop)
    });
    let serve = move |stop| app.serve(vec![bound], stop);
    tasks.spawn_on(runtime, Stage::Source, "consul", serve);
    Ok(Some(address))
}
