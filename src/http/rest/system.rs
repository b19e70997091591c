//! The limits of the daemon, and its configuration in effect.

use axum::{extract::State, response::Response};

use crate::{
    api::{self, LimitList, LimitUnit, LimitUse, SettingList},
    http::{answer::json, state::AppState},
};

/// Each limit, and how much of it is used.
#[utoipa::path(
    get, path = "/system/limits",
    responses((status = 200, body = LimitList))
)]
pub(in crate::http) async fn limits(State(shared): State<AppState>) -> Response {
    let mut limits = shared.system.limits();
    let (watchers, watchers_max) = shared.watching.limit.used();
    limits.extend([
        LimitUse {
            name: "HTTP connections",
            key: "http.connections_max",
            used: shared.serve.metrics.open_connections(),
            max: shared.config.connections_max.get() as u64,
            unit: LimitUnit::Count,
            when_full: "a new connection is closed with a 503",
        },
        LimitUse {
            name: "streams and long polls",
            key: "http.watch.watchers_max",
            used: watchers as u64,
            max: watchers_max as u64,
            unit: LimitUnit::Count,
            when_full: "a new watcher gets a 429",
        },
    ]);
    let list = LimitList {
        limits,
        timestamp: shared.now(),
    };
    json(api::encode(&list))
}

/// The configuration in effect: each key with its value, its default and where the value comes from. Secrets are not
/// shown.
#[utoipa::path(
    get, path = "/system/config",
    responses((status = 200, body = SettingList))
)]
pub(in crate::http) async fn settings(State(shared): State<AppState>) -> Response {
    let list = SettingList {
        settings: shared.system.settings().to_vec(),
        dashboard: shared.config.dashboard.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        timestamp: shared.now(),
    };
    json(api::encode(&list))
}

#[cfg(test)]
mod tests;
