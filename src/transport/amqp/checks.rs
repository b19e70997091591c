//! Health checks for remote probers: requests out, verdicts in.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    AmqpError, Link, LinkState, Usage,
    broker::{AmqpChannel, Delivery, Outgoing, Purpose, Unconfirmed, UpTo, short},
    consumer::{ConsumerChannel, QueueConsumer, Taker},
    dead::{DeadLetters, Unreadable},
    names,
};
use crate::{
    api::CheckVerdict,
    model::{Channel, FlagState, Mode},
};

/// Requests sent at once.
const BATCH: usize = 256;

/// Receives the verdicts of remote probers.
pub trait Verdicts: fmt::Debug + Send + Sync {
    /// Takes a verdict and the number of the request that it answers, if it names one. A verdict that
    /// is not awaited is ignored.
    fn take(&self, verdict: CheckVerdict, request: Option<u64>);

    /// A request could not be sent.
    fn unsent(&self, request: u64);

    /// No pending request will be answered.
    fn cut_off(&self);
}

/// A cheap handle to the way out of requests.
#[derive(Clone, Debug)]
pub struct Checks {
    state: watch::Receiver<LinkState>,
    flag: watch::Receiver<FlagState>,
    requests: mpsc::Sender<PendingRequest>,
}

/// A request, ready to be sent.
#[derive(Debug)]
struct PendingRequest {
    number: u64,
    body: Vec<u8>,
    deadline: Instant,
}

/// The transport of requests and verdicts.
#[derive(Debug)]
pub struct ChecksCarrier {
    link: Link,
    flag: watch::Receiver<FlagState>,
    requests: mpsc::Receiver<PendingRequest>,
}

impl Checks {
    /// Sends over `link`; at most `max` requests wait to be sent. The second value does the sending.
    pub fn new(link: Link, flag: watch::Receiver<FlagState>, max: usize) -> (Self, ChecksCarrier) {
        let (sender, requests) = mpsc::channel(max.max(1));
        let checks = Self {
            state: link.follow(),
            flag: flag.clone(),
            requests: sender,
        };
        let carrier = ChecksCarrier {
            link,
            flag,
            requests,
        };
        (checks, carrier)
    }

    /// Which way checks go now.
    pub fn mode(&self) -> Mode {
        self.flag.borrow().modes.health
    }

    /// Sends a request on its way; false while there is no connection, or when too many wait.
    pub fn send(&self, number: u64, body: Vec<u8>, left: Duration) -> bool {
        if !matches!(&*self.state.borrow(), LinkState::Up { .. }) {
            return false;
        }
        let request = PendingRequest {
            number,
            body,
            deadline: Instant::now() + left,
        };
        self.requests.try_send(request).is_ok()
    }
}

impl ChecksCarrier {
    /// Sends requests and receives verdicts while the mode uses the broker, until `stop`.
    pub async fn run(self, verdicts: Arc<dyn Verdicts>, stop: CancellationToken) {
        let Self {
            link,
            flag,
            requests,
        } = self;
        let consuming = QueueConsumer {
            link: link.clone(),
            queue: names::VERDICT,
            channel: Channel::Health,
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
            requests,
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
    requests: mpsc::Receiver<PendingRequest>,
    verdicts: Arc<dyn Verdicts>,
    open: Option<Open>,
}

/// A channel, and the use of the connection that it belongs to.
#[derive(Debug)]
struct Open {
    usage: Usage,
    channel: Box<dyn AmqpChannel>,
}

impl Sending {
    async fn run(mut self, stop: CancellationToken) {
        let mut requests = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = ended(self.open.as_ref().map(|open| &open.usage), &mut self.flag) => {
                    // The sent requests will not be answered, or nothing consumes the answers.
                    self.open = None;
                    self.verdicts.cut_off();
                }
                n = self.requests.recv_many(&mut requests, BATCH) => {
                    if n == 0 {
                        return;
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.send(&requests) => requests.clear(),
                    }
                }
            }
        }
    }

    async fn send(&mut self, requests: &[PendingRequest]) {
        let after = self.link.config().answer_timeout;
        let sent =
            AmqpError::within("sending health checks", after.get(), self.publish(requests)).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "health checks could not be sent: {error}");
            self.open = None;
            for request in requests {
                self.verdicts.unsent(request.number);
            }
        }
    }

    /// All at once, without confirms: after the deadline a request is of no use.
    async fn publish(&mut self, requests: &[PendingRequest]) -> Result<(), AmqpError> {
        let Open { usage, channel } = self.open().await?;
        let now = Instant::now();
        for request in requests {
            channel.publish(request.outgoing(now));
        }
        tokio::select! {
            () = usage.gone().cancelled() => Err(AmqpError::NotConnected),
            sent = flush(&mut **channel) => sent,
        }
    }

    async fn open(&mut self) -> Result<&mut Open, AmqpError> {
        let usable = |open: &Open| !open.usage.gone().is_cancelled() && open.channel.is_open();
        let open = match self.open.take().filter(usable) {
            Some(open) => open,
            None => {
                let usage = self.link.usage().ok_or(AmqpError::NotConnected)?;
                let channel = usage.open(Purpose::Send).await?;
                Open { usage, channel }
            }
        };
        Ok(self.open.insert(open))
    }
}

/// Hands all that was taken to the broker, over a channel without confirms.
pub(super) async fn flush(channel: &mut dyn AmqpChannel) -> Result<(), AmqpError> {
    loop {
        match channel.confirmed().await {
            Ok(0) | Err(Unconfirmed::Refused) => return Ok(()),
            Ok(_) => (),
            Err(Unconfirmed::Ended(error)) => return Err(error),
        }
    }
}

/// Returns when an open channel is no longer useful: its connection is lost or about to be closed, or health
/// checks no longer use the broker.
async fn ended(usage: Option<&Usage>, flag: &mut watch::Receiver<FlagState>) {
    let Some(usage) = usage else {
        return std::future::pending().await;
    };
    let unwanted = flag.wait_for(|flagged| !flagged.modes.health.uses_broker());
    tokio::select! {
        () = usage.gone().cancelled() => (),
        () = usage.leaving().cancelled() => (),
        _ = unwanted => (),
    }
}

impl PendingRequest {
    fn outgoing(&self, now: Instant) -> Outgoing {
        let left = self.deadline.saturating_duration_since(now).as_millis();
        let body = self.body.clone().into();
        let mut outgoing = Outgoing::json(names::EXCHANGE, short(names::CHECK_REQUEST), body);
        outgoing.properties.correlation_id = Some(short(&self.number.to_string()));
        // A probe is not worth a write to the disk: one that is lost is made again.
        outgoing.properties.delivery_mode = Some(names::TRANSIENT);
        // The broker drops what is overdue.
        outgoing.properties.expiration = Some(short(&left.max(1).to_string()));
        outgoing
    }
}

/// Hands verdicts to the room that schedules checks.
#[derive(Debug)]
struct Taking {
    verdicts: Arc<dyn Verdicts>,
    dead_letters: DeadLetters,
}

impl Taker for Taking {
    async fn take(
        &mut self,
        open: &mut ConsumerChannel,
        deliveries: Vec<Delivery>,
    ) -> Result<(), AmqpError> {
        let mut unreadable = Vec::new();
        for delivery in &deliveries {
            match CheckVerdict::read(&delivery.body) {
                Ok(verdict) => self.verdicts.take(verdict, number_of(delivery)),
                Err(problem) => unreadable.push(Unreadable {
                    delivery,
                    reason: problem.detail,
                }),
            }
        }
        let connection = open.usage.connection();
        self.dead_letters
            .dead_letter(connection, &unreadable)
            .await?;
        match deliveries.last() {
            Some(last) => open.channel.ack(last.tag, UpTo::All).await,
            None => Ok(()),
        }
    }
}

/// The request that it answers, where its prober says so.
fn number_of(delivery: &Delivery) -> Option<u64> {
    let id = delivery.properties.correlation_id()?;
    std::str::from_utf8(id).ok()?.parse().ok()
}
