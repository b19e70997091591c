//! What is opened for clients: HTTP's socket, and as many files as the system allows.

use std::net::SocketAddr;

use tokio::runtime::Handle;

use super::AppError;
use crate::{
    config::Config,
    http::{self, HttpApp},
    security::{Identities, is_open},
    tasks::{Stage, Tasks},
};

/// Files the daemon would like to have open at once, if the system lets it.
const FILES_WANTED: u64 = 1 << 20;

/// Serves HTTP, unless that door is switched off. An address that other machines reach is refused without
/// authentication.
pub(super) async fn open(
    config: &Config,
    identities: &Identities,
    door: &HttpApp,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<Option<SocketAddr>, AppError> {
    if config.http.listen.is_empty() {
        return Ok(None);
    }
    let bound = http::bind(&config.http).await?;
    let address = bound.local_addr();
    if is_open(&config.security, identities, "http.listen", address)? {
        tracing::warn!(
            "HTTP is open to other machines without authentication: security.allow_open is true"
        );
    }
    let (serving, following, limited) = (door.clone(), door.clone(), door.clone());
    let serve = move |stop| serving.serve(vec![bound], stop);
    tasks.spawn_on(runtime, Stage::Source, "http", serve);
    let follow = move |stop| following.follow_routes(stop);
    tasks.spawn_on(runtime, Stage::Source, "gateway routes", follow);
    let limit = move |stop| limited.limit_held(stop);
    tasks.spawn_on(runtime, Stage::Source, "held answers", limit);
    Ok(Some(address))
}

pub(super) fn raise_open_files() {
    match rlimit::increase_nofile_limit(FILES_WANTED) {
        Ok(limit) => tracing::debug!("up to {limit} open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files can't be raised"),
    }
}
