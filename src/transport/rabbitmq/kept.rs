//! Channels that are dropped later.
//!
//! lapin (4.12) drops a channel that receives messages under a lock that its reader waits for. If this is the
//! last handle, the drop waits for a lock that the reader holds. This deadlock blocks a thread of the daemon
//! when a connection ends while messages arrive. So such a channel is kept until long after its end.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use lapin::Channel;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a channel is kept after its last use.
const KEPT: Duration = Duration::from_secs(60);

/// A channel. When this is dropped, a channel that receives messages is closed and kept.
#[derive(Debug)]
pub(super) struct KeptChannel {
    pub(super) channel: Channel,
    /// Where it is kept; none for a channel that only sends.
    pub(super) kept: Option<KeptChannels>,
}

impl Drop for KeptChannel {
    fn drop(&mut self) {
        let Some(kept) = &self.kept else {
            return;
        };
        if self.channel.status().connected() {
            // The answer is not awaited.
            let _ = self.channel.close(200, "OK".into()).now_or_never();
        }
        kept.keep(self.channel.clone());
    }
}

/// Channels that are no longer used, each with the time of its last use.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptChannels(Arc<Mutex<Vec<(Instant, Channel)>>>);

impl KeptChannels {
    fn keep(&self, channel: Channel) {
        let mut all = self.0.lock();
        all.retain(|(since, one)| since.elapsed() < KEPT || one.status().connected());
        all.push((Instant::now(), channel));
    }
}
