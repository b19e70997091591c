//! Answers about services, encoded once for each change of the service.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use super::{name::NAME_BYTES_MAX, query::DnsQuery, record::DnsAnswer};
use crate::{
    model::ServiceName,
    registry::{Registry, View},
};

/// The bytes of a place in the table.
const ENTRY_BYTES: usize = 100;

/// The name in lower case and the type of a question.
#[derive(Debug)]
struct QuestionKey {
    bytes: [u8; NAME_BYTES_MAX + 2],
    length: usize,
}

impl QuestionKey {
    fn of(query: &DnsQuery<'_>) -> Self {
        let name = query.name.as_wire();
        let length = name.len() + 2;
        let mut bytes = [0; NAME_BYTES_MAX + 2];
        bytes[..name.len()].copy_from_slice(name);
        bytes[name.len()..length].copy_from_slice(&query.kind.to_be_bytes());
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Answers by question.
#[derive(Debug)]
pub(super) struct AnswerCache {
    table: papaya::HashMap<Box<[u8]>, Arc<CachedAnswer>>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

/// An answer, and what it shows.
#[derive(Debug)]
struct CachedAnswer {
    service: ServiceName,
    /// Keeps no instance in memory that has left.
    view: Weak<View>,
    answer: Arc<DnsAnswer>,
}

impl AnswerCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            table: papaya::HashMap::new(),
            bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// The answer, if the service has not changed since it was made.
    pub(super) fn find(&self, registry: &Registry, query: &DnsQuery<'_>) -> Option<Arc<DnsAnswer>> {
        let table = self.table.pin();
        let known = table.get(QuestionKey::of(query).as_bytes())?;
        let view = registry.service(known.service.as_str())?.view();
        let is_current = std::ptr::eq(known.view.as_ptr(), Arc::as_ptr(&view));
        is_current.then(|| Arc::clone(&known.answer))
    }

    /// Keeps an answer. When there is no room for it, all others go first.
    pub(super) fn keep(
        &self,
        query: &DnsQuery<'_>,
        service: &ServiceName,
        view: &Arc<View>,
        answer: &Arc<DnsAnswer>,
    ) {
        let key = QuestionKey::of(query);
        let bytes = ENTRY_BYTES + key.length + answer.memory();
        if bytes > self.bytes_max {
            return;
        }
        let table = self.table.pin();
        if self.bytes.load(Ordering::Relaxed) + bytes > self.bytes_max {
            table.clear();
            self.bytes.store(0, Ordering::Relaxed);
        }
        let cached = CachedAnswer {
            service: service.clone(),
            view: Arc::downgrade(view),
            answer: Arc::clone(answer),
        };
        let replaced = table.insert(key.as_bytes().into(), Arc::new(cached));
        let freed = replaced.map_or(0, |old| ENTRY_BYTES + key.length + old.answer.memory());
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Another thread may have cleared the table in between.
        let less = |sum: usize| Some(sum.saturating_sub(freed));
        let _ = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}
