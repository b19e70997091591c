//! The connection to the broker: connects while it is needed, watches the connection, reconnects, and closes it.

mod need;
mod queues;
mod report;
mod state;
mod unconfirmed;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::state::LinkState;
pub(crate) use self::unconfirmed::UnconfirmedSince;
use self::{
    need::{needed, until_needed, until_not_needed},
    queues::BrokenQueues,
};
use super::{AmqpError, Usage, broker::BrokerClient, connected::Connected, dead::DeadLetters};
use crate::{
    model::FlagState,
    registry::Clock,
    transport::{AmqpConfig, Config},
};

/// How long users of the connection may take to end, in addition to draining; also how long the broker may take to
/// close it.
const LEAVE_MAX: Duration = Duration::from_secs(4);
/// The least time that users have to end, also when the connection is needed again.
const AGAIN_MIN: Duration = Duration::from_secs(3);
/// The same at a stop, after draining; both must fit into the carriers' part of `stop.grace`.
const LEAVE_AT_STOP_MAX: Duration = Duration::from_millis(300);
/// The same while the broker does not answer.
const LEAVE_SILENT_MAX: Duration = Duration::from_millis(250);

/// A cheap handle to the connection.
#[derive(Clone, Debug)]
pub struct Link {
    shared: Arc<LinkInner>,
}

#[derive(Debug)]
struct LinkInner {
    client: Arc<dyn BrokerClient>,
    config: AmqpConfig,
    /// How long its users may drain what they have taken.
    drain: Duration,
    clock: Clock,
    state: watch::Sender<LinkState>,
    /// How many users need the connection in any mode.
    wants: watch::Sender<usize>,
    /// When the broker last answered, or was first needed; none while it is not needed.
    heard: Mutex<Option<Instant>>,
    unconfirmed: Mutex<Vec<UnconfirmedSince>>,
    connections: AtomicU64,
    /// Receives the error when the broker refuses the daemon before it was ever connected.
    refused: Mutex<Option<oneshot::Sender<AmqpError>>>,
    dead_letters: DeadLetters,
    broken: BrokenQueues,
    /// Whether the loss was logged.
    logged_away: AtomicBool,
}

/// Needs the connection in any mode, until it is dropped.
#[derive(Debug)]
pub struct Want(Arc<LinkInner>);

impl Drop for Want {
    fn drop(&mut self) {
        self.0.wants.send_modify(|wants| *wants -= 1);
    }
}

/// Why a connection ended.
enum End {
    Stopping,
    NotNeeded,
    Lost(AmqpError),
}

impl Link {
    /// Not connected yet.
    pub fn new(client: Arc<dyn BrokerClient>, config: &Config, clock: Clock) -> Self {
        let since = clock.now().wall;
        Self {
            shared: Arc::new(LinkInner {
                client,
                config: config.amqp.clone(),
                drain: config.drain.get(),
                clock,
                state: watch::Sender::new(LinkState::Off { since }),
                wants: watch::Sender::new(0),
                heard: Mutex::new(None),
                unconfirmed: Mutex::default(),
                connections: AtomicU64::new(0),
                refused: Mutex::new(None),
                dead_letters: DeadLetters::default(),
                broken: BrokenQueues::default(),
                logged_away: AtomicBool::new(false),
            }),
        }
    }

    /// A use of the connection, if it is up.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match &*self.shared.state.borrow() {
            LinkState::Up { connected, .. } => connected.usage(),
            LinkState::Off { .. } | LinkState::Away { .. } => None,
        }
    }

    /// Every change of the state.
    pub fn follow(&self) -> watch::Receiver<LinkState> {
        self.shared.state.subscribe()
    }

    /// Waits until the connection is up.
    pub(crate) async fn until_up(&self) -> Usage {
        let mut state = self.follow();
        loop {
            state.mark_unchanged();
            if let Some(usage) = self.usage() {
                return usage;
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the connection is closed.
    pub async fn until_off(&self) {
        let mut state = self.follow();
        let off = state.wait_for(|state| matches!(state, LinkState::Off { .. }));
        if off.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the broker refuses the daemon before the first connection; there is no further attempt then.
    /// Call it before `run`; only the last caller gets the error.
    pub fn until_refused(&self) -> impl Future<Output = AmqpError> + use<> {
        let (sender, refused) = oneshot::channel();
        *self.shared.refused.lock() = Some(sender);
        async {
            match refused.await {
                Ok(error) => error,
                // It was connected.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Needs the connection from now on, until the answer is dropped.
    pub fn want(&self) -> Want {
        self.shared.wants.send_modify(|wants| *wants += 1);
        Want(Arc::clone(&self.shared))
    }

    /// For one more sender that waits for confirms.
    pub(crate) fn unconfirmed(&self) -> UnconfirmedSince {
        let one = UnconfirmedSince::default();
        let mut all = self.shared.unconfirmed.lock();
        // Entries whose senders are gone are not needed any more.
        all.retain(|one| Arc::strong_count(&one.0) > 1);
        all.push(one.clone());
        one
    }

    /// The queue for messages that cannot be read.
    pub(super) fn dead_letters(&self) -> &DeadLetters {
        &self.shared.dead_letters
    }

    /// The queues that cannot be used.
    pub(super) fn broken_queues(&self) -> &BrokenQueues {
        &self.shared.broken
    }

    /// The broker.
    pub(crate) fn client(&self) -> &Arc<dyn BrokerClient> {
        &self.shared.client
    }

    /// How long its users may drain what they have taken.
    pub(super) fn drain(&self) -> Duration {
        self.shared.drain
    }

    /// Section `transport.amqp`.
    pub fn config(&self) -> &AmqpConfig {
        &self.shared.config
    }

    /// For how long the broker has answered nothing; none while it does, or is not needed.
    pub fn silent(&self) -> Option<Duration> {
        let heard = (*self.shared.heard.lock())?;
        let unconfirmed = self.shared.unconfirmed.lock();
        let oldest = unconfirmed.iter().filter_map(UnconfirmedSince::since).min();
        let since = oldest.map_or(heard, |oldest| oldest.min(heard));
        let silent = since.elapsed();
        // Between two pings the broker is not expected to send anything.
        (silent > 3 * *self.shared.config.ping).then_some(silent)
    }

    /// Keeps the connection while it is needed, until `stop`; then waits for its
    /// users, and closes it.
    pub async fn run(self, mut flag: watch::Receiver<FlagState>, stop: CancellationToken) {
        let shared = &self.shared;
        let mut failures = 0_u32;
        let mut wants = shared.wants.subscribe();
        while self.until_needed(&mut flag, &mut wants, &stop).await {
            let made = tokio::select! {
                () = stop.cancelled() => return,
                () = until_not_needed(&mut flag, &mut wants) => continue,
                made = timeout(shared.config.connect_timeout.get(), shared.connect()) => made,
            };
            let after = shared.config.connect_timeout;
            let late = AmqpError::Late {
                what: "connecting",
                after: after.get(),
            };
            let end = match made.unwrap_or(Err(late)) {
                Ok(connected) => {
                    failures = 0;
                    self.keep(Arc::new(connected), &mut flag, &mut wants, &stop)
                        .await
                }
                Err(error) => End::Lost(error),
            };
            match end {
                End::Stopping => return,
                End::NotNeeded => (),
                End::Lost(error) if shared.gives_up(&error) => {
                    return stop.cancelled().await;
                }
                End::Lost(error) => {
                    failures = failures.saturating_add(1);
                    let error = shared.set_away(error);
                    let heard = || shared.note_heard();
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = until_not_needed(&mut flag, &mut wants) => continue,
                        () = shared.client.repair(&error, &shared.dead_letters, &heard) => (),
                    }
                    let wait = self.backoff(failures);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = until_not_needed(&mut flag, &mut wants) => (),
                        () = sleep(wait) => (),
                    }
                }
            }
        }
    }

    /// False after `stop`.
    async fn until_needed(
        &self,
        flag: &mut watch::Receiver<FlagState>,
        wants: &mut watch::Receiver<usize>,
        stop: &CancellationToken,
    ) -> bool {
        loop {
            if needed(flag, wants) {
                self.shared.heard.lock().get_or_insert_with(Instant::now);
                return !stop.is_cancelled();
            }
            self.shared.set_off();
            tokio::select! {
                () = stop.cancelled() => return false,
                changed = flag.changed() => if changed.is_err() { return false },
                _ = wants.changed() => (),
            }
        }
    }

    /// Shows the connection to its users and watches it until it ends.
    async fn keep(
        &self,
        connected: Arc<Connected>,
        flag: &mut watch::Receiver<FlagState>,
        wants: &mut watch::Receiver<usize>,
        stop: &CancellationToken,
    ) -> End {
        let shared = &self.shared;
        let since = shared.clock.now().wall;
        shared.note_heard();
        shared.logged_away.store(false, Ordering::Relaxed);
        drop(shared.refused.lock().take());
        // Unconfirmed messages of the last connection are sent again, and their wait starts again.
        shared.reset_unconfirmed();
        let url = shared.client.url();
        if shared.client.is_embedded() {
            tracing::debug!(broker.url = url, "connected to the broker at {url}");
        } else {
            tracing::info!(broker.url = url, "connected to the broker at {url}");
        }
        shared.state.send_replace(LinkState::Up {
            connected: Arc::clone(&connected),
            since,
        });
        let heard = || shared.note_heard();
        let end = tokio::select! {
            () = stop.cancelled() => End::Stopping,
            () = until_not_needed(flag, wants) => End::NotNeeded,
            error = connected.connection().until_lost(&heard) => End::Lost(error),
        };
        let again = match end {
            End::Lost(_) => {
                connected.gone.cancel();
                // A part of it may still be up.
                let closed = timeout(LEAVE_SILENT_MAX, connected.connection().close()).await;
                tracing::debug!(?closed, "the connection to the broker was lost");
                return end;
            }
            End::Stopping => false,
            End::NotNeeded => true,
        };
        // A broker that blocks publishers does not read their messages, so it does not confirm them.
        let silent = self.silent().is_some() || connected.connection().is_blocked();
        // For each of the two steps: users leave, the connection is closed.
        let step_max = match (again, silent) {
            (true, true) => LEAVE_SILENT_MAX,
            (true, false) => LEAVE_MAX,
            (false, _) => LEAVE_AT_STOP_MAX.min(shared.drain / 10),
        };
        let drained = async {
            if silent || !again {
                return sleep(step_max).await;
            }
            // If the connection is needed again, it is not drained to the end.
            let needed = async {
                sleep(AGAIN_MIN).await;
                until_needed(flag, wants).await;
                // Messages without a confirm by then are sent again.
                self.until_confirmed().await;
            };
            tokio::select! {
                () = sleep(step_max + shared.drain) => (),
                () = needed => (),
            }
        };
        shared.leave(&connected, drained, step_max).await;
        end
    }
}

impl Link {
    /// How long to wait after so many failures in a row.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let config = &self.shared.config;
        let doublings = failures.saturating_sub(1).min(16);
        let longest = config.backoff_first.saturating_mul(1 << doublings);
        longest
            .min(config.backoff_max.get())
            .mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

impl LinkInner {
    async fn connect(&self) -> Result<Connected, AmqpError> {
        let connection = self.client.connect().await?;
        self.dead_letters.fit(connection.headers_max());
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.declare_all(&*connection).await?;
        Ok(Connected::new(connection, number))
    }

    fn note_heard(&self) {
        *self.heard.lock() = Some(Instant::now());
    }

    /// Ends the wait for earlier confirms.
    fn reset_unconfirmed(&self) {
        for one in self.unconfirmed.lock().iter() {
            one.answered();
        }
    }

    fn set_off(&self) {
        *self.heard.lock() = None;
        self.reset_unconfirmed();
        let since = self.clock.now().wall;
        self.state.send_if_modified(|state| {
            let on = !matches!(state, LinkState::Off { .. });
            if on {
                *state = LinkState::Off { since };
            }
            on
        });
    }

    /// Warns once, not at each attempt.
    fn log_away(&self, error: &AmqpError) {
        let url = self.client.url();
        if self.logged_away.swap(true, Ordering::Relaxed) {
            tracing::debug!(broker.url = url, %error, "the broker at {url} still cannot be used: {error}");
        } else {
            tracing::warn!(
                broker.url = url,
                %error,
                "the broker at {url} cannot be used: {error}; retrying"
            );
        }
    }

    fn set_away(&self, error: AmqpError) -> Arc<AmqpError> {
        let error = Arc::new(error);
        let now = self.clock.now().wall;
        self.state.send_modify(|state| {
            let since = match state {
                LinkState::Away { since, .. } => *since,
                LinkState::Off { .. } | LinkState::Up { .. } => {
                    self.log_away(&error);
                    now
                }
            };
            let error = Arc::clone(&error);
            *state = LinkState::Away { error, since };
        });
        error
    }

    /// Whether it gives up: the broker refuses the daemon, has never accepted it, and a caller waits for that error.
    fn gives_up(&self, error: &AmqpError) -> bool {
        let Some(reason) = error.refusal() else {
            return false;
        };
        let refused = AmqpError::Refused {
            url: self.client.url(),
            reason: reason.to_owned(),
        };
        let waiting = self.refused.lock().take();
        waiting.is_some_and(|waiting| waiting.send(refused).is_ok())
    }

    /// Closes the connection when it has no users any more, or at the time `enough`.
    async fn leave(&self, connected: &Connected, enough: impl Future<Output = ()>, max: Duration) {
        connected.leaving.cancel();
        connected.users.close();
        tokio::select! {
            () = connected.users.wait() => (),
            () = enough => {
                let left = connected.users.len();
                tracing::warn!(
                    left,
                    "{left} users of the broker's connection did not end in time"
                );
            }
        }
        connected.gone.cancel();
        match AmqpError::within(
            "closing the connection",
            max,
            connected.connection().close(),
        )
        .await
        {
            Ok(()) if self.client.is_embedded() => (),
            Ok(()) => tracing::info!("closed the connection to the broker"),
            Err(error) => {
                tracing::debug!(%error, "the connection to the broker ended without a close");
            }
        }
        self.set_off();
    }
}

#[cfg(test)]
mod tests;
