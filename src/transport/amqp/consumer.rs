//! Keeps a consumer on a queue while its channel goes by way of the broker; cancels and drains it when
//! it does no more.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::Fuse};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{AmqpError, Link, Session, names, session::Inlet};
use crate::model::{Channel as Way, FlagState};

/// How long it may take to cancel a consumer and to take what it still brings, and to close its channel.
const LEAVE_MAX: Duration = Duration::from_secs(3);
/// Messages taken at once.
const BATCH: usize = 64;

/// The messages of a consumer. Fused: whoever looks for one more without waiting may meet the end, and asks again;
/// the library's own stream would then wait for ever.
pub(super) type Deliveries = Fuse<Consumer>;

/// What is done with the messages of a queue.
pub(super) trait Taker: Send + Sync {
    /// Takes messages, in order, and settles each of them. They came over `channel`.
    fn take(
        &self,
        channel: &Channel,
        deliveries: Vec<Delivery>,
    ) -> impl Future<Output = Result<(), AmqpError>> + Send;

    /// The channel that messages were taken over has ended in an error.
    fn cut_off(&self) {}

    /// How many may be under way; none for what the section says.
    fn prefetch(&self) -> Option<u16> {
        None
    }

    /// Returns when all that was taken is settled; sees itself that this is not too late.
    fn drained(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// One queue, and when it is to be consumed.
#[derive(Debug)]
pub(super) struct Consuming {
    pub(super) link: Link,
    pub(super) queue: &'static str,
    pub(super) way: Way,
    pub(super) flag: watch::Receiver<FlagState>,
    /// How many consumers there are now, for whoever waits until there is none.
    pub(super) present: watch::Sender<usize>,
}

/// Counts a consumer for as long as it lives.
struct Present<'a>(&'a watch::Sender<usize>);

impl<'a> Present<'a> {
    fn new(present: &'a watch::Sender<usize>) -> Self {
        present.send_modify(|n| *n += 1);
        Self(present)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

impl Consuming {
    /// Runs until told to stop.
    pub(super) async fn run(mut self, taker: impl Taker, stop: CancellationToken) {
        while self.until_wanted(&stop).await {
            let session = tokio::select! {
                () = stop.cancelled() => return,
                () = until_unwanted(&mut self.flag, self.way) => continue,
                session = self.link.until_up() => session,
            };
            let ended = self.consume(&session, &taker, &stop).await;
            let gone = session.gone().clone();
            drop(session);
            if let Err(error) = ended {
                tracing::warn!(
                    queue.name = self.queue,
                    %error,
                    "queue \"{}\" is not consumed for a moment: {error}",
                    self.queue
                );
                let pause = sleep(self.link.config().backoff_max);
                tokio::select! {
                    () = stop.cancelled() => return,
                    // It was not the queue's fault: the next connection is used at once.
                    () = gone.cancelled() => (),
                    () = pause => (),
                }
            }
        }
    }

    /// False when told to stop.
    async fn until_wanted(&mut self, stop: &CancellationToken) -> bool {
        loop {
            if stop.is_cancelled() {
                return false;
            }
            if self
                .flag
                .borrow_and_update()
                .modes
                .of(self.way)
                .uses_broker()
            {
                return true;
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                changed = self.flag.changed() => if changed.is_err() { return false },
            }
        }
    }

    async fn consume(
        &self,
        session: &Session,
        taker: &impl Taker,
        stop: &CancellationToken,
    ) -> Result<(), AmqpError> {
        // Counted before it looks at the flag again and opens: whoever turns the flag sees one or is seen.
        let _present = Present::new(&self.present);
        let (mut flag, way) = (self.flag.clone(), self.way);
        let within = self.link.config().answer_timeout;
        let opened = tokio::time::timeout(within, self.open(session, taker.prefetch()));
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = session.gone().cancelled() => return Ok(()),
            () = until_unwanted(&mut flag, way) => return Ok(()),
            opened = opened => opened,
        };
        let late = AmqpError::Late {
            what: "basic.consume",
            after: within,
        };
        let (channel, mut consumer) = opened.unwrap_or(Err(late))?;
        let enough = async {
            tokio::select! {
                () = session.leaving().cancelled() => (),
                () = stop.cancelled() => (),
                () = until_unwanted(&mut flag, way) => (),
            }
        };
        let taken = async {
            tokio::pin!(enough);
            take_all(&channel, &mut consumer, taker, enough).await?;
            soon(cancel(&channel, &mut consumer, taker)).await?;
            taker.drained().await;
            soon(close(&channel)).await
        };
        tokio::select! {
            () = session.gone().cancelled() => Ok(()),
            () = session.overdue(stop, self.link.drain() + LEAVE_MAX) => {
                taker.cut_off();
                Ok(())
            }
            ended = taken => {
                if ended.is_err() {
                    taker.cut_off();
                }
                ended
            }
        }
    }

    async fn open(
        &self,
        session: &Session,
        prefetch: Option<u16>,
    ) -> Result<(Inlet, Deliveries), AmqpError> {
        let channel = session.consuming_channel().await?;
        // Whoever deleted the queue meanwhile gets it back.
        names::declare(&channel, self.link.config().answer_timeout).await?;
        let prefetch = prefetch.unwrap_or_else(|| self.link.config().prefetch);
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        qos.await.map_err(AmqpError::at("basic.qos"))?;
        let consumer = channel.basic_consume(
            self.queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = consumer.await.map_err(AmqpError::at("basic.consume"))?;
        Ok((channel, consumer.fuse()))
    }
}

/// Waits for `left`, but not longer than a consumer may take to leave.
async fn soon(left: impl Future<Output = Result<(), AmqpError>>) -> Result<(), AmqpError> {
    let late = AmqpError::Late {
        what: "cancelling a consumer",
        after: LEAVE_MAX,
    };
    tokio::time::timeout(LEAVE_MAX, left)
        .await
        .unwrap_or(Err(late))
}

/// Cancels the consumer and takes what it still brings.
async fn cancel(
    channel: &Channel,
    consumer: &mut Deliveries,
    taker: &impl Taker,
) -> Result<(), AmqpError> {
    let cancel = channel.basic_cancel(consumer.get_ref().tag(), BasicCancelOptions::default());
    cancel.await.map_err(AmqpError::at("basic.cancel"))?;
    let never = std::future::pending();
    tokio::pin!(never);
    take_all(channel, consumer, taker, never).await
}

async fn close(channel: &Channel) -> Result<(), AmqpError> {
    let closed = channel.close(200, "OK".into());
    closed.await.map_err(AmqpError::at("channel.close"))
}

/// Returns when the way does not go over the broker any more.
async fn until_unwanted(flag: &mut watch::Receiver<FlagState>, way: Way) {
    let unwanted = flag.wait_for(|flagged| !flagged.modes.of(way).uses_broker());
    if unwanted.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Takes messages until the consumer ends, or until `enough`, which is looked at between two batches.
async fn take_all(
    channel: &Channel,
    consumer: &mut Deliveries,
    taker: &impl Taker,
    mut enough: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), AmqpError> {
    loop {
        let first = tokio::select! {
            biased;
            () = &mut enough => return Ok(()),
            first = consumer.next() => first,
        };
        let Some(first) = first else {
            return Ok(());
        };
        let mut batch = vec![first.map_err(AmqpError::at("consuming"))?];
        while batch.len() < BATCH
            && let Some(Some(next)) = consumer.next().now_or_never()
        {
            batch.push(next.map_err(AmqpError::at("consuming"))?);
        }
        taker.take(channel, batch).await?;
    }
}
