//! Reports when the memory alarm and the disk alarm begin and end, and wakes blocked publishers.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::broker::{memory::Alarms, message_log::MessageLogState};

/// Reports until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut on = Alarms::default();
    loop {
        let changed = shared.memory.alarm_changed(on);
        let Some(now_on) = stop.run_until_cancelled(changed).await else {
            return;
        };
        let before = std::mem::replace(&mut on, now_on);
        if !shared.log.alarms.allows() {
            continue;
        }
        if before.memory() != on.memory() {
            report_memory(&shared, on.memory());
        }
        if before.disk() != on.disk() {
            report_disk(on.disk());
        }
    }
}

/// Blocks publishers while the disk of the messages is full, until `stop`.
pub(super) async fn watch_disk(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(mut state) = shared.stores.get().map(|stores| stores.disk()) else {
        return stop.cancelled().await;
    };
    loop {
        let is_full = *state.borrow_and_update() == MessageLogState::Full;
        shared.memory.set_disk_full(is_full);
        match stop.run_until_cancelled(state.changed()).await {
            Some(Ok(())) => {}
            // The log has ended.
            Some(Err(_)) => return stop.cancelled().await,
            None => return,
        }
    }
}

fn report_memory(shared: &Shared, on: bool) {
    let (used, high) = (shared.memory.used(), shared.memory.high());
    match on {
        true => tracing::warn!(
            used,
            "memory alarm: {used} bytes are held, more than broker.limits.memory ({high}); \
             publishers are blocked until a tenth of it is free"
        ),
        false => tracing::info!(used, "the memory alarm has ended"),
    }
}

fn report_disk(on: bool) {
    match on {
        true => tracing::warn!(
            "disk alarm: the disk of store.path is full; publishers are blocked until there is space"
        ),
        false => tracing::info!("the disk alarm has ended: messages can be stored again"),
    }
}
