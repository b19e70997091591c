//! `/v1/txn`: transactions on keys.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    answer::{self, ConsulError, ConsulResult},
    call::ConsulCall,
    fields::BodyFields,
    kv::{entry_json, session_id},
    query::shown,
    state::ConsulState,
};
use crate::kv::{KvFound, KvOperation, KvVerb, TransactionFault};

/// The smallest limit of a body, in bytes.
const BODY_MAX: usize = 512 << 10;

/// Does every operation, or none.
pub(super) async fn txn(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let operations = operations(&state, &call)?;
    let is_read = !operations.iter().any(|one| one.verb.writes());
    let answer = state.app.kv.transact(&call.caller(), operations).await?;
    let (status, mut body) = match answer {
        Ok(found) => (
            StatusCode::OK,
            json!({"Results": results(&found), "Errors": null}),
        ),
        Err(faults) => {
            let faults = store_faults(faults)?;
            let body = json!({"Results": null, "Errors": faults});
            (StatusCode::CONFLICT, body)
        }
    };
    if is_read {
        body["Index"] = 0.into();
        body["LastContact"] = 0.into();
        body["KnownLeader"] = true.into();
    }
    Ok(answer::json(status, &body, &call.query))
}

fn results(found: &[KvFound]) -> Value {
    let results = found.iter().map(|one| {
        let entry = entry_json(&one.entry, one.with_value);
        json!({"KV": entry})
    });
    Value::Array(results.collect())
}

/// The faults by operation. One that more room or a smaller value would have avoided is the answer itself.
fn store_faults(faults: Vec<(usize, TransactionFault)>) -> Result<Value, ConsulError> {
    let mut shown = Vec::new();
    for (number, fault) in faults {
        match fault {
            TransactionFault::Refused(refusal) if matches!(refusal.status(), 413 | 507) => {
                return Err(refusal.into());
            }
            fault => shown.push(json!({"OpIndex": number, "What": fault.to_string()})),
        }
    }
    Ok(Value::Array(shown))
}

fn operations(state: &ConsulState, call: &ConsulCall) -> Result<Vec<KvOperation>, ConsulError> {
    let bytes_max = BODY_MAX.max(state.app.kv.limits().value_max);
    if call.body.len() > bytes_max {
        return Err(ConsulError::new(
            413,
            format!("Request body too large, max size: {bytes_max} bytes"),
        ));
    }
    let parsed = serde_json::from_slice(&call.body);
    let parsed = parsed.map_err(|error| ConsulError::bad(format!("Failed to parse body: {error}")));
    let Value::Array(items) = parsed? else {
        return Err(ConsulError::bad(
            "Failed to parse body: it must be a list of operations",
        ));
    };
    let max = state.config.txn_ops_max.get();
    if items.len() > max {
        return Err(ConsulError::new(
            413,
            format!(
                "Transaction contains too many operations ({} > {max}): consul.txn_ops_max is the limit",
                items.len()
            ),
        ));
    }
    let items = items.into_iter().enumerate();
    items
        .map(|(number, item)| operation(number, item))
        .collect()
}

fn operation(number: usize, item: Value) -> Result<KvOperation, ConsulError> {
    let bad = |what: String| ConsulError::bad(format!("operation {number}: {what}"));
    let Value::Object(item) = item else {
        return Err(bad("it must be an object such as {\"KV\": {…}}".to_owned()));
    };
    let item = BodyFields::of(item, format!("operation {number}: "));
    let Some(fields) = item.object("KV")? else {
        return Err(bad(
            "only \"KV\" is supported; services and checks are registered through /v1/agent and /v1/catalog"
                .to_owned(),
        ));
    };
    let whole = |name: &str| fields.whole(name, u64::MAX);
    let flags = whole("Flags")?.unwrap_or_default();
    let index = whole("Index")?.unwrap_or_default();
    let value = || -> Result<bytes::Bytes, ConsulError> {
        let text = fields.text("Value")?;
        let decoded = STANDARD.decode(text);
        let decoded = decoded.map_err(|error| bad(format!("Value is not base64: {error}")))?;
        Ok(decoded.into())
    };
    let session = fields.text("Session")?;
    let held_by =
        || -> Result<Uuid, ConsulError> { session_id(&session).map_err(|error| bad(error.text)) };
    let key: Arc<str> = fields.text("Key")?.into();
    let verb = fields.text("Verb")?;
    let verb = match verb.as_str() {
        "set" => KvVerb::Set(value()?, flags),
        "cas" => KvVerb::Cas(value()?, flags, index),
        "lock" => KvVerb::Lock(value()?, flags, held_by()?),
        "unlock" => KvVerb::Unlock(value()?, flags, held_by()?),
        "get" => KvVerb::Get,
        "get-or-empty" => KvVerb::GetOrEmpty,
        "get-tree" => KvVerb::GetTree,
        "check-index" => KvVerb::CheckIndex(index),
        "check-session" if session.is_empty() => KvVerb::CheckSession(None),
        "check-session" => KvVerb::CheckSession(Some(held_by()?)),
        "check-not-exists" => KvVerb::CheckNotExists,
        "delete" => KvVerb::Delete,
        "delete-cas" => KvVerb::DeleteCas(index),
        "delete-tree" => KvVerb::DeleteTree,
        other => {
            return Err(bad(format!(
                "unknown KV verb \"{}\": use set, cas, lock, unlock, get, get-or-empty, get-tree, check-index, \
                 check-session, check-not-exists, delete, delete-cas or delete-tree",
                shown(other)
            )));
        }
    };
    Ok(KvOperation { key, verb })
}
