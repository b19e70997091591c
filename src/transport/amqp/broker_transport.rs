//! Everything that goes over the broker, joined: the connection, events out, commands in.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    AmqpCaller, AmqpError, ComparisonCounts, EventConsumer, InFlight, Link, LoopbackDemand, Usage,
    broker::{AnswerScope, BrokerClient, Outgoing, Purpose, Unconfirmed, short},
    caller::OwnRequests,
    commands::{Answering, CommandContext},
    consumer::QueueConsumer,
    cursors::ChannelCursors,
    event_consumer::EventConsumerSetup,
    names, notices,
    publish_gate::{GatedFeed, PublishGate},
    topics::Topics,
};
use crate::{
    api::{TransportBroker, TransportChannel},
    model::{Channel, Cursor, EventKind, FlagError, FlagState, Mode, Modes},
    registry::{Notices, Registry},
    transport::{
        Config, Direct, DirectMetrics, Filter, Flag, HighWatermark, LogFeed, Policy, Relay,
        StoredTransport, TransportRows,
    },
};

/// How long the answer to a change of the modes waits for consumers to end.
const CONSUMERS_MAX: Duration = Duration::from_secs(1);
/// How long a change of the modes may wait for the broker.
const CHANGE_MAX: Duration = Duration::from_millis(4_500);
/// How many windows of events are taken from the log at once: only at the end of them is nothing on its way.
const WINDOWS: usize = 16;

/// A cheap handle to the transport over a broker.
#[derive(Clone, Debug)]
pub struct BrokerTransport {
    inner: Arc<BrokerTransportInner>,
}

#[derive(Debug)]
struct BrokerTransportInner {
    config: Config,
    registry: Registry,
    flag: Flag,
    link: Link,
    consumer: EventConsumer,
    in_flight: InFlight,
    cursors: ChannelCursors,
    counts: CountsOf,
    metrics: DirectMetrics,
    /// How many consumers of commands there are.
    consumers: watch::Sender<usize>,
    own: OwnRequests,
}

/// The counters of each channel.
#[derive(Clone, Debug, Default)]
pub struct CountsOf {
    /// Of events.
    pub events: ComparisonCounts,
    /// Of health checks.
    pub health: ComparisonCounts,
    /// Of commands.
    pub discovery: ComparisonCounts,
}

impl CountsOf {
    fn of(&self, channel: Channel) -> &ComparisonCounts {
        match channel {
            Channel::Events => &self.events,
            Channel::Health => &self.health,
            Channel::Discovery => &self.discovery,
        }
    }
}

type EventRelay = Relay<GatedFeed, Topics>;

impl BrokerTransport {
    /// The transport over the broker of `client`. Its cursors continue where they were in an earlier run, or begin
    /// with the next change; `rows` keeps them.
    pub fn new(
        client: Arc<dyn BrokerClient>,
        config: Config,
        registry: Registry,
        flag: Flag,
        metrics: DirectMetrics,
        stored: &StoredTransport,
        rows: Arc<dyn TransportRows>,
    ) -> Self {
        let link = Link::new(client, &config, registry.clock().clone());
        let cursors = ChannelCursors::new(stored.channels, rows, &registry, policy(&config));
        Self {
            inner: Arc::new(BrokerTransportInner {
                cursors,
                config,
                registry,
                flag,
                link,
                consumer: EventConsumer::new(),
                in_flight: InFlight::default(),
                counts: CountsOf::default(),
                metrics,
                consumers: watch::Sender::new(0),
                own: OwnRequests::default(),
            }),
        }
    }

    /// Stores where the cursors begin. To be called before the first change: a later start must not begin behind it.
    pub async fn store_cursors(&self) {
        self.inner.cursors.store().await;
    }

    /// Declares what is consumed before clients can connect.
    pub async fn declare_first(&self) {
        self.inner.link.declare_first().await;
    }

    /// Asks over it as a client would.
    pub fn caller(&self) -> AmqpCaller {
        AmqpCaller::new(self.inner.link.clone(), self.inner.own.clone())
    }

    /// The connection.
    pub fn link(&self) -> &Link {
        &self.inner.link
    }

    /// Every change of the modes.
    pub fn flag(&self) -> watch::Receiver<FlagState> {
        self.inner.flag.follow()
    }

    /// The counters of each channel.
    pub fn counts(&self) -> &CountsOf {
        &self.inner.counts
    }

    /// The state of the broker. Its error names a queue that is needed and cannot be used, if nothing else is wrong.
    pub fn broker(&self) -> TransportBroker {
        let mut report = self.inner.link.report();
        report.error = report.error.or_else(|| self.broken_queue());
        report
    }

    /// Why a queue that a channel needs cannot be used; none when all can.
    pub fn broken_queue(&self) -> Option<String> {
        let modes = self.inner.flag.state().modes;
        self.inner.link.broken_queues().in_use(modes)
    }

    /// The state of each channel.
    pub fn channels(&self) -> Vec<TransportChannel> {
        let inner = &self.inner;
        let modes = inner.flag.state().modes;
        let report = |channel: Channel| {
            let cursor = match channel {
                Channel::Events => Some(inner.cursors.events.get()),
                Channel::Health => Some(inner.cursors.health.get()),
                Channel::Discovery => None,
            };
            let lag = |cursor: Cursor| {
                let newest = inner.registry.newest().0;
                newest.saturating_sub(cursor.revision.0)
            };
            let counts = inner.counts.of(channel);
            let (sent, failed) = counts.totals();
            TransportChannel {
                channel,
                mode: modes.of(channel),
                cursor,
                lag: cursor.map(lag),
                sent,
                failed,
                comparison: counts.comparison(),
            }
        };
        Channel::ALL.into_iter().map(report).collect()
    }

    /// Changes the modes, once what the new ones need is declared at the broker.
    ///
    /// # Errors
    /// Says why nothing was changed.
    pub async fn set(&self, modes: Modes, only_if: Option<u64>) -> Result<u64, FlagError> {
        let inner = &self.inner;
        if inner.config.direct == Direct::Off && modes != Modes::all(Mode::Queue) {
            return Err(FlagError::NoDirect);
        }
        let now = inner.flag.state().modes;
        let moves = |channel: Channel| {
            modes.of(channel).uses_broker() && modes.of(channel) != now.of(channel)
        };
        // A channel that stops using the broker, or keeps using it, needs nothing more declared.
        let _wanted = if Channel::ALL.into_iter().any(moves) {
            let wanted = inner.link.want();
            match timeout(CHANGE_MAX, self.ready(modes)).await {
                Ok(()) => (),
                Err(_) => return Err(FlagError::Unreachable(self.trouble(modes))),
            }
            Some(wanted)
        } else {
            None
        };
        let version = inner.flag.change(modes, only_if).await?;
        if !modes.discovery.uses_broker() && inner.link.silent().is_none() {
            // No command that is sent after the answer is taken.
            let _late = timeout(CONSUMERS_MAX, self.until_no_consumers()).await;
        }
        Ok(version)
    }

    async fn until_no_consumers(&self) {
        let mut consumers = self.inner.consumers.subscribe();
        // The sender is in `self`.
        let _ = consumers.wait_for(|n| *n == 0).await;
    }

    /// Returns when the broker takes messages, with all that `modes` need declared there, and the daemon's own
    /// events are consumed if `modes` need that.
    async fn ready(&self, modes: Modes) {
        let inner = &self.inner;
        let needed = modes.events == Mode::Dual || LoopbackDemand::new(&inner.flag).is_needed();
        // A reader is a reason to consume them, also before the modes are.
        let _looking = needed.then(|| inner.flag.watermark().reader());
        loop {
            let usage = inner.link.until_up().await;
            let mut bound = inner.consumer.follow();
            let number = usage.number();
            let heard = async {
                if !needed {
                    return;
                }
                // The sender is in the consumer, which `self` holds.
                let _ = bound.wait_for(|bound| bound.connection == number).await;
            };
            tokio::select! {
                () = usage.gone().cancelled() => continue,
                () = heard => (),
            }
            // It was up a moment ago; test it now.
            match self.try_out(&usage, modes).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "the broker cannot be used: {error}");
                    tokio::time::sleep(inner.config.amqp.ping.get()).await;
                }
            }
        }
    }

    /// Declares what `modes` need, and sends a message that no queue gets: a broker that blocks publishers does
    /// not confirm it.
    async fn try_out(&self, usage: &Usage, modes: Modes) -> Result<(), AmqpError> {
        let link = &self.inner.link;
        let used = Channel::ALL
            .into_iter()
            .filter(|channel| modes.of(*channel).uses_broker());
        for queue in used.flat_map(|channel| names::queues_of(channel).iter()) {
            let mut channel = usage.open(Purpose::Send).await?;
            let declared = names::declare_queue(&mut *channel, queue).await;
            link.broken_queues().note_declared(queue, &declared);
            declared?;
        }
        let mut channel = usage.open(Purpose::SendConfirmed).await?;
        let key = short(names::TRIAL_KEY);
        let mut trial = Outgoing::json(names::EXCHANGE, key.clone(), "{}".into());
        trial.properties.kind = Some(key);
        channel.publish(trial);
        match channel.confirmed().await {
            Ok(_) | Err(Unconfirmed::Refused) => channel.close().await,
            Err(Unconfirmed::Ended(error)) => Err(error),
        }
    }

    fn trouble(&self, modes: Modes) -> String {
        let inner = &self.inner;
        let of_link = inner.link.report().error;
        of_link
            .or_else(|| inner.link.broken_queues().in_use(modes))
            .or_else(|| inner.consumer.trouble())
            .unwrap_or_else(|| format!("no answer within {CHANGE_MAX:?}"))
    }

    /// Why events are not published although there is a connection; none when they are.
    pub fn stuck(&self) -> Option<String> {
        let modes = self.inner.flag.state().modes;
        if !modes.use_broker() {
            // Failures before the modes were changed do not matter any more.
            return None;
        }
        let refused = {
            let events = self.inner.cursors.events.subscriber.lock();
            let failing = modes.events.uses_broker() && events.failures() > 1;
            let error = events.record.last_error.as_deref().unwrap_or_default();
            failing.then(|| format!("events are refused: {error}"))
        };
        refused.or_else(|| self.inner.consumer.trouble())
    }

    /// Waits until channels in mode direct do not use the broker any more; false when that takes longer than `max`.
    pub async fn settled(&self, max: Duration) -> bool {
        let inner = &self.inner;
        let settled = async {
            let modes = inner.flag.state().modes;
            if !modes.discovery.uses_broker() {
                self.until_no_consumers().await;
            }
            if !modes.use_broker() {
                inner.link.until_off().await;
            }
        };
        timeout(max, settled).await.is_ok()
    }

    /// Publishes notices under their own routing keys, until `stop`.
    pub async fn publish_notices(self, notices: Arc<Notices>, stop: CancellationToken) {
        notices::run(self.inner.link.clone(), notices, stop).await;
    }

    /// Runs until `stop`; then sends the rest, for at most `transport.drain`, and closes the connection.
    pub async fn run(self, context: CommandContext, stop: CancellationToken) {
        let inner = &*self.inner;
        let last = CancellationToken::new();
        let users = async {
            let mut events = inner.relay(Channel::Events);
            let mut health = inner.relay(Channel::Health);
            // Changes by the last commands are published too.
            let answered = CancellationToken::new();
            let commands = async {
                inner.answer_all(&context, &stop).await;
                answered.cancel();
            };
            let all = async {
                tokio::join!(
                    Box::pin(events.run(&answered)),
                    Box::pin(health.run(&answered)),
                    commands
                )
            };
            let over = async {
                stop.cancelled().await;
                tokio::time::sleep(inner.config.drain.get()).await;
            };
            let sent = async {
                tokio::select! {
                    _ = all => (),
                    () = over => (),
                }
                last.cancel();
            };
            tokio::join!(Box::pin(sent), inner.cursors.keep(&last));
            inner.cursors.store().await;
            self.warn_of_unpublished();
        };
        // Boxed each: as one they are 50 KB, which would be moved over the stacks of all workers and
        // leave them as large.
        tokio::join!(
            users,
            Box::pin(
                inner
                    .consumer
                    .clone()
                    .run(inner.event_consumer(), last.clone())
            ),
            Box::pin(inner.link.clone().run(inner.flag.follow(), last.clone())),
        );
    }
}

impl BrokerTransport {
    /// Logs what subscribers of the broker did not get.
    fn warn_of_unpublished(&self) {
        let channels = self.channels();
        let events = channels
            .iter()
            .find(|channel| channel.channel == Channel::Events && channel.mode.uses_broker());
        let Some(left) = events.and_then(|events| events.lag).filter(|lag| *lag > 0) else {
            return;
        };
        if self.inner.cursors.are_kept() {
            tracing::info!(left, "{left} events are published after the next start");
        } else {
            tracing::warn!(
                left,
                "{left} events were not published: subscribers of the broker miss them"
            );
        }
    }
}

impl BrokerTransportInner {
    fn relay(&self, channel: Channel) -> EventRelay {
        let health = [
            EventKind::Healthy,
            EventKind::Unhealthy,
            EventKind::Stopping,
        ];
        let (cursors, counts) = (&self.cursors, &self.counts);
        let (cursor, counts, kinds): (_, _, &[_]) = match channel {
            Channel::Health => (&cursors.health, &counts.health, &health),
            Channel::Events | Channel::Discovery => (&cursors.events, &counts.events, &[]),
        };
        let filter = Filter {
            kinds: kinds.into(),
            ..Filter::default()
        };
        // It never changes.
        let (_, filter) = watch::channel(filter);
        let feed = LogFeed::new(self.registry.clone(), filter)
            .in_batches(self.config.amqp.window.get() * WINDOWS);
        let demand = LoopbackDemand::new(&self.flag);
        let flag = self.flag.follow();
        let gate = PublishGate::new(channel, flag, &self.link, &self.consumer, demand);
        // Only events of channel events are consumed back.
        let watermark = match channel {
            Channel::Events => self.flag.watermark().clone(),
            Channel::Health | Channel::Discovery => HighWatermark::default(),
        };
        let mut topics = Topics::new(
            channel,
            &self.link,
            &self.registry,
            self.consumer.clone(),
            counts.clone(),
            self.in_flight.clone(),
            self.flag.watermark().clone(),
        );
        if channel == Channel::Events && cursor.is_restored {
            topics.know_present();
        }
        Relay::new(
            format!("AMQP channel {channel}"),
            GatedFeed::new(feed, gate, watermark, topics.unconfirmed()),
            topics,
            Arc::clone(&cursor.subscriber),
            self.registry.clock().clone(),
            self.metrics.of("amqp"),
        )
    }

    fn event_consumer(&self) -> EventConsumerSetup {
        EventConsumerSetup {
            link: self.link.clone(),
            demand: LoopbackDemand::new(&self.flag),
            registry: self.registry.clone(),
            watermark: self.flag.watermark().clone(),
            in_flight: self.in_flight.clone(),
            counts: self.counts.events.clone(),
            sender: Arc::clone(&self.cursors.events.subscriber),
        }
    }

    async fn answer_all(&self, context: &CommandContext, stop: &CancellationToken) {
        let [one, two, three, four] = names::COMMANDS.map(|queue| {
            let consumer = QueueConsumer {
                link: self.link.clone(),
                queue,
                channel: Channel::Discovery,
                flag: self.flag.follow(),
                present: self.consumers.clone(),
            };
            let answering = Answering {
                queue,
                context: context.clone(),
                counts: self.counts.discovery.clone(),
                flag: self.flag.follow(),
                dead_letters: self.link.dead_letters().clone(),
                own: self.own.clone(),
            };
            Box::pin(consumer.run(answering, stop.clone()))
        });
        let answers = self.link.client().run_answers(AnswerScope {
            link: self.link.clone(),
            flag: self.flag.follow(),
            consumers: self.consumers.subscribe(),
            counts: self.counts.discovery.clone(),
            stop: stop.clone(),
        });
        tokio::join!(one, two, three, four, answers);
    }
}

/// How a broker that refuses something is tried again; the connection has a separate backoff.
fn policy(config: &Config) -> Policy {
    Policy {
        backoff_first: config.amqp.backoff_first.get(),
        backoff_max: config.amqp.backoff_max.get(),
        circuit_open: config.amqp.backoff_max.get(),
        ..config.policy()
    }
}
