//! Checks that probers elsewhere shall make: requests out, verdicts in.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicPublishOptions},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    AmqpError, Link, Session, State,
    consumer::{Consuming, Taker},
    dead::DeadLetters,
    names,
};
use crate::{
    api::CheckVerdict,
    model::{Channel as Way, FlagState, Mode},
};

/// Requests sent at once.
const BATCH: usize = 256;

/// Receives the verdicts of remote probers.
pub trait Verdicts: fmt::Debug + Send + Sync {
    /// Takes a verdict and the number of the request that it answers, if it names one. A verdict that
    /// nobody waits for is ignored.
    fn take(&self, verdict: CheckVerdict, request: Option<u64>);

    /// A request could not be sent.
    fn unsent(&self, request: u64);

    /// No pending request will be answered.
    fn cut_off(&self);
}

/// A cheap handle to the way out of requests.
#[derive(Clone, Debug)]
pub struct Checks {
    state: watch::Receiver<State>,
    flag: watch::Receiver<FlagState>,
    outbox: mpsc::Sender<Letter>,
}

/// A request, ready to be sent.
#[derive(Debug)]
struct Letter {
    number: u64,
    body: Vec<u8>,
    deadline: Instant,
}

/// What carries requests and verdicts.
#[derive(Debug)]
pub struct ChecksCarrier {
    link: Link,
    flag: watch::Receiver<FlagState>,
    letters: mpsc::Receiver<Letter>,
}

impl Checks {
    /// A way over `link`, on which at most `max` requests wait to be sent, and what carries them.
    pub fn new(link: Link, flag: watch::Receiver<FlagState>, max: usize) -> (Self, ChecksCarrier) {
        let (outbox, letters) = mpsc::channel(max.max(1));
        let checks = Self {
            state: link.follow(),
            flag: flag.clone(),
            outbox,
        };
        let carrier = ChecksCarrier {
            link,
            flag,
            letters,
        };
        (checks, carrier)
    }

    /// Which way checks go now.
    pub fn mode(&self) -> Mode {
        self.flag.borrow().modes.health
    }

    /// Sends a request on its way; false while there is no connection, or when too many wait.
    pub fn send(&self, number: u64, body: Vec<u8>, left: Duration) -> bool {
        if !matches!(&*self.state.borrow(), State::Up { .. }) {
            return false;
        }
        let letter = Letter {
            number,
            body,
            deadline: Instant::now() + left,
        };
        self.outbox.try_send(letter).is_ok()
    }
}

impl ChecksCarrier {
    /// Carries requests out and verdicts in while the flag wants it, until told to stop.
    pub async fn run(self, verdicts: Arc<dyn Verdicts>, stop: CancellationToken) {
        let Self {
            link,
            flag,
            letters,
        } = self;
        let consuming = Consuming {
            link: link.clone(),
            queue: names::VERDICT,
            way: Way::Health,
            flag: flag.clone(),
            present: watch::Sender::new(0),
        };
        let taking = Taking {
            verdicts: Arc::clone(&verdicts),
            dead_letters: link.dead_letters().clone(),
        };
        let sending = Sending {
            link,
            flag,
            letters,
            verdicts,
            open: None,
        };
        tokio::join!(
            sending.run(stop.clone()),
            consuming.run(taking, stop.clone())
        );
    }
}

#[derive(Debug)]
struct Sending {
    link: Link,
    flag: watch::Receiver<FlagState>,
    letters: mpsc::Receiver<Letter>,
    verdicts: Arc<dyn Verdicts>,
    open: Option<Open>,
}

/// A channel, and the use of the connection that it belongs to.
#[derive(Debug)]
struct Open {
    session: Session,
    channel: Channel,
}

impl Sending {
    async fn run(mut self, stop: CancellationToken) {
        let mut letters = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = ended(self.open.as_ref(), &mut self.flag) => {
                    // What was sent will not be answered, or nobody listens for it.
                    self.open = None;
                    self.verdicts.cut_off();
                }
                n = self.letters.recv_many(&mut letters, BATCH) => {
                    if n == 0 {
                        return;
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.send(&letters) => letters.clear(),
                    }
                }
            }
        }
    }

    async fn send(&mut self, letters: &[Letter]) {
        let after = self.link.config().answer_timeout;
        let sent = tokio::time::timeout(after, self.publish(letters)).await;
        let late = AmqpError::Late {
            what: "sending health checks",
            after,
        };
        if let Err(error) = sent.unwrap_or(Err(late)) {
            tracing::debug!(%error, "health checks could not be sent: {error}");
            self.open = None;
            for letter in letters {
                self.verdicts.unsent(letter.number);
            }
        }
    }

    /// All at once: nobody waits for a confirm, because nobody waits longer than the deadline.
    async fn publish(&mut self, letters: &[Letter]) -> Result<(), AmqpError> {
        let Open { session, channel } = self.open().await?;
        let now = Instant::now();
        let sent = try_join_all(letters.iter().map(|letter| publish(channel, letter, now)));
        tokio::select! {
            () = session.gone().cancelled() => Err(AmqpError::NotConnected),
            sent = sent => sent.map(drop).map_err(AmqpError::at("sending health checks")),
        }
    }

    async fn open(&mut self) -> Result<&Open, AmqpError> {
        let usable =
            |open: &Open| !open.session.gone().is_cancelled() && open.channel.status().connected();
        let open = match self.open.take().filter(usable) {
            Some(open) => open,
            None => {
                let session = self.link.session().ok_or(AmqpError::NotConnected)?;
                let channel = session.channel().await?;
                Open { session, channel }
            }
        };
        Ok(self.open.insert(open))
    }
}

/// Returns when an open channel is of no use any more: the connection is lost, or about to be closed, or
/// health checks do not go over it any more.
async fn ended(open: Option<&Open>, flag: &mut watch::Receiver<FlagState>) {
    let Some(Open { session, .. }) = open else {
        return std::future::pending().await;
    };
    let unwanted = flag.wait_for(|flagged| !flagged.modes.health.uses_broker());
    tokio::select! {
        () = session.gone().cancelled() => (),
        () = session.leaving().cancelled() => (),
        _ = unwanted => (),
    }
}

async fn publish(channel: &Channel, letter: &Letter, now: Instant) -> lapin::Result<()> {
    let left = letter.deadline.saturating_duration_since(now).as_millis();
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_correlation_id(letter.number.to_string().into())
        // The broker drops what is overdue.
        .with_expiration(left.max(1).to_string().into());
    let sent = channel.basic_publish(
        names::EXCHANGE.into(),
        names::CHECK_REQUEST.into(),
        BasicPublishOptions::default(),
        &letter.body,
        properties,
    );
    sent.await.map(drop)
}

/// Hands verdicts on.
#[derive(Debug)]
struct Taking {
    verdicts: Arc<dyn Verdicts>,
    dead_letters: DeadLetters,
}

impl Taker for Taking {
    async fn take(&self, channel: &Channel, deliveries: Vec<Delivery>) -> Result<(), AmqpError> {
        for delivery in &deliveries {
            match CheckVerdict::read(&delivery.data) {
                Ok(verdict) => self.verdicts.take(verdict, number_of(delivery)),
                Err(problem) => {
                    self.dead_letters
                        .bury(channel, delivery, &problem.detail)
                        .await?;
                }
            }
        }
        let Some(last) = deliveries.last() else {
            return Ok(());
        };
        let acked = last.acker.ack(BasicAckOptions { multiple: true });
        acked.await.map(drop).map_err(AmqpError::at("basic.ack"))
    }
}

/// The request that it answers, where its prober says so.
fn number_of(delivery: &Delivery) -> Option<u64> {
    let id = delivery.properties.correlation_id().as_ref()?;
    id.as_str().parse().ok()
}
