//! Discovery: the instances of a service, and one healthy instance in turn.

use axum::{
    extract::{RawQuery, State},
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

use super::extract::{Name, caller};
use crate::{
    api::{self, Discover, Problem},
    catalog::{Caller, PickPolicy},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::{Invalid, NotFound},
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::{InstanceFilter, Revision},
};

/// The cursor of what was answered.
pub(in crate::http) const INDEX: HeaderName = HeaderName::from_static("x-muster-index");

/// The instances of a service; an unknown one has none.
#[utoipa::path(
    get, path = "/services/discover/{service_name}",
    params(
        ("service_name" = String, Path),
        ("healthy_only" = Option<bool>, Query, description = "Default true"),
        ("tag" = Option<Vec<String>>, Query, description = "All of these"),
        ("version" = Option<String>, Query),
        ("zone" = Option<String>, Query),
        ("metadata.<key>" = Option<String>, Query, description = "The value of a top-level key; several are allowed"),
        ("limit" = Option<usize>, Query, description = "At most so many, at least 1"),
        ("index" = Option<String>, Query, description = "X-Muster-Index of an earlier answer: answer when the service has changed since"),
        ("wait" = Option<String>, Query, description = "With `index`: at the latest after this time, default 30s"),
    ),
    responses(
        (status = 200, body = api::DiscoveredJson, headers(("X-Muster-Index" = String, description = "The cursor of the service's last change"))),
        (status = 429, description = "Too many are waiting", body = Problem, content_type = "application/problem+json"),
        Invalid,
    )
)]
pub(in crate::http) async fn discover(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let mut began = Instant::now();
    let wanted = Discover::from_query(query.as_deref())?;
    if let Some(seen) = wanted.index {
        let changed = shared.until_changed(&peer, name.as_str(), seen, wanted.wait);
        if let Err(refused) = changed.await {
            return Ok(refused.into_response());
        }
        began = Instant::now();
    }
    let response = shared.discovered(&caller(&peer), name.as_str(), &wanted.filter);
    shared.measures.discovered(began.elapsed());
    Ok(response)
}

/// One healthy instance.
#[utoipa::path(
    get, path = "/services/healthy/{service_name}",
    params(
        ("service_name" = String, Path),
        ("policy" = Option<String>, Query, description = "round_robin (default), random, weighted or hash"),
        ("key" = Option<String>, Query, description = "For policy=hash: the same key gets the same instance"),
        ("tag" = Option<Vec<String>>, Query, description = "All of these"),
        ("version" = Option<String>, Query),
        ("zone" = Option<String>, Query),
        ("metadata.<key>" = Option<String>, Query, description = "The value of a top-level key; several are allowed"),
    ),
    responses((status = 200, body = api::InstanceJson), NotFound, Invalid)
)]
pub(in crate::http) async fn healthy(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let query = query.as_deref();
    let pairs: Vec<_> = api::pairs(query.unwrap_or_default()).collect();
    let find = |wanted: &str| pairs.iter().find(|(key, _)| key == wanted);
    let key = find("key").map(|(_, value)| &**value);
    let policy = policy(find("policy").map(|(_, value)| &**value), key)?;
    let wanted = Discover::from_query(query)?;
    let caller = caller(&peer);
    let picked = shared
        .catalog
        .pick(&caller, name.as_str(), &wanted.filter, policy);
    let picked = picked.ok_or_else(none_healthy)?;
    Ok(shared.instance(&picked))
}

fn none_healthy() -> HttpProblem {
    HttpProblem::new(404, "No healthy instances found")
}

fn policy<'a>(word: Option<&str>, key: Option<&'a str>) -> Result<PickPolicy<'a>, HttpProblem> {
    match word.unwrap_or("round_robin") {
        "round_robin" => Ok(PickPolicy::RoundRobin),
        "random" => Ok(PickPolicy::Random),
        "weighted" => Ok(PickPolicy::Weighted),
        "hash" => match key {
            Some(key) => Ok(PickPolicy::Hash(key)),
            None => Err(Problem::field("key", "is required by policy=hash").into()),
        },
        other => {
            let message = format!("\"{other}\" is not one of round_robin, random, weighted, hash");
            Err(Problem::field("policy", message).into())
        }
    }
}

impl AppState {
    /// The answer to a discovery that waits for nothing and filters by nothing but health.
    pub(in crate::http) fn discovered_plain(
        &self,
        caller: &Caller,
        name: &str,
        healthy_only: bool,
    ) -> Response {
        let began = Instant::now();
        let filter = InstanceFilter {
            healthy_only,
            ..InstanceFilter::default()
        };
        let response = self.discovered(caller, name, &filter);
        self.measures.discovered(began.elapsed());
        response
    }

    /// The answer to a discovery, as things are now.
    pub(in crate::http) fn discovered(
        &self,
        caller: &Caller,
        name: &str,
        filter: &InstanceFilter,
    ) -> Response {
        let (body, revision) = self.catalog.discover(caller, name, filter, |list| {
            api::discovered(list, |one| self.last_heartbeat(one))
        });
        self.with_index(json(body), revision)
    }
}

impl AppState {
    /// Adds the cursor with which to wait for the next change.
    pub(in crate::http) fn with_index(
        &self,
        mut response: Response,
        revision: Revision,
    ) -> Response {
        let cursor = self.registry.cursor(revision);
        // A cursor's text is always a valid value.
        if let Ok(index) = HeaderValue::try_from(cursor.to_string()) {
            response.headers_mut().insert(INDEX, index);
        }
        response
    }
}

#[cfg(test)]
mod tests;
