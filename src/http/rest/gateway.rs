//! Gateway routes over HTTP: set, listed, resolved and removed.

mod poll;
mod stream;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use bytes::Bytes;

pub(in crate::http) use self::{
    poll::{__path_config, config},
    stream::{__path_watch, watch},
};
use super::extract::{BodyBytes, Name, caller};
use crate::{
    api::{self, Problem, RouteList, RouteRemoved},
    catalog::{self, RemoveRoute, SetRoute, Sight},
    gateway::{ResolvedRoute, RoutedInstances},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::{Invalid, NotFound, TooLarge},
        serve::connection::HttpPeer,
        state::AppState,
    },
};

/// The body of the configuration as a gateway sees it, made once for all that see everything.
fn body(state: &AppState, sight: &Sight, instances: &RoutedInstances) -> Bytes {
    let encode = |instances: &RoutedInstances| {
        let cursor = state.registry.cursor(instances.index);
        api::gateway_config(cursor, instances.routes())
    };
    match sight.is_whole() {
        true => instances.encoded(encode),
        false => encode(&instances.seen_by(sight)).into(),
    }
}

/// Makes or changes a route.
#[utoipa::path(
    put, path = "/gateway/routes/{route_id}",
    params(("route_id" = String, Path)),
    request_body = api::RouteRequest,
    responses(
        (status = 200, body = api::RouteAnswer),
        (status = 503, description = "There are too many", body = Problem, content_type = "application/problem+json"),
        TooLarge, Invalid,
    )
)]
pub(in crate::http) async fn set(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (route, warnings) = api::route_draft(id.as_str(), &body)?;
    let caller = caller(&peer);
    let route = shared.catalog.write(&caller, SetRoute { route }).await?;
    catalog::log_route_set(&caller, &route);
    Ok(json(warnings.added_to(api::route(&route))))
}

/// One route.
#[utoipa::path(
    get, path = "/gateway/routes/{route_id}",
    params(("route_id" = String, Path)),
    responses((status = 200, body = api::RouteAnswer), NotFound)
)]
pub(in crate::http) async fn find(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    let (routes, sight) = (shared.registry.routes(), shared.sight(&peer));
    let mut known = routes.list.iter();
    let route = known.find(|route| route.route_id.as_str() == id.as_str());
    let route = route.filter(|route| sight.sees_route(route));
    let route = route.ok_or(catalog::Refusal::UnknownRoute)?;
    Ok(json(api::route(route)))
}

/// Removes a route.
#[utoipa::path(
    delete, path = "/gateway/routes/{route_id}",
    params(("route_id" = String, Path)),
    responses((status = 200, body = RouteRemoved<'static>), NotFound)
)]
pub(in crate::http) async fn remove(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    let route_id = id.as_str().into();
    let caller = caller(&peer);
    let command = RemoveRoute { route_id };
    let route = shared.catalog.write(&caller, command).await?;
    catalog::log_route_removed(&caller, &route);
    Ok(json(api::encode(&RouteRemoved {
        message: "Route removed successfully",
        route_id: route.route_id.as_str(),
        timestamp: shared.now(),
    })))
}

/// Every route, best match first.
#[utoipa::path(
    get, path = "/gateway/routes",
    responses((status = 200, body = RouteList))
)]
pub(in crate::http) async fn list(State(shared): State<AppState>, peer: HttpPeer) -> Response {
    let (routes, sight) = (shared.registry.routes(), shared.sight(&peer));
    let seen = routes.list.iter().filter(|route| sight.sees_route(route));
    let body = api::encode(&RouteList::of(seen.map(|route| &**route)));
    shared.with_index(json(body), routes.revision)
}

/// Where a request goes: the route with the longest prefix, and one of its healthy instances in turn.
#[utoipa::path(
    get, path = "/gateway/resolve",
    params(
        ("path" = String, Query, description = "The request's path"),
        ("method" = Option<String>, Query, description = "The request's method; without it routes for any method count"),
    ),
    responses((status = 200, body = api::ResolvedJson), NotFound, Invalid)
)]
pub(in crate::http) async fn resolve(
    State(shared): State<AppState>,
    peer: HttpPeer,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let query = query.unwrap_or_default();
    let find = |wanted: &str| api::pairs(&query).find(|(key, _)| key == wanted);
    let Some((_, path)) = find("path") else {
        return Err(Problem::field("path", "is required").into());
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let method = find("method").map(|(_, method)| method.to_ascii_uppercase());
    let resolved = shared
        .gateway
        .resolve(&caller(&peer), path, method.as_deref());
    let ResolvedRoute {
        route,
        instance,
        path,
    } = resolved.map_err(|unresolved| HttpProblem::new(404, unresolved.to_string()))?;
    let last_heartbeat = shared.last_heartbeat(&instance);
    Ok(json(api::resolved(
        &route,
        &instance,
        last_heartbeat,
        &path,
    )))
}

#[cfg(test)]
mod tests;
