//! Which instances of a service there are, and which one gets the next request.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    answer::{Answer, Refusal, json},
    connection::Peer,
    extract::Name,
    pick::{Policy, pick},
    state::Shared,
};
use crate::{
    api::{self, Discover, Problem, schema},
    model::{Instance, Revision},
    registry::{Body, View},
};

/// The revision of what was answered.
pub(super) const INDEX: HeaderName = HeaderName::from_static("x-muster-index");
/// How old times of heartbeats in a list may be, in milliseconds.
const BODY_AGE_MS_MAX: u64 = 1000;

/// The instances of a service; an unknown one has none.
#[utoipa::path(
    get, path = "/services/discover/{service_name}", tag = "discovery",
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
        (status = 200, body = schema::Discovered, headers(("X-Muster-Index" = String, description = "The cursor of the service's last change"))),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many are waiting", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn discover(
    State(shared): State<Shared>,
    Peer(address): Peer,
    name: Name,
    RawQuery(query): RawQuery,
) -> Answer {
    let mut began = Instant::now();
    let wanted = Discover::from_query(query.as_deref())?;
    if let Some(seen) = wanted.index {
        let changed = shared.until_changed(address, name.as_str(), seen, wanted.wait);
        if let Err(refused) = changed.await {
            return Ok(refused.into_response());
        }
        began = Instant::now();
    }
    let response = shared.discovered(name.as_str(), &wanted);
    shared.measures.discovered(began.elapsed());
    Ok(response)
}

/// One healthy instance.
#[utoipa::path(
    get, path = "/services/healthy/{service_name}", tag = "discovery",
    params(
        ("service_name" = String, Path),
        ("policy" = Option<String>, Query, description = "round_robin (default), random, weighted or hash"),
        ("key" = Option<String>, Query, description = "For policy=hash: the same key gets the same instance"),
        ("tag" = Option<Vec<String>>, Query, description = "All of these; version, zone and metadata.<key> as for discovery"),
    ),
    responses(
        (status = 200, body = schema::Instance),
        (status = 404, body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn healthy(
    State(shared): State<Shared>,
    name: Name,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.as_deref();
    let pairs: Vec<_> = api::pairs(query.unwrap_or_default()).collect();
    let find = |wanted: &str| pairs.iter().find(|(key, _)| key == wanted);
    let key = find("key").map(|(_, value)| &**value);
    let policy = policy(find("policy").map(|(_, value)| &**value), key)?;
    let mut wanted = Discover::from_query(query)?;
    wanted.healthy_only = true;
    let service = shared.registry.service(name.as_str());
    let service = service.ok_or_else(none_healthy)?;
    let view = service.view();
    let among: Vec<_> = view
        .healthy()
        .iter()
        .filter(|one| wanted.matches(one))
        .collect();
    let picked = pick(policy, &among, || service.next_turn()).ok_or_else(none_healthy)?;
    Ok(shared.instance(picked))
}

fn none_healthy() -> Refusal {
    Refusal::new(404, "No healthy instances found")
}

fn policy<'a>(word: Option<&str>, key: Option<&'a str>) -> Result<Policy<'a>, Refusal> {
    match word.unwrap_or("round_robin") {
        "round_robin" => Ok(Policy::RoundRobin),
        "random" => Ok(Policy::Random),
        "weighted" => Ok(Policy::Weighted),
        "hash" => match key {
            Some(key) => Ok(Policy::Hash(key)),
            None => Err(Problem::field("key", "is required by policy=hash").into()),
        },
        other => {
            let message = format!("\"{other}\" is not one of round_robin, random, weighted, hash");
            Err(Problem::field("policy", message).into())
        }
    }
}

impl Shared {
    /// The answer to a discovery, as things are now.
    pub(super) fn discovered(&self, name: &str, wanted: &Discover) -> Response {
        // Before the look at the service: one that registers in between is behind this revision.
        let newest = self.registry.newest();
        let Some(service) = self.registry.service(name) else {
            let none = std::iter::empty::<&Arc<Instance>>();
            let body = api::discovered(none, |one| self.last_heartbeat(one));
            return self.with_index(json(body), newest);
        };
        let view = service.view();
        self.with_index(json(self.listed(&view, wanted)), view.revision)
    }

    fn listed(&self, view: &View, wanted: &Discover) -> Bytes {
        if wanted.is_plain() {
            return if wanted.healthy_only {
                self.kept(&view.body_healthy, || view.healthy().iter())
            } else {
                self.kept(&view.body_all, || view.instances.values())
            };
        }
        let limit = wanted.limit.unwrap_or(usize::MAX);
        let matching = view.instances.values().filter(|one| wanted.matches(one));
        let last_heartbeat = |one: &Instance| self.last_heartbeat(one);
        api::discovered(matching.take(limit), last_heartbeat).into()
    }

    /// The bytes made within the last second, or new ones.
    fn kept<'v, I: Iterator<Item = &'v Arc<Instance>>>(
        &self,
        slot: &ArcSwapOption<Body>,
        instances: impl FnOnce() -> I,
    ) -> Bytes {
        let now_ms = self.registry.clock().now().mono_ms;
        if let Some(body) = &*slot.load()
            && now_ms.saturating_sub(body.made_ms) < BODY_AGE_MS_MAX
        {
            return body.bytes.clone();
        }
        let made = api::discovered(instances(), |one| self.last_heartbeat(one));
        let bytes = Bytes::from(made.into_boxed_slice());
        slot.store(Some(Arc::new(Body {
            bytes: bytes.clone(),
            made_ms: now_ms,
        })));
        bytes
    }
}

impl Shared {
    /// Says of which revision an answer is, as the cursor to wait for the next one.
    pub(super) fn with_index(&self, mut response: Response, revision: Revision) -> Response {
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
