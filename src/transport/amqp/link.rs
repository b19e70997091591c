//! The connection to the broker: made while it is needed, watched, made anew, closed.

mod apart;
mod need;
mod owed;
mod ping;
mod report;
mod sieve;
mod state;

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

use self::{
    need::{needed, until_needed, until_not_needed},
    owed::OwedSince,
};
pub use self::{owed::Owed, state::State};
use super::{
    AmqpError, Session, Target,
    answers::LostAnswers,
    dead::DeadLetters,
    names,
    session::{Connected, Kept},
};
use crate::{
    model::FlagState,
    registry::Clock,
    transport::{AmqpConfig, Config},
};

/// How long users of the connection may take to let go of it, besides what they drain; and the broker
/// to take leave.
const LEAVE_MAX: Duration = Duration::from_secs(4);
/// How long they have at least, also when the connection is needed again meanwhile.
const AGAIN_MIN: Duration = Duration::from_secs(3);
/// How long they have when the broker does not answer anyway.
const LEAVE_SILENT_MAX: Duration = Duration::from_millis(250);

/// A cheap handle to the connection.
#[derive(Clone, Debug)]
pub struct Link {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    config: AmqpConfig,
    /// How long users of the connection may drain what they have taken.
    drain: Duration,
    clock: Clock,
    state: watch::Sender<State>,
    /// How many want the connection whatever the flag says.
    wants: watch::Sender<usize>,
    /// When the broker last answered, or was first needed; none while it is not needed.
    heard: Mutex<Option<Instant>>,
    owed: Mutex<Vec<Arc<OwedSince>>>,
    connections: AtomicU64,
    /// Who is to be told when the broker refuses us before it ever took us.
    refused: Mutex<Option<oneshot::Sender<AmqpError>>>,
    kept: Kept,
    dead_letters: DeadLetters,
    lost_answers: LostAnswers,
    /// Whether it was told that the broker is away, since it was there last.
    told_away: AtomicBool,
}

/// Wants the connection for as long as it lives, whatever the flag says.
#[derive(Debug)]
pub struct Want(Arc<Shared>);

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
    /// A connection that is not there yet.
    pub fn new(target: Target, config: &Config, clock: Clock) -> Self {
        let since = clock.now().wall;
        Self {
            shared: Arc::new(Shared {
                target,
                config: config.amqp.clone(),
                drain: config.drain,
                clock,
                state: watch::Sender::new(State::Off { since }),
                wants: watch::Sender::new(0),
                heard: Mutex::new(None),
                owed: Mutex::default(),
                connections: AtomicU64::new(0),
                refused: Mutex::new(None),
                kept: Kept::default(),
                dead_letters: DeadLetters::new(config.amqp.answer_timeout),
                lost_answers: LostAnswers::default(),
                told_away: AtomicBool::new(false),
            }),
        }
    }

    /// The connection, if it is there.
    pub fn session(&self) -> Option<Session> {
        match &*self.shared.state.borrow() {
            State::Up { connected, .. } => connected.session(),
            State::Off { .. } | State::Away { .. } => None,
        }
    }

    /// Tells of every change of the state.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Waits until the connection is there.
    pub async fn until_up(&self) -> Session {
        let mut state = self.follow();
        loop {
            state.mark_unchanged();
            if let Some(session) = self.session() {
                return session;
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the connection is closed.
    pub async fn until_off(&self) {
        let mut state = self.follow();
        let off = state.wait_for(|state| matches!(state, State::Off { .. }));
        if off.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the broker refuses us for good before it ever took us; it is not tried again then.
    /// To be called before `run`; only the last caller is told.
    pub fn until_refused(&self) -> impl Future<Output = AmqpError> + use<> {
        let (sender, refused) = oneshot::channel();
        *self.shared.refused.lock() = Some(sender);
        async {
            match refused.await {
                Ok(error) => error,
                // It took us.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Wants the connection from now on, until the answer is dropped.
    pub fn want(&self) -> Want {
        self.shared.wants.send_modify(|wants| *wants += 1);
        Want(Arc::clone(&self.shared))
    }

    /// An account for one sender.
    pub fn owed(&self) -> Owed {
        let owed = Arc::new(OwedSince::default());
        let mut all = self.shared.owed.lock();
        // Those whose senders are gone are of no use any more.
        all.retain(|one| Arc::strong_count(one) > 1);
        all.push(Arc::clone(&owed));
        Owed(owed)
    }

    /// Where messages go that nobody can read.
    pub(super) fn dead_letters(&self) -> &DeadLetters {
        &self.shared.dead_letters
    }

    /// How long its users may drain what they have taken.
    pub(super) fn drain(&self) -> Duration {
        self.shared.drain
    }

    /// How it speaks to the broker.
    pub fn config(&self) -> &AmqpConfig {
        &self.shared.config
    }

    /// For how long the broker has answered nothing; none while it does, or is not needed.
    pub fn silent(&self) -> Option<Duration> {
        let heard = (*self.shared.heard.lock())?;
        let owed = self.shared.owed.lock();
        let oldest = owed.iter().filter_map(|one| *one.0.lock()).min();
        let since = oldest.map_or(heard, |oldest| oldest.min(heard));
        let silent = since.elapsed();
        // Between two pings it is silent, and nothing is wrong.
        (silent > 3 * self.shared.config.ping).then_some(silent)
    }

    /// Keeps the connection while the flag or somebody else needs it, until told to stop; then waits
    /// for those who use it, and closes it.
    pub async fn run(self, mut flag: watch::Receiver<FlagState>, stop: CancellationToken) {
        let shared = &self.shared;
        let mut failures = 0_u32;
        let mut wants = shared.wants.subscribe();
        while self.until_needed(&mut flag, &mut wants, &stop).await {
            let made = tokio::select! {
                () = stop.cancelled() => return,
                () = until_not_needed(&mut flag, &mut wants) => continue,
                made = timeout(shared.config.connect_timeout, shared.connect()) => made,
            };
            let after = shared.config.connect_timeout;
            let late = AmqpError::Late {
                what: "connecting",
                after,
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
                    let is_too_large = error.is_too_large();
                    shared.away(error);
                    if is_too_large {
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = until_not_needed(&mut flag, &mut wants) => continue,
                            () = Box::pin(shared.sieve()) => (),
                        }
                    }
                    let wait = shared.wait(failures);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = until_not_needed(&mut flag, &mut wants) => (),
                        () = sleep(wait) => (),
                    }
                }
            }
        }
    }

    /// False when told to stop.
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
            self.shared.off();
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
        shared.hear();
        shared.told_away.store(false, Ordering::Relaxed);
        drop(shared.refused.lock().take());
        // What the last connection left unanswered is sent again, and counts from then.
        shared.forgive();
        tracing::info!(
            broker.url = shared.target.shown(),
            "connected to the broker at {}",
            shared.target.shown()
        );
        shared.state.send_replace(State::Up {
            connected: Arc::clone(&connected),
            since,
        });
        let end = tokio::select! {
            () = stop.cancelled() => End::Stopping,
            () = until_not_needed(flag, wants) => End::NotNeeded,
            error = shared.ping(&connected) => End::Lost(error),
        };
        let again = match end {
            End::Lost(_) => {
                connected.gone.cancel();
                // Perhaps one of the two still stands.
                let closed = timeout(LEAVE_SILENT_MAX, connected.close()).await;
                tracing::debug!(?closed, "the connection to the broker was lost");
                return end;
            }
            End::Stopping => false,
            End::NotNeeded => true,
        };
        // One that takes nothing more answers nothing to those it does not read.
        let silent = self.silent().is_some() || connected.is_blocked();
        let drained = async {
            if silent {
                return sleep(LEAVE_SILENT_MAX).await;
            }
            // Whoever needs the connection again does not wait until all is drained.
            let needed = async {
                sleep(AGAIN_MIN).await;
                until_needed(flag, wants).await;
                // What is not confirmed by then would leave once more.
                self.until_answered().await;
            };
            let max = if again {
                LEAVE_MAX + shared.drain
            } else {
                LEAVE_MAX
            };
            tokio::select! {
                () = sleep(max) => (),
                () = needed, if again => (),
            }
        };
        let max = if silent { LEAVE_SILENT_MAX } else { LEAVE_MAX };
        shared.leave(&connected, drained, max).await;
        end
    }
}

impl Shared {
    async fn connect(&self) -> Result<Connected, AmqpError> {
        let within = self.config.connect_timeout;
        let (sending, consuming) = tokio::try_join!(
            self.target.connect("musterd", within),
            self.target.connect("musterd consumers", within)
        )?;
        let frame_max = consuming.configuration().frame_max();
        self.dead_letters.fit(frame_max);
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connected = Connected::new(sending, consuming, number, self.kept.clone());
        let opened = connected.sending.create_channel();
        let channel = opened.await.map_err(AmqpError::at("opening a channel"))?;
        names::declare(&channel, self.config.answer_timeout).await?;
        Ok(connected)
    }

    fn hear(&self) {
        *self.heard.lock() = Some(Instant::now());
    }

    /// Nobody waits for earlier answers any more.
    fn forgive(&self) {
        for owed in self.owed.lock().iter() {
            *owed.0.lock() = None;
        }
    }

    fn off(&self) {
        *self.heard.lock() = None;
        self.forgive();
        let since = self.clock.now().wall;
        self.state.send_if_modified(|state| {
            let on = !matches!(state, State::Off { .. });
            if on {
                *state = State::Off { since };
            }
            on
        });
    }

    /// Told of once, not at each attempt.
    fn tell_away(&self, error: &AmqpError) {
        let url = self.target.shown();
        if self.told_away.swap(true, Ordering::Relaxed) {
            tracing::debug!(broker.url = url, %error, "the broker at {url} still can't be used: {error}");
        } else {
            tracing::warn!(
                broker.url = url,
                %error,
                "the broker at {url} can't be used: {error}; tried again and again from now on"
            );
        }
    }

    fn away(&self, error: AmqpError) {
        let error = Arc::new(error);
        let now = self.clock.now().wall;
        self.state.send_modify(|state| {
            let since = match state {
                State::Away { since, .. } => *since,
                State::Off { .. } | State::Up { .. } => {
                    self.tell_away(&error);
                    now
                }
            };
            *state = State::Away { error, since };
        });
    }

    fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let longest = self.config.backoff_first.saturating_mul(1 << doublings);
        longest
            .min(self.config.backoff_max)
            .mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Whether it is not tried again: the broker has refused us and never took us, and somebody wants
    /// to be told.
    fn gives_up(&self, error: &AmqpError) -> bool {
        let Some(told) = error.refusal() else {
            return false;
        };
        let refused = AmqpError::Refused {
            url: self.target.shown(),
            told: told.to_owned(),
        };
        let teller = self.refused.lock().take();
        teller.is_some_and(|teller| teller.send(refused).is_ok())
    }

    /// Closes the connection once nobody uses it, or at the time `enough`.
    async fn leave(&self, connected: &Connected, enough: impl Future<Output = ()>, max: Duration) {
        connected.leaving.cancel();
        connected.users.close();
        tokio::select! {
            () = connected.users.wait() => (),
            () = enough => {
                let left = connected.users.len();
                tracing::warn!(
                    left,
                    "{left} uses of the broker's connection did not end in time"
                );
            }
        }
        connected.gone.cancel();
        match AmqpError::within("closing the connection", max, connected.close()).await {
            Ok(()) => tracing::info!("closed the connection to the broker"),
            Err(error) => tracing::debug!(%error, "the connection to the broker ended unclosed"),
        }
        self.off();
    }
}
