use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Channel, ComparisonCounts, EventConsumer, InFlight, Link, Topics};
use crate::{
    model::{FlagState, Mode, Modes},
    registry::{self, Registry},
    transport::{
        Config, HighWatermark,
        amqp::{
            AmqpError,
            broker::{
                AmqpChannel, AmqpConnection, BrokerClient, Consume, Delivery, Heard, Outgoing,
                Purpose, QueueSpec, Unconfirmed, UpTo, short,
            },
        },
    },
};

/// A broker that confirms all that was published since it was last asked, and notes how much that was. Where
/// `refuses` says so, it refuses the first message of a round.
#[derive(Clone, Debug, Default)]
pub(in crate::transport::amqp) struct Scripted {
    rounds: Arc<Mutex<Vec<usize>>>,
    refuses: Arc<Mutex<Vec<bool>>>,
    acked: Arc<Mutex<Vec<u64>>>,
    unconfirmed: usize,
    /// Whether its connections never close.
    keeps_open: bool,
}

impl Scripted {
    /// The deliveries that were acknowledged.
    pub(in crate::transport::amqp) fn acked(&self) -> Vec<u64> {
        self.acked.lock().clone()
    }

    pub(in crate::transport::amqp) fn never_closing() -> Self {
        Self {
            keeps_open: true,
            ..Self::default()
        }
    }
}

fn done<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(ready(value))
}

impl BrokerClient for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn url(&self) -> String {
        "scripted".to_owned()
    }

    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn AmqpConnection>, AmqpError>> {
        done(Ok(Arc::new(self.clone()) as Arc<dyn AmqpConnection>))
    }
}

impl AmqpConnection for Scripted {
    fn open(&self, _: Purpose) -> BoxFuture<'_, Result<Box<dyn AmqpChannel>, AmqpError>> {
        done(Ok(Box::new(self.clone()) as Box<dyn AmqpChannel>))
    }

    fn is_blocked(&self) -> bool {
        false
    }

    fn headers_max(&self) -> usize {
        usize::MAX
    }

    fn until_lost<'a>(&'a self, _: Heard<'a>) -> BoxFuture<'a, AmqpError> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), AmqpError>> {
        match self.keeps_open {
            true => Box::pin(std::future::pending()),
            false => done(Ok(())),
        }
    }
}

impl AmqpChannel for Scripted {
    fn is_open(&self) -> bool {
        true
    }

    fn declare_exchange(&mut self, _: &'static str) -> BoxFuture<'_, Result<(), AmqpError>> {
        done(Ok(()))
    }

    fn declare_queue(&mut self, queue: QueueSpec) -> BoxFuture<'_, Result<String, AmqpError>> {
        done(Ok(queue.name.to_owned()))
    }

    fn bind<'a>(
        &'a mut self,
        _: &'a str,
        _: &'static str,
        _: &'static str,
    ) -> BoxFuture<'a, Result<(), AmqpError>> {
        done(Ok(()))
    }

    fn publish(&mut self, _: Outgoing) {
        self.unconfirmed += 1;
    }

    fn confirmed(&mut self) -> BoxFuture<'_, Result<usize, Unconfirmed>> {
        let count = std::mem::take(&mut self.unconfirmed);
        self.rounds.lock().push(count);
        let mut refuses = self.refuses.lock();
        let refused = !refuses.is_empty() && refuses.remove(0);
        done(match refused {
            true => Err(Unconfirmed::Refused),
            false => Ok(count),
        })
    }

    fn answer(&mut self, _: Vec<Outgoing>) -> BoxFuture<'_, Result<(), AmqpError>> {
        done(Ok(()))
    }

    fn consume(&mut self, _: Consume) -> BoxFuture<'_, Result<(), AmqpError>> {
        done(Ok(()))
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Delivery>>, AmqpError>> {
        Box::pin(std::future::pending())
    }

    fn ack(&mut self, tag: u64, _: UpTo) -> BoxFuture<'_, Result<(), AmqpError>> {
        self.acked.lock().push(tag);
        done(Ok(()))
    }

    fn cancel(&mut self) -> BoxFuture<'_, Result<(), AmqpError>> {
        done(Ok(()))
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), AmqpError>> {
        done(Ok(()))
    }
}

/// How many messages each round trip carried, and how many were reported as confirmed.
async fn rounds(
    count: usize,
    window: usize,
    failing: bool,
    refuses: &[bool],
) -> (Vec<usize>, usize) {
    let mut config = Config::default();
    config.amqp.window = window.into();
    let broker = Scripted::default();
    let registry = Registry::new(registry::Config::default());
    let link = Link::new(Arc::new(broker.clone()), &config, registry.clock().clone());
    let modes = Modes::all(Mode::Queue);
    let (_flag, flag) = watch::channel(FlagState { modes, version: 0 });
    let run = link.clone().run(flag, CancellationToken::new());
    let mut topics = Topics::new(
        Channel::Events,
        &link,
        &registry,
        EventConsumer::new(),
        ComparisonCounts::default(),
        InFlight::default(),
        HighWatermark::default(),
    );
    let message = || Outgoing::json("musterd", short("key"), Bytes::new());
    let mut arrived = Vec::new();
    let unconfirmed = topics.unconfirmed();
    let mut note = |at| {
        arrived.push(at);
        assert!(unconfirmed.since().is_some(), "the rest is waited for");
    };
    let sending = async {
        link.until_up().await;
        broker.rounds.lock().clear();
        refuses.clone_into(&mut broker.refuses.lock());
        let messages = std::iter::repeat_with(message).take(count);
        let _ = topics.send(messages, failing, &mut note).await;
    };
    tokio::select! {
        () = run => unreachable!("nobody stops it"),
        () = sending => (),
    }
    assert_eq!(
        arrived,
        (0..arrived.len()).collect::<Vec<_>>(),
        "in order, each once"
    );
    let rounds = broker.rounds.lock().clone();
    (rounds, arrived.len())
}

#[tokio::test(start_paused = true)]
async fn after_one_confirm_a_broker_that_failed_gets_the_whole_window_again() {
    for (count, window, failing, refuses, expected, confirmed) in [
        (0, 4, false, &[][..], vec![], 0),
        (3, 4, false, &[], vec![3], 3),
        (9, 4, false, &[], vec![4, 4, 1], 9),
        (9, 4, true, &[], vec![1, 4, 4], 9),
        (1, 256, true, &[], vec![1], 1),
        (1_000, 256, true, &[], vec![1, 256, 256, 256, 231], 1_000),
        // What is refused again costs one message more, not a window.
        (9, 4, true, &[true], vec![1], 0),
        (9, 4, true, &[false, true], vec![1, 4], 1),
    ] {
        let found = rounds(count, window, failing, refuses).await;
        assert_eq!(
            found,
            (expected, confirmed),
            "{count} {window} {failing} {refuses:?}"
        );
    }
}
