//! The list of routes, with the labels of their metrics.

use std::time::Duration;

use axum::{
    Router,
    http::Method,
    routing::{MethodRouter, delete, get, post},
};

use super::{
    ManagementState,
    answer::{ManagementAnswer, ManagementRefusal},
    bindings, connections, definitions, exchanges, health, messages, metrics, node, policies,
    queues, users, vhosts,
};
use crate::http::serve::{
    ServeState,
    metrics::{MetricsByPath, RouteSpec},
};

type ManagementRoute = (&'static str, MethodRouter<ManagementState>);

/// The broker in numbers, and whether it works.
fn of_node() -> Vec<ManagementRoute> {
    vec![
        ("/api/overview", get(node::overview)),
        ("/api/nodes", get(node::nodes)),
        ("/api/nodes/{name}", get(node::node)),
        ("/api/cluster-name", get(node::cluster_name)),
        ("/api/whoami", get(node::whoami)),
        ("/api/auth", get(node::auth)),
        ("/api/extensions", get(node::extensions)),
        ("/api/feature-flags", get(node::nothing)),
        ("/api/deprecated-features", get(node::nothing)),
        ("/api/healthchecks/node", get(node::healthy)),
        ("/api/healthchecks/node/", get(node::healthy)),
        ("/api/healthchecks/node/{name}", get(node::healthy)),
        ("/api/health/checks/alarms", get(health::alarms)),
        ("/api/health/checks/local-alarms", get(health::alarms)),
        ("/api/health/checks/virtual-hosts", get(health::always_fine)),
        (
            "/api/health/checks/certificate-expiration/{within}/{unit}",
            get(health::certificate_expiration),
        ),
        (
            "/api/health/checks/node-is-mirror-sync-critical",
            get(health::single_node),
        ),
        (
            "/api/health/checks/node-is-quorum-critical",
            get(health::single_node),
        ),
        (
            "/api/health/checks/port-listener/{port}",
            get(health::port_listener),
        ),
        (
            "/api/health/checks/protocol-listener/{protocol}",
            get(health::protocol_listener),
        ),
        ("/api/aliveness-test/{vhost}", get(health::aliveness)),
        (
            "/api/definitions",
            get(definitions::export).post(definitions::import),
        ),
        (
            "/api/definitions/{vhost}",
            get(definitions::export_vhost).post(definitions::import_vhost),
        ),
        ("/metrics", get(metrics::page)),
        ("/metrics/per-object", get(metrics::per_object)),
    ]
}

/// What clients have open.
fn of_clients() -> Vec<ManagementRoute> {
    vec![
        ("/api/connections", get(connections::list)),
        (
            "/api/connections/{name}",
            get(connections::one).delete(connections::close),
        ),
        (
            "/api/connections/{name}/channels",
            get(connections::channels_of_one),
        ),
        (
            "/api/vhosts/{vhost}/connections",
            get(connections::list_of_vhost),
        ),
        ("/api/channels", get(connections::list_channels)),
        ("/api/channels/{name}", get(connections::one_channel)),
        (
            "/api/vhosts/{vhost}/channels",
            get(connections::channels_of_vhost),
        ),
        ("/api/consumers", get(connections::list_consumers)),
        (
            "/api/consumers/{vhost}",
            get(connections::consumers_of_vhost),
        ),
    ]
}

/// Exchanges, queues, bindings, messages.
fn of_topology() -> Vec<ManagementRoute> {
    vec![
        ("/api/exchanges", get(exchanges::list)),
        ("/api/exchanges/{vhost}", get(exchanges::list_of_vhost)),
        (
            "/api/exchanges/{vhost}/{name}",
            get(exchanges::one)
                .put(exchanges::declare)
                .delete(exchanges::delete),
        ),
        (
            "/api/exchanges/{vhost}/{name}/bindings/source",
            get(bindings::from_exchange),
        ),
        (
            "/api/exchanges/{vhost}/{name}/bindings/destination",
            get(bindings::to_exchange),
        ),
        (
            "/api/exchanges/{vhost}/{name}/publish",
            post(messages::publish),
        ),
        ("/api/queues", get(queues::list)),
        ("/api/queues/{vhost}", get(queues::list_of_vhost)),
        (
            "/api/queues/{vhost}/{name}",
            get(queues::one).put(queues::declare).delete(queues::delete),
        ),
        (
            "/api/queues/{vhost}/{name}/bindings",
            get(bindings::of_queue),
        ),
        ("/api/queues/{vhost}/{name}/contents", delete(queues::purge)),
        ("/api/queues/{vhost}/{name}/get", post(messages::get)),
        ("/api/bindings", get(bindings::list)),
        ("/api/bindings/{vhost}", get(bindings::list_of_vhost)),
        (
            "/api/bindings/{vhost}/e/{source}/q/{queue}",
            get(bindings::to_queue).post(bindings::bind_queue),
        ),
        (
            "/api/bindings/{vhost}/e/{source}/q/{queue}/{key}",
            get(bindings::one_to_queue).delete(bindings::unbind_queue),
        ),
        (
            "/api/bindings/{vhost}/e/{source}/e/{exchange}",
            get(bindings::between_exchanges).post(bindings::bind_exchange),
        ),
        (
            "/api/bindings/{vhost}/e/{source}/e/{exchange}/{key}",
            get(bindings::one_between_exchanges).delete(bindings::unbind_exchange),
        ),
    ]
}

/// Vhosts, users and permissions.
fn of_rights() -> Vec<ManagementRoute> {
    vec![
        ("/api/vhosts", get(vhosts::list)),
        (
            "/api/vhosts/{vhost}",
            get(vhosts::one).put(vhosts::put).delete(vhosts::delete),
        ),
        (
            "/api/vhosts/{vhost}/permissions",
            get(users::permissions_of_vhost),
        ),
        (
            "/api/vhosts/{vhost}/topic-permissions",
            get(users::topics_of_vhost),
        ),
        ("/api/users", get(users::list)),
        ("/api/users/", get(users::list)),
        (
            "/api/users/without-permissions",
            get(users::without_permissions),
        ),
        ("/api/users/bulk-delete", post(users::delete_all)),
        (
            "/api/users/{name}",
            get(users::one).put(users::put).delete(users::delete),
        ),
        (
            "/api/users/{name}/permissions",
            get(users::permissions_of_user),
        ),
        (
            "/api/users/{name}/topic-permissions",
            get(users::topics_of_user),
        ),
        ("/api/permissions", get(users::all_permissions)),
        (
            "/api/permissions/{vhost}/{user}",
            get(users::permission)
                .put(users::permit)
                .delete(users::forbid),
        ),
        ("/api/topic-permissions", get(users::all_topics)),
        (
            "/api/topic-permissions/{vhost}/{user}",
            get(users::topics)
                .put(users::permit_topics)
                .delete(users::free_topics),
        ),
    ]
}

/// Policies, and what there is none of.
fn of_policies() -> Vec<ManagementRoute> {
    vec![
        ("/api/parameters", get(node::nothing)),
        ("/api/parameters/{component}", get(node::nothing)),
        ("/api/parameters/{component}/{vhost}", get(node::nothing)),
        (
            "/api/parameters/{component}/{vhost}/{name}",
            get(policies::unknown)
                .put(policies::refuse)
                .delete(policies::unknown),
        ),
        ("/api/global-parameters", get(node::nothing)),
        (
            "/api/global-parameters/{name}",
            get(policies::unknown)
                .put(policies::refuse)
                .delete(policies::unknown),
        ),
        ("/api/policies", get(policies::list)),
        ("/api/policies/{vhost}", get(policies::list_of_vhost)),
        (
            "/api/policies/{vhost}/{name}",
            get(policies::one)
                .put(policies::put)
                .delete(policies::delete),
        ),
        ("/api/operator-policies", get(node::nothing)),
        (
            "/api/operator-policies/{vhost}",
            get(policies::none_of_vhost),
        ),
        (
            "/api/operator-policies/{vhost}/{name}",
            get(policies::unknown)
                .put(policies::refuse)
                .delete(policies::unknown),
        ),
        ("/api/vhost-limits", get(node::nothing)),
        ("/api/vhost-limits/{vhost}", get(policies::none_of_vhost)),
        ("/api/user-limits", get(node::nothing)),
        ("/api/user-limits/{user}", get(node::nothing)),
    ]
}

/// The router of every route, and the metrics of its requests.
pub(super) fn router(
    state: &ManagementState,
    serve: &ServeState,
    time_max: Duration,
) -> (Router, MetricsByPath) {
    let mut router = Router::new();
    let mut specs = Vec::new();
    let all = [
        of_node(),
        of_clients(),
        of_topology(),
        of_rights(),
        of_policies(),
    ];
    for (path, endpoint) in all.into_iter().flatten() {
        router = router.route(path, endpoint);
        specs.push(RouteSpec {
            // Apart from those of the main API in the metrics.
            path: path.to_owned(),
            time_max: Some(time_max),
            parameters: Vec::new(),
            failures: None,
        });
    }
    let router = router
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(state.clone());
    (router, MetricsByPath::new(&serve.metrics, specs))
}

async fn unknown_path() -> ManagementAnswer {
    Err(ManagementRefusal::unknown())
}

/// The framework adds Allow.
async fn wrong_method(method: Method) -> ManagementAnswer {
    let reason = format!("{method} is not allowed here; the Allow header lists the methods");
    Err(ManagementRefusal::not_allowed(reason))
}
