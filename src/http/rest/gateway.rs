//! Routes for gateways: made, listed, resolved, and followed together with the services they name.

mod poll;
mod stream;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use bytes::Bytes;
use tokio::sync::watch::{Receiver, Sender};

pub(in crate::http) use self::{
    poll::{__path_config, config},
    stream::{__path_watch, watch},
};
use super::extract::{Name, Text};
use crate::{
    api::{self, Json, Problem, RouteShape, schema},
    catalog::{self, Caller, Door, PickPolicy, RemoveRoute, SetRoute},
    http::{
        answer::{Answer, Refusal, json},
        state::Shared,
    },
    model::{InstanceFilter, Revision, Route, RouteDraft, RouteId},
};

/// What all gateways share.
#[derive(Debug, Default)]
pub(in crate::http) struct Gateway {
    /// Counts changes of a route, or of a service that a route names.
    changes: Sender<u64>,
    kept: ArcSwapOption<Config>,
}

impl Gateway {
    fn subscribe(&self) -> Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Counts the changes that gateways wait for, until the door closes.
pub(in crate::http) async fn follow(shared: Shared) {
    let mut follower = shared.catalog.follow_routes();
    loop {
        shared.gateway.changes.send_modify(|changes| *changes += 1);
        tokio::select! {
            () = follower.changed() => (),
            () = shared.closing.cancelled() => return,
        }
    }
}

/// Every route with its healthy endpoints, encoded.
#[derive(Clone, Debug)]
struct Config {
    /// It shows every change up to here.
    index: Revision,
    body: Bytes,
}

impl Shared {
    /// The configuration of gateways as it is now; the same bytes until something of it changes.
    fn gateway_config(&self) -> Arc<Config> {
        // First: what is newer than this may be shown in part only.
        let newest = self.registry.newest();
        let routes = self.registry.routes();
        let views: Vec<_> = routes
            .list
            .iter()
            .map(|route| self.registry.service(route.service_name.as_str()))
            .map(|service| service.map(|service| service.view()))
            .collect();
        let shown = views.iter().flatten().map(|view| view.revision);
        let last = shown.fold(routes.revision, Ord::max);
        let index = last.min(newest);
        let settled = last <= newest;
        let kept = self.gateway.kept.load();
        if let Some(kept) = kept.as_ref().filter(|kept| settled && kept.index == index) {
            return Arc::clone(kept);
        }
        let healthy = views
            .iter()
            .map(|view| view.as_ref().map_or(&[][..], |view| view.healthy()));
        let cursor = self.registry.cursor(index);
        let body = api::gateway_config(cursor, routes.list.iter().zip(healthy));
        let config = Arc::new(Config {
            index,
            body: body.into(),
        });
        if settled {
            self.gateway.kept.store(Some(Arc::clone(&config)));
        }
        config
    }
}

/// Makes or changes a route.
#[utoipa::path(
    put, path = "/gateway/routes/{route_id}", tag = "gateway",
    params(("route_id" = String, Path)),
    request_body = schema::RouteDraft,
    responses(
        (status = 200, body = schema::Route),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are too many", body = schema::Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than `http.body_max`", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn set(
    State(shared): State<Shared>,
    id: Name,
    Text(body): Text,
) -> Answer {
    let route_id = RouteId::parse(id.as_str());
    let route_id = route_id.map_err(|error| Problem::field("route_id", error.to_string()));
    let (route_id, (shape, warnings)) = match (route_id, RouteShape::read(&body)) {
        (Ok(route_id), Ok(read)) => (route_id, read),
        (Err(problem), Ok(_)) | (Ok(_), Err(problem)) => return Err(problem.into()),
        (Err(one), Err(two)) => {
            return Err(Problem::invalid([one.errors, two.errors].concat()).into());
        }
    };
    let route = RouteDraft {
        route_id,
        path_prefix: shape.path_prefix,
        service_name: shape.service_name,
        strip_prefix: shape.strip_prefix,
        methods: shape.methods,
        priority: shape.priority,
    };
    let caller = Caller::by(Door::Rest);
    let route = shared.catalog.write(&caller, SetRoute { route }).await?;
    Ok(json(warnings.told_in(api::route(&route))))
}

/// One route.
#[utoipa::path(
    get, path = "/gateway/routes/{route_id}", tag = "gateway",
    params(("route_id" = String, Path)),
    responses(
        (status = 200, body = schema::Route),
        (status = 404, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn find(State(shared): State<Shared>, id: Name) -> Answer {
    let routes = shared.registry.routes();
    let mut known = routes.list.iter();
    let route = known.find(|route| route.route_id.as_str() == id.as_str());
    let route = route.ok_or(catalog::Refusal::UnknownRoute)?;
    Ok(json(api::route(route)))
}

/// Removes a route.
#[utoipa::path(
    delete, path = "/gateway/routes/{route_id}", tag = "gateway",
    params(("route_id" = String, Path)),
    responses(
        (status = 200, body = schema::RouteRemoved),
        (status = 404, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn remove(State(shared): State<Shared>, id: Name) -> Answer {
    let route_id = id.as_str().into();
    let caller = Caller::by(Door::Rest);
    let route = shared.catalog.write(&caller, RemoveRoute { route_id });
    let route = route.await?;
    let mut body = Json::with_capacity(128);
    body.open(b'{');
    body.key("message").text("Route removed successfully");
    body.key("route_id").text(route.route_id.as_str());
    body.key("timestamp").time(shared.now());
    body.close(b'}');
    Ok(json(body.into_bytes()))
}

/// Every route, best match first.
#[utoipa::path(
    get, path = "/gateway/routes", tag = "gateway",
    responses((status = 200, body = schema::Routes))
)]
pub(in crate::http) async fn list(State(shared): State<Shared>) -> Response {
    let routes = shared.registry.routes();
    let mut body = Json::with_capacity(1024);
    body.open(b'{');
    body.key("routes").open(b'[');
    for route in &*routes.list {
        body.item().raw(&api::route(route));
    }
    body.close(b']');
    body.key("total_count").size(routes.list.len());
    body.close(b'}');
    shared.with_index(json(body.into_bytes()), routes.revision)
}

/// Where a request goes: the route with the longest prefix, and one of its healthy instances in turn.
#[utoipa::path(
    get, path = "/gateway/resolve", tag = "gateway",
    params(
        ("path" = String, Query, description = "The request's path"),
        ("method" = Option<String>, Query, description = "The request's method; without it routes for any method count"),
    ),
    responses(
        (status = 200, body = schema::Resolved),
        (status = 404, body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn resolve(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.unwrap_or_default();
    let find = |wanted: &str| api::pairs(&query).find(|(key, _)| key == wanted);
    let Some((_, path)) = find("path") else {
        return Err(Problem::field("path", "is required").into());
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let method = find("method").map(|(_, method)| method.to_ascii_uppercase());
    let routes = shared.registry.routes();
    let route = routes
        .resolve(path, method.as_deref())
        .ok_or_else(|| Refusal::new(404, "Route not found"))?;
    let (name, filter) = (route.service_name.as_str(), InstanceFilter::default());
    let to = shared.catalog.pick(name, &filter, PickPolicy::RoundRobin);
    let to = to.ok_or_else(none_healthy)?;
    let last_heartbeat = shared.last_heartbeat(&to);
    let forwarded = forwarded(route, path);
    Ok(json(api::resolved(route, &to, last_heartbeat, &forwarded)))
}

fn none_healthy() -> Refusal {
    Refusal::new(404, "No healthy instances found")
}

/// The path that the instance is asked for.
fn forwarded(route: &Route, path: &str) -> String {
    let rest = match path.strip_prefix(&*route.path_prefix) {
        Some(rest) if route.strip_prefix => rest,
        _ => path,
    };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    format!("{slash}{rest}")
}

#[cfg(test)]
mod tests;
