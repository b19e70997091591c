//! The flag: the mode of each channel. A change takes effect between two events.

mod stored;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

pub(super) use self::stored::{FLAG, StoredFlag};
use super::{Config, HighWatermark, NoRows, StoredTransport, TransportRows};
use crate::{
    api::{Comparison, TransportBroker, TransportChannel, TransportReport},
    model::{Channel, FlagError, FlagState, Mode, Modes, Timestamp},
    registry::{Lost, Registry},
};

/// The pause before another attempt to store the flag.
const RETRY: Duration = Duration::from_secs(1);

/// A cheap handle to the flag.
#[derive(Clone, Debug)]
pub struct Flag {
    flagged: Arc<watch::Sender<FlagState>>,
    watermark: HighWatermark,
    registry: Registry,
    since: Timestamp,
    store: Arc<FlagStore>,
}

/// Where the flag is stored.
#[derive(Debug)]
struct FlagStore {
    rows: Arc<dyn TransportRows>,
    configured: Modes,
    /// The version that is stored, if one must be.
    stored: tokio::sync::Mutex<u64>,
}

impl Flag {
    /// A flag that is not stored.
    pub fn new(modes: Modes, registry: Registry) -> Self {
        let store = FlagStore {
            rows: Arc::new(NoRows),
            configured: modes,
            stored: 0.into(),
        };
        Self::begin(FlagState { modes, version: 0 }, registry, store)
    }

    /// The flag at the start. Modes that were changed at run time in an earlier run win, until others are configured;
    /// `rows` keeps them.
    pub fn open(
        config: &Config,
        has_broker: bool,
        registry: Registry,
        stored: &StoredTransport,
        rows: Arc<dyn TransportRows>,
    ) -> Self {
        let configured = config.modes(has_broker);
        let state = stored::at_start(configured, stored.flag, has_broker, config.direct);
        let stored = stored.flag.map_or(state.version, |flag| flag.state.version);
        let store = FlagStore {
            rows,
            configured,
            stored: stored.into(),
        };
        if state.modes != configured {
            let modes = state.modes;
            tracing::debug!(
                "the modes were changed at run time: {modes} (configured: {configured})"
            );
        }
        Self::begin(state, registry, store)
    }

    fn begin(state: FlagState, registry: Registry, store: FlagStore) -> Self {
        let flag = Self {
            flagged: Arc::new(watch::Sender::new(state)),
            watermark: HighWatermark::default(),
            since: registry.clock().now().wall,
            registry,
            store: Arc::new(store),
        };
        flag.set_watermark(state.modes);
        flag
    }

    /// The modes and their version.
    pub fn state(&self) -> FlagState {
        *self.flagged.borrow()
    }

    /// Follows changes of the modes.
    pub fn follow(&self) -> watch::Receiver<FlagState> {
        self.flagged.subscribe()
    }

    /// The watermark for callbacks and webhooks.
    pub fn watermark(&self) -> &HighWatermark {
        &self.watermark
    }

    /// Changes the flag like [`Self::set`], and stores it. A flag that cannot be stored is changed all the
    /// same, because a rollback must not wait for space on a disk. [`Self::keep`] stores it later.
    ///
    /// # Errors
    /// `only_if` is not the current version.
    pub async fn change(&self, modes: Modes, only_if: Option<u64>) -> Result<u64, FlagError> {
        let version = self.set(modes, only_if)?;
        if let Err(lost) = self.store().await {
            tracing::warn!("the new modes are not stored yet: {lost}");
        }
        Ok(version)
    }

    /// Stores what could not be stored when it changed, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        loop {
            // Reported by the store.
            let _ = self.store().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(RETRY) => (),
            }
        }
    }

    async fn store(&self) -> Result<(), Lost> {
        let mut stored = self.store.stored.lock().await;
        let state = self.state();
        if *stored == state.version {
            return Ok(());
        }
        let configured = self.store.configured;
        let row = StoredFlag { state, configured }.row();
        self.store.rows.commit(vec![row]).await?;
        *stored = state.version;
        Ok(())
    }

    /// Changes the flag and returns the new version. The version also changes if the modes stay the same,
    /// so that a caller can see that another one confirmed them.
    ///
    /// # Errors
    /// `only_if` is not the current version.
    pub fn set(&self, modes: Modes, only_if: Option<u64>) -> Result<u64, FlagError> {
        let mut answer = Err(FlagError::Changed);
        self.flagged.send_if_modified(|flagged| {
            if only_if.is_some_and(|version| version != flagged.version) {
                return false;
            }
            let changed = flagged.modes != modes;
            if changed {
                // Under the same lock, so that the watermark always fits the modes.
                self.set_watermark(modes);
                tracing::info!(%modes, "the transport's flag is now: {modes}");
            }
            *flagged = FlagState {
                modes,
                version: flagged.version + 1,
            };
            answer = Ok(flagged.version);
            changed
        });
        answer
    }

    /// The report without a broker: everything is direct.
    pub fn report(&self) -> TransportReport {
        let modes = self.state().modes;
        let report = |channel| TransportChannel {
            channel,
            mode: modes.of(channel),
            cursor: None,
            lag: None,
            sent: 0,
            failed: 0,
            comparison: Comparison::default(),
        };
        TransportReport {
            channels: Channel::ALL.into_iter().map(report).collect(),
            broker: TransportBroker {
                kind: "none",
                url: String::new(),
                state: "off",
                silent: None,
                since: self.since,
                error: None,
                connections: 0,
                dead_letters: 0,
                answers_lost: 0,
            },
            direct: true,
            timestamp: self.registry.clock().now().wall,
        }
    }

    fn set_watermark(&self, modes: Modes) {
        if modes.events == Mode::Queue {
            self.watermark.hold(self.registry.newest());
        } else {
            self.watermark.lift();
        }
    }
}

#[cfg(test)]
mod tests;
