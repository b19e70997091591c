//! `/v1/event`: user events.

use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::{self, ConsulResult},
    call::ConsulCall,
    kv_reading::KvWaiting,
    state::ConsulState,
};
use crate::kv::{UserEvent, UserEventDraft};

/// The version of the shape.
const VERSION: u64 = 1;
/// The index while there are no events.
const NO_EVENTS: u64 = 1;

/// Fires an event.
pub(super) async fn fire(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let filter = |name| call.query.get(name).unwrap_or_default().into();
    let draft = UserEventDraft {
        name: call.name().into(),
        payload: call.body.clone(),
        node_filter: filter("node"),
        service_filter: filter("service"),
        tag_filter: filter("tag"),
    };
    let encode = |event: &UserEvent| Bytes::from(event_json(event).to_string());
    let event = state.app.kv.fire(&call.caller(), draft, encode)?;
    Ok(answer::ok(&event_json(&event), &call.query))
}

/// The newest events.
pub(super) async fn list(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let (kv, caller) = (&state.app.kv, call.caller());
    let name = call.query.get("name").filter(|name| !name.is_empty());
    let read = || {
        let events = kv.user_events(&caller, name);
        let index = events.last().map_or(NO_EVENTS, |event| event.index());
        (index, events)
    };
    let mut changed = kv.follow_user_events();
    let (mut index, mut events) = read();
    // The index is not a number that grows: any other one is news.
    if let Some(seen) = call.query.index.filter(|seen| *seen == index) {
        let waiting = KvWaiting::begin(&state, &call)?;
        while index == seen {
            let fired = async {
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let is_over = !waiting.changed(fired).await?;
            (index, events) = read();
            if is_over {
                break;
            }
        }
    }
    let events = events.iter().map(|event| event_json(event));
    let response = answer::ok(&Value::Array(events.collect()), &call.query);
    Ok(answer::with_index(response, index, &call.query))
}

fn event_json(event: &UserEvent) -> Value {
    let draft = &event.draft;
    let payload = match draft.payload.is_empty() {
        true => Value::Null,
        false => STANDARD.encode(&draft.payload).into(),
    };
    json!({
        "ID": event.id.to_string(),
        "Name": &*draft.name,
        "Payload": payload,
        "NodeFilter": &*draft.node_filter,
        "ServiceFilter": &*draft.service_filter,
        "TagFilter": &*draft.tag_filter,
        "Version": VERSION,
        "LTime": event.time,
    })
}
