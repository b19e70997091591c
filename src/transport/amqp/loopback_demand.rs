//! Whether the daemon's own events are needed back from the broker; otherwise they are not consumed.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use crate::{
    model::{FlagState, Mode},
    transport::Flag,
};

/// How long it lasts after the last need, so that subscribers that come and go do not start it each time.
const LINGER: Duration = Duration::from_secs(30);

/// There is demand while callbacks or webhooks exist, and in mode `dual`, which compares.
#[derive(Clone, Debug)]
pub(super) struct LoopbackDemand {
    flag: watch::Receiver<FlagState>,
    viewers: watch::Receiver<usize>,
}

impl LoopbackDemand {
    pub(super) fn new(flag: &Flag) -> Self {
        Self {
            flag: flag.follow(),
            viewers: flag.watermark().viewers(),
        }
    }

    /// Whether events are needed back now.
    pub(super) fn is_needed(&mut self) -> bool {
        let compared = self.flag.borrow_and_update().modes.events == Mode::Dual;
        *self.viewers.borrow_and_update() > 0 || compared
    }

    /// Waits until it may be otherwise. Cancel safe.
    pub(super) async fn changed(&mut self) -> bool {
        tokio::select! {
            changed = self.flag.changed() => changed.is_ok(),
            changed = self.viewers.changed() => changed.is_ok(),
        }
    }

    /// Waits until events are needed.
    pub(super) async fn until_needed(&mut self) {
        self.until(true).await;
    }

    /// Waits until events have not been needed for a while.
    pub(super) async fn until_over(&mut self) {
        loop {
            self.until(false).await;
            if timeout(LINGER, self.until(true)).await.is_err() {
                return;
            }
        }
    }

    async fn until(&mut self, needed: bool) {
        while self.is_needed() != needed {
            if !self.changed().await {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
