//! Reports when the memory alarm begins and ends, and wakes blocked publishers.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Shared;

/// Reports until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut on = false;
    loop {
        let changed = shared.memory.alarm_changed(on);
        match stop.run_until_cancelled(changed).await {
            None => return,
            Some(now_on) => on = now_on,
        }
        if !shared.log.alarms.allows() {
            continue;
        }
        let (used, high) = (shared.memory.used(), shared.memory.high());
        match on {
            true => tracing::warn!(
                used,
                "memory alarm: {used} bytes are held, more than broker.limits.memory ({high}); \
                 publishers are blocked until a tenth of it is free"
            ),
            false => tracing::info!(used, "the memory alarm has ended: publishers may publish"),
        }
    }
}
