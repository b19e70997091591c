//! The endpoints. A 404 tells a client to register again; every other error names its cause.

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    apps::{self, AppList, AppsQuestion},
    draft::{EurekaDraft, OWN, scoped_id, status},
    is_app,
    view::InstanceView,
    writer::BodyFormat,
};
use crate::{
    api::{self, Problem},
    catalog::{
        self, Caller, Deregister, Door, LiftOverride, PatchInstance, RegisterReported, SetOverride,
    },
    http::{
        answer::{EndpointResult, HttpProblem},
        rest::{BodyBytes, Name, caller},
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::{Edit, Instance, Metadata, OverrideStatus, Patch, Status},
};
use std::sync::Arc;

/// The reason of an override that is set over Eureka.
const REASON: &str = "set over Eureka";

fn format(headers: &HeaderMap) -> BodyFormat {
    let accept = headers.get(header::ACCEPT);
    BodyFormat::of(accept.and_then(|accept| accept.to_str().ok()))
}

fn answer(format: BodyFormat, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    let kind = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn empty(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// Every instance.
pub(super) async fn apps(
    State(shared): State<AppState>,
    peer: HttpPeer,
    headers: HeaderMap,
) -> Response {
    asked(&shared, &peer, &headers, AppsQuestion::All).await
}

/// The changes of the last minutes.
pub(super) async fn delta(
    State(shared): State<AppState>,
    peer: HttpPeer,
    headers: HeaderMap,
) -> Response {
    asked(&shared, &peer, &headers, AppsQuestion::Delta).await
}

async fn asked(
    shared: &AppState,
    peer: &HttpPeer,
    headers: &HeaderMap,
    question: AppsQuestion,
) -> Response {
    let (sight, format) = (shared.sight(peer), format(headers));
    let answers = &shared.eureka;
    let body = answers.answer(question, &shared.catalog, &sight, format);
    answer(format, body.await)
}

/// The instances of one app.
pub(super) async fn app(
    State(shared): State<AppState>,
    peer: HttpPeer,
    app: Name,
    headers: HeaderMap,
) -> EndpointResult {
    let snapshot = shared.sight(&peer).of(shared.registry.snapshot());
    let format = format(&headers);
    let list = AppList::of_app(&snapshot, app.as_str());
    let written = list.write_only(&shared.catalog, format).await;
    written.map(|body| answer(format, body)).ok_or_else(|| {
        let app: String = app.as_str().chars().take(200).collect();
        HttpProblem::new(404, format!("there is no instance of app \"{app}\""))
    })
}

/// One instance of an app.
pub(super) async fn instance_of_app(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    headers: HeaderMap,
) -> EndpointResult {
    let (_, known) = find(&shared, &peer, &of)?;
    let format = format(&headers);
    Ok(answer(format, apps::one(&shared.catalog, &known, format)))
}

/// One instance by its id alone.
pub(super) async fn instance(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
    headers: HeaderMap,
) -> EndpointResult {
    let known = shared.catalog.instance(&client(&peer), id.as_str());
    let known = known.ok_or_else(|| unknown(id.as_str()))?;
    let format = format(&headers);
    Ok(answer(format, apps::one(&shared.catalog, &known, format)))
}

/// The instances that share a virtual address.
pub(super) async fn vip(
    State(shared): State<AppState>,
    peer: HttpPeer,
    vip: Name,
    headers: HeaderMap,
) -> EndpointResult {
    of_vip(&shared, &peer, "vipAddress", vip.as_str(), &headers).await
}

/// The instances that share a secure virtual address.
pub(super) async fn secure_vip(
    State(shared): State<AppState>,
    peer: HttpPeer,
    vip: Name,
    headers: HeaderMap,
) -> EndpointResult {
    of_vip(&shared, &peer, "secureVipAddress", vip.as_str(), &headers).await
}

async fn of_vip(
    shared: &AppState,
    peer: &HttpPeer,
    field: &str,
    vip: &str,
    headers: &HeaderMap,
) -> EndpointResult {
    let snapshot = shared.sight(peer).of(shared.registry.snapshot());
    let list = AppList::of_vip(&snapshot, field, vip).await;
    if list.is_empty() {
        let vip: String = vip.chars().take(200).collect();
        let detail = format!("there is no instance with the {field} \"{vip}\"");
        return Err(HttpProblem::new(404, detail));
    }
    let (format, code) = (format(headers), list.hash_code());
    let version = shared.registry.newest();
    let body = list.write(&shared.catalog, format, (version, &code)).await;
    Ok(answer(format, body))
}

/// Registers an instance. What it says is ignored when the registry already knows something newer; its lease is
/// renewed.
pub(super) async fn register(
    State(shared): State<AppState>,
    peer: HttpPeer,
    app: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (app, caller) = (app.as_str(), client(&peer));
    let draft = EurekaDraft::read(app, &body)?;
    let id = registry_id(&shared, app, &draft.id);
    if let Some(known) = shared.catalog.instance(&caller, &id)
        && draft
            .dirty
            .is_some_and(|dirty| dirty < InstanceView::new(&known).dirty())
        && is_app(known.name().as_str(), app)
    {
        shared.catalog.heartbeat(&caller, &id, None).await?;
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let command = RegisterReported {
        registration: draft.registration(&id, &shared.defaults)?,
        incarnation: None,
        status: draft.status,
    };
    let registered = shared.catalog.write(&caller, command).await?;
    catalog::log_registered(&caller, &registered);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Renews a lease. An instance that has changed since it registered must register again.
pub(super) async fn renew(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let (caller, known) = find(&shared, &peer, &of)?;
    let dirty = match parameter(query.as_deref(), "lastDirtyTimestamp") {
        Some(text) => Some(text.parse::<i64>().map_err(|_| {
            let message = format!("must be a whole number of milliseconds, not \"{text}\"");
            HttpProblem::from(Problem::refused(400, Some("lastDirtyTimestamp"), message))
        })?),
        None => None,
    };
    let id = known.id().as_str();
    shared.catalog.heartbeat(&caller, id, None).await?;
    if dirty.is_some_and(|dirty| dirty > InstanceView::new(&known).dirty()) {
        let detail =
            format!("instance \"{id}\" has changed since it registered: register it again");
        return Err(HttpProblem::new(404, detail));
    }
    Ok(empty(StatusCode::OK))
}

/// Deregisters an instance.
pub(super) async fn cancel(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
) -> EndpointResult {
    let (caller, known) = find(&shared, &peer, &of)?;
    let command = Deregister {
        service_id: known.id().as_str().into(),
        incarnation: None,
    };
    let gone = shared.catalog.write(&caller, command).await?;
    catalog::log_deregistered(&caller, &gone);
    Ok(empty(StatusCode::OK))
}

/// Sets an operator's status. `UP` lifts it: an instance that reports that it is down stays down, as with Eureka.
pub(super) async fn set_status(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let (caller, known) = find(&shared, &peer, &of)?;
    let value = parameter(query.as_deref(), "value").unwrap_or_default();
    let wanted = match &*value {
        "UP" => return lift(&shared, &caller, &known, Some(Status::Healthy)).await,
        "OUT_OF_SERVICE" => OverrideStatus::Stopping,
        "DOWN" => OverrideStatus::Unhealthy,
        _ => {
            let value: String = value.chars().take(40).collect();
            let message = format!("must be OUT_OF_SERVICE, DOWN or UP, not \"{value}\"");
            return Err(Problem::refused(400, Some("value"), message).into());
        }
    };
    let command = SetOverride {
        service_id: known.id().as_str().into(),
        status: wanted,
        reason: Some(REASON.into()),
    };
    let changed = shared.catalog.write(&caller, command).await?;
    catalog::log_override(&caller, &changed);
    Ok(empty(StatusCode::OK))
}

/// Lifts an operator's status; `value` is what the instance reports from now on.
pub(super) async fn lift_status(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let (caller, known) = find(&shared, &peer, &of)?;
    let value = parameter(query.as_deref(), "value");
    let reported = value.map(|value| status(&value));
    let reported = reported.filter(|status| *status != Status::Unknown);
    lift(&shared, &caller, &known, reported).await
}

async fn lift(
    shared: &AppState,
    caller: &Caller,
    known: &Instance,
    reported: Option<Status>,
) -> EndpointResult {
    let command = LiftOverride {
        service_id: known.id().as_str().into(),
    };
    let lifted = shared.catalog.write(caller, command).await?;
    if known.overridden.is_some() {
        catalog::log_override(caller, &lifted);
    }
    // An instance that took itself out of service is put back; one that reports that it is down is not.
    let is_out = lifted.observed == Status::Stopping;
    if let Some(status) = reported.filter(|_| is_out) {
        let command = RegisterReported {
            registration: lifted.registration.as_ref().clone(),
            incarnation: Some(lifted.incarnation),
            status,
        };
        shared.catalog.write(caller, command).await?;
    }
    Ok(empty(StatusCode::OK))
}

/// Adds entries to the metadata of an instance, each a parameter of the query.
pub(super) async fn metadata(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let (caller, known) = find(&shared, &peer, &of)?;
    let mut added = Map::new();
    for (key, value) in api::pairs(query.as_deref().unwrap_or_default()) {
        if key == OWN {
            let message = "is reserved for Eureka's own fields: choose another key";
            return Err(Problem::refused(400, Some(OWN), message.to_owned()).into());
        }
        let value = Value::from(value.into_owned());
        // Of a key that comes twice the first value counts.
        added.entry(key.into_owned()).or_insert(value);
    }
    let added = Metadata::parse(&Value::Object(added).to_string());
    let added =
        added.map_err(|error| Problem::refused(400, Some("metadata"), error.to_string()))?;
    let command = PatchInstance {
        service_id: known.id().as_str().into(),
        patch: Patch {
            metadata: Edit::Set(added),
            ..Patch::default()
        },
    };
    shared.catalog.write(&caller, command).await?;
    Ok(empty(StatusCode::OK))
}

/// The client as the catalog knows it.
fn client(peer: &HttpPeer) -> Caller {
    Caller {
        door: Door::Eureka,
        ..caller(peer)
    }
}

/// The client, and the instance that a path names: ids of Eureka belong to an app.
fn find(
    shared: &AppState,
    peer: &HttpPeer,
    of: &Name,
) -> Result<(Caller, Arc<Instance>), HttpProblem> {
    let caller = client(peer);
    let (app, id) = (of.as_str(), of.second());
    let known = |id: &str| {
        let known = shared.catalog.instance(&caller, id);
        known.filter(|known| is_app(known.name().as_str(), app))
    };
    let found = known(id).or_else(|| known(&scoped_id(app, id)));
    let found = found.ok_or_else(|| unknown(id))?;
    Ok((caller, found))
}

/// The id under which an instance is registered: its own, unless an instance of another app has that. One that is
/// registered under its scoped id keeps it.
fn registry_id(shared: &AppState, app: &str, id: &str) -> String {
    let is_of_app = |id: &str| {
        let known = shared.registry.instance(id)?;
        Some(is_app(known.name().as_str(), app))
    };
    let scoped = scoped_id(app, id);
    match is_of_app(id) == Some(false) || is_of_app(&scoped) == Some(true) {
        true => scoped,
        false => id.to_owned(),
    }
}

fn unknown(id: &str) -> HttpProblem {
    let id: String = id.chars().take(200).collect();
    HttpProblem::new(404, format!("there is no instance \"{id}\": register it"))
}

/// The first parameter of this name.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = api::pairs(query?);
    let found = pairs.find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}
