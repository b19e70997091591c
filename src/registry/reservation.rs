//! Memory of other rooms that counts towards `registry.memory_max`.

use std::sync::Arc;

use super::{Refusal, Registry, service::CachedBytes};

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
#[must_use = "the bytes are no longer counted when this is dropped"]
pub struct Reservation {
    bytes: usize,
    all: Arc<CachedBytes>,
}

impl Registry {
    /// Counts `bytes` of another room.
    ///
    /// # Errors
    /// `registry.memory_max` is reached.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, Refusal> {
        let all = &self.inner.table.cached;
        let writer = self.inner.writer.lock();
        let max = writer.state.config.memory_max.get();
        let sum = writer.state.bytes.saturating_add(all.bytes());
        if sum.saturating_add(bytes) as u64 > max.as_u64() {
            return Err(Refusal::MemoryFull { max });
        }
        Ok(self.reserve_beyond(bytes))
    }

    /// Counts `bytes` of another room, whether or not `registry.memory_max` is reached.
    pub fn reserve_beyond(&self, bytes: usize) -> Reservation {
        let all = &self.inner.table.cached;
        all.add(bytes);
        Reservation {
            bytes,
            all: Arc::clone(all),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.all.sub(self.bytes);
    }
}
