//! Reads: answered at once, or when what they show has changed. A read that waits does nothing until then.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{http::StatusCode, response::Response};
use futures_util::future::select_all;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    answer::{self, ConsulError, ConsulResult},
    call::ConsulCall,
    query::ConsulQuery,
    state::ConsulState,
};
use crate::{
    http::watch::WatcherKind,
    model::ServiceName,
    registry::{Following, Registry},
};

/// The changes that can matter to a read.
#[derive(Clone)]
pub(in crate::http) enum ReadScope {
    /// Of these services, each of which need not exist.
    Services(Vec<Box<str>>),
    /// Of any service.
    All,
    /// Of the names of services and their tags.
    Names,
}

impl ReadScope {
    fn value(&self, registry: &Registry) -> u64 {
        let stamps = registry.stamps();
        match self {
            Self::Services(names) => {
                let newest = names.iter().map(|name| match registry.service(name) {
                    Some(service) => service.stamp().value(),
                    // It may have had instances, and be forgotten since.
                    None => stamps.names.value(),
                });
                newest.max().unwrap_or_else(|| stamps.first())
            }
            Self::All => stamps.all.value(),
            Self::Names => stamps.names.value(),
        }
    }

    fn follow(&self, registry: &Registry) -> ScopeFollower {
        let stamps = registry.stamps();
        let mut follower = ScopeFollower::default();
        match self {
            Self::Services(names) => {
                // No service can have a name that is none.
                for name in names
                    .iter()
                    .filter_map(|name| ServiceName::parse(name).ok())
                {
                    let following = registry.follow_service(&name);
                    follower.changes.push(following.service().stamp().follow());
                    follower.held.push(following);
                }
            }
            Self::All => follower.changes.push(stamps.all.follow()),
            Self::Names => follower.changes.push(stamps.names.follow()),
        }
        follower
    }
}

/// Follows everything that can matter to a read.
#[derive(Default)]
struct ScopeFollower {
    changes: Vec<watch::Receiver<u64>>,
    /// Keep the services in the registry.
    held: Vec<Following>,
}

impl ScopeFollower {
    /// Waits for a change since the last call. Cancel safe.
    async fn changed(&mut self) {
        debug_assert!(self.held.len() <= self.changes.len());
        if self.changes.is_empty() {
            return std::future::pending().await;
        }
        let changes = self.changes.iter_mut().map(|one| Box::pin(one.changed()));
        let (changed, ..) = select_all(changes).await;
        if changed.is_err() {
            // The sender has ended, as the daemon does.
            std::future::pending::<()>().await;
        }
    }
}

/// What a read shows.
#[derive(Debug)]
pub(in crate::http) struct ReadBody {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) content: ReadContent,
}

/// Its content.
#[derive(Debug, Hash)]
pub(in crate::http) enum ReadContent {
    Json(JsonValue),
    Text(String),
}

/// A value with its text, which is written once.
#[derive(Debug)]
pub(in crate::http) struct JsonValue {
    value: Value,
    text: String,
}

impl Hash for JsonValue {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.text.hash(hasher);
    }
}

impl ReadBody {
    /// A 200 with JSON.
    pub(in crate::http) fn json(value: Value) -> Self {
        Self::json_as(StatusCode::OK, value)
    }

    pub(in crate::http) fn json_as(status: StatusCode, value: Value) -> Self {
        Self {
            status,
            content: ReadContent::Json(JsonValue {
                text: value.to_string(),
                value,
            }),
        }
    }

    /// A list, without the items that the query's filter leaves out.
    pub(in crate::http) fn list(mut items: Vec<Value>, query: &ConsulQuery) -> Self {
        if let Some(filter) = &query.filter {
            items.retain(|item| filter.is_true(item));
        }
        Self::json(Value::Array(items))
    }

    /// A text with a code.
    pub(in crate::http) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            content: ReadContent::Text(text.into()),
        }
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.status.as_u16().hash(&mut hasher);
        self.content.hash(&mut hasher);
        hasher.finish()
    }

    fn into_response(self, query: &ConsulQuery) -> Response {
        match self.content {
            ReadContent::Json(json) if query.pretty => {
                answer::json(self.status, &json.value, query)
            }
            ReadContent::Json(json) => answer::encoded(self.status, json.text.into_bytes()),
            ReadContent::Text(text) => answer::text(self.status.as_u16(), text),
        }
    }
}

impl ConsulState {
    /// Answers a read: at once, or with `index` when what it shows has changed since, or at its time limit. `show`
    /// makes the answer; an error of it is what the read shows too.
    pub(in crate::http) async fn read(
        &self,
        call: &ConsulCall,
        scope: ReadScope,
        show: impl Fn() -> Result<ReadBody, ConsulError>,
    ) -> ConsulResult {
        let seen = call.query.index.filter(|index| *index > 0);
        let read = self.shown(call, &scope, &show);
        let is_current = |index: u64| {
            // A higher index than ours comes from before a restart without a store.
            seen.is_some_and(|seen| seen >= index && seen <= self.app.registry.stamps().last())
        };
        if !is_current(read.index) {
            return Ok(read.into_response(&call.query));
        }
        drop(read);
        let changed = |read: &ShownRead| !is_current(read.index);
        let read = self.wait(call, &scope, &show, changed).await?;
        Ok(read.into_response(&call.query))
    }

    /// The same for an endpoint of the agent, whose answers are compared by their hashes.
    pub(in crate::http) async fn read_hashed(
        &self,
        call: &ConsulCall,
        scope: ReadScope,
        show: impl Fn() -> Result<ReadBody, ConsulError>,
    ) -> ConsulResult {
        let seen = call.query.hash.as_deref().filter(|hash| !hash.is_empty());
        let read = self.shown(call, &scope, &show);
        let is_current = |read: &ShownRead| seen == Some(&*read.hash_text());
        if !is_current(&read) {
            if call.query.index.is_some() {
                return self.read(call, scope, show).await;
            }
            return Ok(read.into_hashed(&call.query));
        }
        drop(read);
        let changed = |read: &ShownRead| !is_current(read);
        let read = self.wait(call, &scope, &show, changed).await?;
        Ok(read.into_hashed(&call.query))
    }

    /// Waits until an answer is another one, the time is over, the client leaves or the server stops.
    async fn wait(
        &self,
        call: &ConsulCall,
        scope: &ReadScope,
        show: &impl Fn() -> Result<ReadBody, ConsulError>,
        is_other: impl Fn(&ShownRead) -> bool,
    ) -> Result<ShownRead, ConsulError> {
        let app = &self.app;
        let _permit = app.enter_watcher(&call.peer, WatcherKind::LongPoll, &call.uri_path)?;
        let deadline = Instant::now() + call.query.wait();
        let mut follower = scope.follow(&app.registry);
        loop {
            let read = self.shown(call, scope, show);
            if is_other(&read) {
                return Ok(read);
            }
            drop(read);
            tokio::select! {
                () = follower.changed() => (),
                () = sleep_until(deadline) => break,
                () = call.peer.disconnected() => break,
                () = self.serve.closing.cancelled() => break,
                () = call.peer.revoked() => {
                    return Err(ConsulError::new(403, "Permission denied: the token has ended"));
                }
            }
        }
        Ok(self.shown(call, scope, show))
    }

    fn shown(
        &self,
        call: &ConsulCall,
        scope: &ReadScope,
        show: &impl Fn() -> Result<ReadBody, ConsulError>,
    ) -> ShownRead {
        // Before it is shown: what changes meanwhile is newer than this.
        let stamp = scope.value(&self.app.registry);
        let body = show().unwrap_or_else(|error| {
            let status = StatusCode::from_u16(error.status);
            ReadBody::text(status.unwrap_or(StatusCode::BAD_REQUEST), error.text)
        });
        let hash = body.hash();
        let key = call.query.key(&call.uri_path, &call.reader());
        ShownRead {
            body,
            hash,
            index: self.indexes.index(key, hash, stamp),
        }
    }
}

/// An answer with its index and hash.
struct ShownRead {
    body: ReadBody,
    hash: u64,
    index: u64,
}

impl ShownRead {
    fn into_response(self, query: &ConsulQuery) -> Response {
        answer::with_index(self.body.into_response(query), self.index, query)
    }

    fn into_hashed(self, query: &ConsulQuery) -> Response {
        let hash = self.hash_text();
        answer::with_hash(self.into_response(query), &hash)
    }

    /// The hash as clients send it back: the one in the answer, where it has one.
    fn hash_text(&self) -> String {
        let own = match &self.body.content {
            ReadContent::Json(json) => json.value["ContentHash"].as_str(),
            ReadContent::Text(_) => None,
        };
        own.map_or_else(|| answer::hash_text(self.hash), str::to_owned)
    }
}
