//! `/v1/kv/:key`: keys and their values.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, Method, StatusCode, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    answer::{self, ConsulError, ConsulResult},
    call::ConsulCall,
    query::shown,
    state::ConsulState,
};
use crate::kv::{
    KvEntry, KvOperation, KvRead, KvRefusal, KvTopic, KvVerb, TransactionFault, check_key,
};

/// Before the key.
const PATH: &str = "/v1/kv/";

/// Every method of a key.
pub(super) async fn kv(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let key = key_of(&call)?;
    let asks = |name: &str| call.query.get(name).is_some();
    match call.method {
        Method::PUT => put(&state, &call, key).await,
        Method::DELETE => delete(&state, &call, key).await,
        _ if asks("keys") => names(&state, &call, key).await,
        _ if asks("recurse") => tree(&state, &call, key).await,
        _ => get(&state, &call, key).await,
    }
}

/// The key in the path. One that cannot be decoded must not pass for no key, which is the prefix of all.
fn key_of(call: &ConsulCall) -> Result<Arc<str>, ConsulError> {
    let is_there = call.uri_path.len() > PATH.len();
    match call.name() {
        "" if is_there => Err(ConsulError::bad(
            "the key is not UTF-8: percent-encode it as UTF-8",
        )),
        key => Ok(key.into()),
    }
}

async fn get(state: &ConsulState, call: &ConsulCall, key: Arc<str>) -> ConsulResult {
    check_key(&key)?;
    let (kv, caller) = (&state.app.kv, call.caller());
    let topic = KvTopic::Key(Arc::clone(&key));
    let KvRead { index, found } = state.read_kv(call, topic, || kv.get(&caller, &key)).await?;
    let response = match found {
        None => nothing(),
        Some(entry) if call.query.get("raw").is_some() => raw(&entry),
        Some(entry) => answer::ok(&Value::Array(vec![entry_json(&entry, true)]), &call.query),
    };
    Ok(answer::with_index(response, index, &call.query))
}

async fn tree(state: &ConsulState, call: &ConsulCall, prefix: Arc<str>) -> ConsulResult {
    let (kv, caller) = (&state.app.kv, call.caller());
    let topic = KvTopic::Prefix(Arc::clone(&prefix));
    let KvRead { index, found } = state
        .read_kv(call, topic, || Ok(kv.list(&caller, &prefix)))
        .await?;
    let response = match found.is_empty() {
        true => nothing(),
        false => {
            let entries = found.iter().map(|entry| entry_json(entry, true));
            answer::ok(&Value::Array(entries.collect()), &call.query)
        }
    };
    Ok(answer::with_index(response, index, &call.query))
}

async fn names(state: &ConsulState, call: &ConsulCall, prefix: Arc<str>) -> ConsulResult {
    let (kv, caller) = (&state.app.kv, call.caller());
    // Older clients write it so.
    let separator = call.query.get("separator");
    let separator = separator.or_else(|| call.query.get("seperator"));
    let separator = separator.unwrap_or_default();
    let topic = KvTopic::Prefix(Arc::clone(&prefix));
    let KvRead { index, found } = state
        .read_kv(
            call,
            topic,
            || Ok(kv.key_names(&caller, &prefix, separator)),
        )
        .await?;
    let response = match found.is_empty() && !prefix.is_empty() {
        true => nothing(),
        false => {
            let names = found.iter().map(|name| Value::from(&**name));
            answer::ok(&Value::Array(names.collect()), &call.query)
        }
    };
    Ok(answer::with_index(response, index, &call.query))
}

async fn put(state: &ConsulState, call: &ConsulCall, key: Arc<str>) -> ConsulResult {
    check_key(&key)?;
    conflicting(call, &["cas", "acquire", "release"])?;
    let flags = number(call, "flags")?.unwrap_or_default();
    let max = state.app.kv.limits().value_max;
    let bytes = call.body.len();
    if bytes > max {
        return Err(KvRefusal::ValueTooLarge { key, bytes, max }.into());
    }
    let value = call.body.clone();
    let verb = if let Some(index) = number(call, "cas")? {
        KvVerb::Cas(value, flags, index)
    } else if let Some(session) = call.query.get("acquire") {
        KvVerb::Lock(value, flags, session_id(session)?)
    } else if let Some(session) = call.query.get("release") {
        KvVerb::Unlock(value, flags, session_id(session)?)
    } else {
        KvVerb::Set(value, flags)
    };
    one(state, call, key, verb).await
}

async fn delete(state: &ConsulState, call: &ConsulCall, key: Arc<str>) -> ConsulResult {
    conflicting(call, &["recurse", "cas"])?;
    let verb = if call.query.get("recurse").is_some() {
        KvVerb::DeleteTree
    } else if let Some(index) = number(call, "cas")? {
        KvVerb::DeleteCas(index)
    } else {
        KvVerb::Delete
    };
    one(state, call, key, verb).await
}

/// Whether the condition of an operation was met.
async fn one(state: &ConsulState, call: &ConsulCall, key: Arc<str>, verb: KvVerb) -> ConsulResult {
    let operations = vec![KvOperation { key, verb }];
    let answer = state.app.kv.transact(&call.caller(), operations).await?;
    let is_done = match answer {
        Ok(_) => true,
        Err(mut faults) => match faults.pop() {
            Some((_, TransactionFault::Refused(refusal))) => return Err(refusal.into()),
            _ => false,
        },
    };
    Ok(answer::ok(&Value::Bool(is_done), &call.query))
}

/// A 404 without a body.
pub(super) fn nothing() -> Response {
    let mut response = answer::done();
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The value alone. It comes from a client, so a browser is to run nothing in it.
fn raw(entry: &KvEntry) -> Response {
    let mut response = Response::new(entry.value.clone().into());
    for (name, value) in [
        (header::CONTENT_TYPE, "text/plain"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox"),
    ] {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An entry in Consul's shape.
pub(super) fn entry_json(entry: &KvEntry, with_value: bool) -> Value {
    let mut json = Map::new();
    json.insert("LockIndex".to_owned(), entry.lock_index.into());
    json.insert("Key".to_owned(), (&*entry.key).into());
    json.insert("Flags".to_owned(), entry.flags.into());
    let value = match with_value && !entry.value.is_empty() {
        true => STANDARD.encode(&entry.value).into(),
        false => Value::Null,
    };
    json.insert("Value".to_owned(), value);
    if let Some(session) = entry.session {
        json.insert("Session".to_owned(), session.to_string().into());
    }
    json.insert("CreateIndex".to_owned(), entry.create_index.into());
    json.insert("ModifyIndex".to_owned(), entry.modify_index.into());
    Value::Object(json)
}

/// The id of a session.
pub(super) fn session_id(text: &str) -> Result<Uuid, ConsulError> {
    if text.is_empty() {
        return Err(ConsulError::bad("missing session"));
    }
    let id = Uuid::parse_str(text);
    id.map_err(|_| ConsulError::bad(format!("invalid session \"{}\"", shown(text))))
}

/// A whole number in the query.
fn number(call: &ConsulCall, name: &str) -> Result<Option<u64>, ConsulError> {
    let Some(text) = call.query.get(name) else {
        return Ok(None);
    };
    let number = text.parse();
    number.map(Some).map_err(|_| {
        let text = shown(text);
        ConsulError::bad(format!(
            "Invalid {name} \"{text}\": it must be a whole number from 0 to {}",
            u64::MAX
        ))
    })
}

/// Refuses two parameters that contradict each other.
fn conflicting(call: &ConsulCall, names: &[&str]) -> Result<(), ConsulError> {
    let set = names.iter().filter(|name| call.query.get(name).is_some());
    let set: Vec<_> = set.copied().collect();
    match set.len() {
        0 | 1 => Ok(()),
        _ => Err(ConsulError::bad(format!(
            "Conflicting flags: {}; use one of them",
            set.join(", ")
        ))),
    }
}
