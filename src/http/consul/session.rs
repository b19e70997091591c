//! `/v1/session`: sessions, which hold locks on keys.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use serde_json::{Value, json};

use super::{
    answer::{self, ConsulError, ConsulResult, text},
    call::ConsulCall,
    fields::BodyFields,
    kv::session_id,
    query::shown,
    session_checks::{self, SERF_HEALTH, SessionPlaces},
    state::ConsulState,
};
use crate::{
    catalog::Sight,
    kv::{CheckedBy, KvRead, KvSession, KvTopic, SessionDraft, TTL_MAX, TTL_MIN},
    model::{Span, Standing},
};

/// Without a `LockDelay`.
const LOCK_DELAY: Duration = Duration::from_secs(15);
/// A lock delay below this many nanoseconds is meant in seconds.
const SECONDS_BELOW: u128 = 1000;
/// The longest name, in bytes.
const NAME_MAX: usize = 256;
/// The most checks of one session.
const CHECKS_MAX: usize = 32;
/// The longest id of a check, in bytes.
const CHECK_ID_MAX: usize = 512;

/// Creates a session.
pub(super) async fn create(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let sight = state.app.catalog.sight(&call.caller());
    let draft = draft(&state, &sight, &call.fields()?)?;
    let wanted = session_checks::of_session(&draft);
    let standings = state.standings(&sight, wanted.iter().cloned(), &mut SessionPlaces::new());
    for (check, wanted) in draft.checks.iter().zip(&wanted) {
        match standings.get(wanted) {
            None => {
                let id = shown(check.id());
                return Err(ConsulError::bad(format!(
                    "Missing check '{id}' registration on node '{}'",
                    draft.node
                )));
            }
            Some(Standing::Critical) => {
                let id = shown(check.id());
                return Err(ConsulError::bad(format!(
                    "Check '{id}' is in critical state"
                )));
            }
            Some(_) => {}
        }
    }
    let id = state.app.kv.create_session(&call.caller(), draft).await?;
    Ok(answer::ok(&json!({"ID": id.to_string()}), &call.query))
}

fn draft(
    state: &ConsulState,
    sight: &Sight,
    fields: &BodyFields,
) -> Result<SessionDraft, ConsulError> {
    let name = fields.text("Name")?;
    if name.len() > NAME_MAX {
        let len = name.len();
        let message = format!("it has {len} bytes, at most {NAME_MAX} are allowed");
        return Err(fields.invalid("Name", &message));
    }
    let node = match fields.text("Node")? {
        node if node.is_empty() => state.node.name.clone(),
        node if state.has_node(sight, &node) => node,
        node => {
            let message = format!(
                "Missing node registration: there is no node \"{}\"",
                shown(&node)
            );
            return Err(fields.invalid("Node", &message));
        }
    };
    let behavior = fields.text("Behavior")?;
    let behavior = behavior.parse().map_err(|()| {
        let message = format!("\"{}\" must be \"release\" or \"delete\"", shown(&behavior));
        fields.invalid("Behavior", &message)
    })?;
    Ok(SessionDraft {
        name: name.into(),
        node: node.into(),
        checks: checks(fields)?,
        lock_delay: lock_delay(fields)?,
        behavior,
        ttl: ttl(fields)?,
        owner: None,
    })
}

/// A number below a thousand, and a text without a unit, count seconds.
fn lock_delay(fields: &BodyFields) -> Result<Duration, ConsulError> {
    let Some(delay) = fields.duration("LockDelay")? else {
        return Ok(LOCK_DELAY);
    };
    Ok(match u64::try_from(delay.as_nanos()) {
        Ok(seconds) if u128::from(seconds) < SECONDS_BELOW => Duration::from_secs(seconds),
        _ => delay,
    })
}

fn ttl(fields: &BodyFields) -> Result<Option<Duration>, ConsulError> {
    let Some(ttl) = fields.duration("TTL")?.filter(|ttl| !ttl.is_zero()) else {
        return Ok(None);
    };
    if (TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Ok(Some(ttl));
    }
    let message = format!("\"{}\" must be between 10s and 86400s", Span(ttl));
    Err(fields.invalid("TTL", &message))
}

/// The checks of the node and of services. Without any, the session depends on its node.
fn checks(fields: &BodyFields) -> Result<Vec<CheckedBy>, ConsulError> {
    let has = |name| fields.get(name).is_some();
    let mut node_checks = fields.texts(&["NodeChecks"], CHECKS_MAX)?;
    node_checks.extend(fields.texts(&["Checks"], CHECKS_MAX)?);
    if !has("NodeChecks") && !has("Checks") {
        node_checks.push(SERF_HEALTH.to_owned());
    }
    let mut checks = Vec::new();
    for id in node_checks {
        checks.push(CheckedBy::Node(id.into()));
    }
    for check in fields.objects("ServiceChecks", CHECKS_MAX)? {
        checks.push(CheckedBy::Service(check.text("ID")?.into()));
    }
    let is_wrong = |check: &CheckedBy| check.id().is_empty() || check.id().len() > CHECK_ID_MAX;
    if checks.iter().any(is_wrong) {
        let message = format!("an id of a check must have 1 to {CHECK_ID_MAX} bytes");
        return Err(fields.invalid("Checks", &message));
    }
    let mut known = std::collections::BTreeSet::new();
    checks.retain(|check| known.insert(Arc::clone(check.id())));
    Ok(checks)
}

/// Ends a session. One that does not exist has ended.
pub(super) async fn destroy(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    // An id of another form is of no session.
    if let Ok(id) = session_id(call.name()) {
        state.app.kv.end_session(&call.caller(), id).await?;
    }
    Ok(answer::ok(&Value::Bool(true), &call.query))
}

/// Begins the time to live of a session again.
pub(super) async fn renew(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let renewed = match session_id(call.name()) {
        Ok(id) => state.app.kv.renew_session(&call.caller(), id).await?,
        Err(_) => None,
    };
    Ok(match renewed {
        Some(session) => answer::ok(&Value::Array(vec![session_json(&session)]), &call.query),
        None => {
            let id = shown(call.name());
            text(404, format!("Session id '{id}' not found"))
        }
    })
}

/// One session, as a list.
pub(super) async fn info(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let (kv, caller) = (&state.app.kv, call.caller());
    // An id of another form is of no session, like the one of zeros.
    let id = session_id(call.name()).unwrap_or_default();
    let KvRead { index, found } = state
        .read_kv(&call, KvTopic::Session(id), || kv.session(&caller, id))
        .await?;
    let found: Vec<_> = found.into_iter().collect();
    Ok(shown_sessions(&found, index, &call))
}

/// The sessions of a node.
pub(super) async fn node(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let (kv, caller) = (&state.app.kv, call.caller());
    let node: Arc<str> = call.name().into();
    let topic = KvTopic::Node(Arc::clone(&node));
    let KvRead { index, found } = state
        .read_kv(&call, topic, || kv.sessions(&caller, Some(&node)))
        .await?;
    Ok(shown_sessions(&found, index, &call))
}

/// All sessions.
pub(super) async fn list(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let (kv, caller) = (&state.app.kv, call.caller());
    let KvRead { index, found } = state
        .read_kv(&call, KvTopic::Sessions, || kv.sessions(&caller, None))
        .await?;
    Ok(shown_sessions(&found, index, &call))
}

fn shown_sessions(
    sessions: &[Arc<KvSession>],
    index: u64,
    call: &ConsulCall,
) -> axum::response::Response {
    let mut sessions: Vec<_> = sessions.iter().map(|one| session_json(one)).collect();
    if let Some(filter) = &call.query.filter {
        sessions.retain(|session| filter.is_true(session));
    }
    let response = answer::ok(&Value::Array(sessions), &call.query);
    answer::with_index(response, index, &call.query)
}

/// A session in Consul's shape: the lock delay in nanoseconds.
fn session_json(session: &KvSession) -> Value {
    let draft = &session.draft;
    let mut node_checks: Vec<&str> = Vec::new();
    let mut service_checks = Vec::new();
    for check in &draft.checks {
        match check {
            CheckedBy::Node(id) => node_checks.push(id),
            CheckedBy::Service(id) => service_checks.push(json!({"ID": &**id, "Namespace": ""})),
        }
    }
    let service_checks = match service_checks.is_empty() {
        true => Value::Null,
        false => Value::Array(service_checks),
    };
    let lock_delay = u64::try_from(draft.lock_delay.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "ID": session.id.to_string(),
        "Name": &*draft.name,
        "Node": &*draft.node,
        "LockDelay": lock_delay,
        "Behavior": draft.behavior.as_str(),
        "TTL": draft.ttl.map(|ttl| Span(ttl).to_string()).unwrap_or_default(),
        "Checks": &node_checks,
        "NodeChecks": &node_checks,
        "ServiceChecks": service_checks,
        "CreateIndex": session.index,
        "ModifyIndex": session.index,
    })
}
