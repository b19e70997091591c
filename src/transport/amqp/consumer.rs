//! Keeps a consumer on a queue while its channel's mode uses the broker; cancels and drains it afterwards.

use std::{pin::Pin, time::Duration};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    AmqpError, Link, Usage,
    broker::{AmqpChannel, Consume, Delivery, Purpose},
    names,
};
use crate::model::{Channel, FlagState};

/// How long it may take to cancel a consumer and to take what it was still sent, and to close its channel.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// The handler of a queue's messages.
pub(super) trait Taker: Send {
    /// A new channel is open: what was taken over the last one and not settled is handed out again.
    fn begin(&mut self) {}

    /// Takes messages, in order, and settles each of them, now or in [`Self::answer`].
    fn take(
        &mut self,
        open: &mut ConsumerChannel,
        deliveries: Vec<Delivery>,
    ) -> impl Future<Output = Result<(), AmqpError>> + Send;

    /// Waits until something that was taken is to be answered. Cancel safe.
    fn ready(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Answers and settles what is ready.
    fn answer(
        &mut self,
        _open: &mut ConsumerChannel,
    ) -> impl Future<Output = Result<(), AmqpError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The most messages that may be taken and not settled; none for what the configuration says.
    fn prefetch(&self) -> Option<u16> {
        None
    }

    /// Returns when all that was taken is settled, or when that takes too long.
    fn drain(
        &mut self,
        _open: &mut ConsumerChannel,
    ) -> impl Future<Output = Result<(), AmqpError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// The channel of a consumer, and the use of the connection that it belongs to.
#[derive(Debug)]
pub(super) struct ConsumerChannel {
    pub(super) channel: Box<dyn AmqpChannel>,
    pub(super) usage: Usage,
}

/// One queue, and when it is consumed.
#[derive(Debug)]
pub(super) struct QueueConsumer {
    pub(super) link: Link,
    pub(super) queue: &'static str,
    pub(super) channel: Channel,
    pub(super) flag: watch::Receiver<FlagState>,
    /// How many consumers there are now, for those who wait until there is none.
    pub(super) present: watch::Sender<usize>,
}

/// Counts a consumer until it is dropped.
struct ConsumerCount<'a>(&'a watch::Sender<usize>);

impl<'a> ConsumerCount<'a> {
    fn new(present: &'a watch::Sender<usize>) -> Self {
        present.send_modify(|n| *n += 1);
        Self(present)
    }
}

impl Drop for ConsumerCount<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

impl QueueConsumer {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, mut taker: impl Taker, stop: CancellationToken) {
        while self.until_wanted(&stop).await {
            let usage = tokio::select! {
                () = stop.cancelled() => return,
                () = until_unwanted(&mut self.flag, self.channel) => continue,
                usage = self.link.until_up() => usage,
            };
            let gone = usage.gone().clone();
            let Err(error) = self.consume(usage, &mut taker, &stop).await else {
                continue;
            };
            let queue = self.queue;
            if self.link.broken_queues().is_broken(queue) {
                // That was logged.
                tracing::debug!(queue.name = queue, %error, "queue \"{queue}\" is not consumed: {error}");
            } else {
                tracing::warn!(
                    queue.name = queue,
                    %error,
                    "queue \"{queue}\" is not consumed: {error}; retrying"
                );
            }
            tokio::select! {
                () = stop.cancelled() => return,
                // The queue was not the reason: the next connection is used at once.
                () = gone.cancelled() => (),
                () = sleep(self.link.config().backoff_max.get()) => (),
            }
        }
    }

    /// False after `stop`.
    async fn until_wanted(&mut self, stop: &CancellationToken) -> bool {
        let channel = self.channel;
        let wanted = self
            .flag
            .wait_for(|flagged| flagged.modes.of(channel).uses_broker());
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            wanted = wanted => wanted.is_ok(),
        }
    }

    async fn consume(
        &self,
        usage: Usage,
        taker: &mut impl Taker,
        stop: &CancellationToken,
    ) -> Result<(), AmqpError> {
        // Counted before the mode is checked again, so that a change of the mode at the same time is seen by
        // one side.
        let _count = ConsumerCount::new(&self.present);
        let (mut flag, channel) = (self.flag.clone(), self.channel);
        let gone = usage.gone().clone();
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = gone.cancelled() => return Ok(()),
            () = until_unwanted(&mut flag, channel) => return Ok(()),
            opened = self.open(usage, taker.prefetch()) => opened,
        };
        let mut open = opened?;
        taker.begin();
        let usage = open.usage.clone();
        let enough = async {
            tokio::select! {
                () = usage.leaving().cancelled() => (),
                () = stop.cancelled() => (),
                () = until_unwanted(&mut flag, channel) => (),
            }
        };
        let taken = async {
            tokio::pin!(enough);
            take_all(&mut open, taker, enough).await?;
            soon(cancel(&mut open, taker)).await?;
            taker.drain(&mut open).await?;
            soon(open.channel.close()).await
        };
        tokio::select! {
            () = gone.cancelled() => Ok(()),
            () = usage.overdue(stop, self.link.drain() + LEAVE_MAX) => Ok(()),
            ended = taken => ended,
        }
    }

    async fn open(
        &self,
        usage: Usage,
        prefetch: Option<u16>,
    ) -> Result<ConsumerChannel, AmqpError> {
        let mut channel = usage.open(Purpose::Consume).await?;
        // Objects that were deleted meanwhile are declared again.
        names::declare_exchange(&mut *channel).await?;
        let declared = names::declare_queue(&mut *channel, self.queue).await;
        self.link
            .broken_queues()
            .note_declared(self.queue, &declared);
        declared?;
        let consume = Consume {
            queue: self.queue.to_owned(),
            prefetch: prefetch.unwrap_or_else(|| self.link.config().prefetch.get()),
            no_ack: false,
        };
        channel.consume(consume).await?;
        Ok(ConsumerChannel { channel, usage })
    }
}

/// Waits for `left`, but not longer than a consumer may take to end.
async fn soon(left: impl Future<Output = Result<(), AmqpError>>) -> Result<(), AmqpError> {
    AmqpError::within("cancelling a consumer", LEAVE_MAX, left).await
}

/// Cancels the consumer and takes what it was still sent.
async fn cancel(open: &mut ConsumerChannel, taker: &mut impl Taker) -> Result<(), AmqpError> {
    open.channel.cancel().await?;
    let never = std::future::pending();
    tokio::pin!(never);
    take_all(open, taker, never).await
}

/// Returns when the channel's mode does not use the broker any more.
async fn until_unwanted(flag: &mut watch::Receiver<FlagState>, channel: Channel) {
    let unwanted = flag.wait_for(|flagged| !flagged.modes.of(channel).uses_broker());
    if unwanted.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Takes messages until the consumer ends, or until `enough`, which is checked between two batches.
async fn take_all(
    open: &mut ConsumerChannel,
    taker: &mut impl Taker,
    mut enough: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), AmqpError> {
    loop {
        tokio::select! {
            biased;
            () = &mut enough => return Ok(()),
            () = taker.ready() => taker.answer(open).await?,
            next = open.channel.next() => match next? {
                Some(deliveries) => taker.take(open, deliveries).await?,
                None => return Ok(()),
            },
        }
    }
}
