//! Everything that goes over the broker, joined: the connection, events out, commands in.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    AmqpError, Caller, Counts, Demand, Link, Session, Tail, Target, Transit,
    answers::{Outbox, Sending},
    commands::{Answering, Desk, SentLast},
    consumer::Consuming,
    gate::{Gate, GatedFeed},
    names, notices,
    tail::Listener,
    topics::Topics,
};
use crate::{
    api::{BrokerReport, ChannelReport},
    model::{Channel, Cursor, EventKind, FlagError, FlagState, Mode, Modes},
    registry::{Notices, Registry},
    transport::{
        Config, Direct, DirectMetrics, Filter, Flag, Horizon, LogFeed, Policy, Relay, Start,
        Subscriber,
    },
};

/// How long the answer to a change of the flag waits for consumers to go.
const CONSUMERS_MAX: Duration = Duration::from_secs(1);
/// How long a change of the flag may wait for the broker.
const CHANGE_MAX: Duration = Duration::from_millis(4_500);
/// How many windows of events are taken from the log at once: only at the end of them is the way to the
/// broker empty for a moment.
const WINDOWS: usize = 16;

/// A cheap handle to the way over the broker.
#[derive(Clone, Debug)]
pub struct Carrier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    registry: Registry,
    flag: Flag,
    link: Link,
    tail: Tail,
    transit: Transit,
    events: Arc<Mutex<Subscriber>>,
    health: Arc<Mutex<Subscriber>>,
    counts: CountsOf,
    metrics: DirectMetrics,
    /// How many consumers of commands there are.
    consumers: watch::Sender<usize>,
}

/// The counters of each channel.
#[derive(Clone, Debug, Default)]
pub struct CountsOf {
    /// Of events.
    pub events: Counts,
    /// Of health checks.
    pub health: Counts,
    /// Of commands.
    pub discovery: Counts,
}

impl CountsOf {
    fn of(&self, channel: Channel) -> &Counts {
        match channel {
            Channel::Events => &self.events,
            Channel::Health => &self.health,
            Channel::Discovery => &self.discovery,
        }
    }
}

type Outflow = Relay<GatedFeed, Topics>;

impl Carrier {
    /// The way over the broker that `target` names. Its cursors begin with the next change.
    pub fn new(
        target: Target,
        config: Config,
        registry: Registry,
        flag: Flag,
        metrics: DirectMetrics,
    ) -> Self {
        let link = Link::new(target, &config, registry.clock().clone());
        let policy = policy(&config);
        let subscriber = || Arc::new(Mutex::new(Start::Newest.subscriber(&registry, policy)));
        Self {
            inner: Arc::new(Inner {
                events: subscriber(),
                health: subscriber(),
                config,
                registry,
                flag,
                link,
                tail: Tail::new(),
                transit: Transit::default(),
                counts: CountsOf::default(),
                metrics,
                consumers: watch::Sender::new(0),
            }),
        }
    }

    /// Asks over it as a client would.
    pub fn caller(&self) -> Caller {
        Caller::new(self.inner.link.clone())
    }

    /// The connection.
    pub fn link(&self) -> &Link {
        &self.inner.link
    }

    /// Tells of every change of the flag.
    pub fn flag(&self) -> watch::Receiver<FlagState> {
        self.inner.flag.follow()
    }

    /// The counters of each channel.
    pub fn counts(&self) -> &CountsOf {
        &self.inner.counts
    }

    /// How the broker fares.
    pub fn broker(&self) -> BrokerReport {
        self.inner.link.report()
    }

    /// How each channel fares.
    pub fn channels(&self) -> Vec<ChannelReport> {
        let inner = &self.inner;
        let modes = inner.flag.state().modes;
        let report = |channel: Channel| {
            let cursor = match channel {
                Channel::Events => Some(inner.events.lock().cursor()),
                Channel::Health => Some(inner.health.lock().cursor()),
                Channel::Discovery => None,
            };
            let lag = |cursor: Cursor| {
                let newest = inner.registry.newest().0;
                newest.saturating_sub(cursor.revision.0)
            };
            let counts = inner.counts.of(channel);
            let (sent, failed) = counts.totals();
            ChannelReport {
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

    /// Changes the flag, once what the new modes need stands at the broker.
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
        // A channel that leaves the broker, or stays there, asks nothing of it.
        let _wanted = if Channel::ALL.into_iter().any(moves) {
            let wanted = inner.link.want();
            match timeout(CHANGE_MAX, self.ready(modes)).await {
                Ok(()) => (),
                Err(_) => return Err(FlagError::Unreachable(self.trouble())),
            }
            Some(wanted)
        } else {
            None
        };
        let version = inner.flag.set(modes, only_if)?;
        if !modes.discovery.uses_broker() && inner.link.silent().is_none() {
            // Whoever sends a command after the answer finds nobody who takes it.
            let _late = timeout(CONSUMERS_MAX, self.until_no_consumers()).await;
        }
        Ok(version)
    }

    async fn until_no_consumers(&self) {
        let mut consumers = self.inner.consumers.subscribe();
        // The sender lives as long as we do.
        let _ = consumers.wait_for(|n| *n == 0).await;
    }

    /// Returns when the broker answers, with all that is declared there, and our own events are heard if
    /// `modes` will need that.
    async fn ready(&self, modes: Modes) {
        let inner = &self.inner;
        let needed = modes.events == Mode::Dual || Demand::new(&inner.flag).stands();
        // Whoever looks is a reason to listen, also before the flag says so.
        let _looking = needed.then(|| inner.flag.horizon().sight());
        loop {
            let session = inner.link.until_up().await;
            let mut bound = self.inner.tail.follow();
            let number = session.number();
            let heard = async {
                if !needed {
                    return;
                }
                // The sender lives as long as the tail.
                let _ = bound.wait_for(|bound| bound.session == number).await;
            };
            tokio::select! {
                () = session.gone().cancelled() => continue,
                () = heard => (),
            }
            // It stood a moment ago: does it take something now?
            match self.try_out(&session).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "the broker takes nothing: {error}");
                    tokio::time::sleep(inner.config.amqp.ping).await;
                }
            }
        }
    }

    /// Sends a message that is for nobody; a broker that takes nothing does not confirm it.
    async fn try_out(&self, session: &Session) -> Result<(), AmqpError> {
        let channel = session.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(AmqpError::at("confirm.select"))?;
        let sent = channel.basic_publish(
            names::EXCHANGE.into(),
            names::TRIAL_KEY.into(),
            BasicPublishOptions::default(),
            b"{}",
            BasicProperties::default()
                .with_content_type("application/json".into())
                .with_type(names::TRIAL_KEY.into()),
        );
        let sent = sent.await.map_err(AmqpError::at("publishing"))?;
        sent.await.map_err(AmqpError::at("publishing"))?;
        let closed = channel.close(200, "OK".into());
        closed.await.map_err(AmqpError::at("channel.close"))
    }

    fn trouble(&self) -> String {
        let of_link = self.inner.link.report().error;
        of_link
            .or_else(|| self.inner.tail.trouble())
            .unwrap_or_else(|| format!("no answer within {CHANGE_MAX:?}"))
    }

    /// Why events do not leave although there is a connection; none when they do.
    pub fn stuck(&self) -> Option<String> {
        let modes = self.inner.flag.state().modes;
        if !modes.use_broker() {
            // What failed before the flag was turned is of no interest any more.
            return None;
        }
        let refused = {
            let events = self.inner.events.lock();
            let failing = modes.events.uses_broker() && events.failures() > 1;
            let error = events.record.last_error.as_deref().unwrap_or_default();
            failing.then(|| format!("events are refused: {error}"))
        };
        refused.or_else(|| self.inner.tail.trouble())
    }

    /// Waits until what is direct has left the broker; false when that took longer than `max`.
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

    /// Passes notices on under their own names, until told to stop.
    pub async fn tell(self, notices: Arc<Notices>, stop: CancellationToken) {
        notices::run(self.inner.link.clone(), notices, stop).await;
    }

    /// Runs until told to stop: then what has still to leave leaves, for as long as `transport.drain`
    /// allows, and the connection is closed.
    pub async fn run(self, desk: Desk, stop: CancellationToken) {
        let inner = &*self.inner;
        let last = CancellationToken::new();
        let users = async {
            let mut events = inner.outflow(Channel::Events);
            let mut health = inner.outflow(Channel::Health);
            // What commands change at the last moment leaves too.
            let answered = CancellationToken::new();
            let commands = async {
                inner.answer_all(&desk, &stop).await;
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
                tokio::time::sleep(inner.config.drain).await;
            };
            tokio::select! {
                _ = all => (),
                () = over => (),
            }
            self.tell_of_left();
            last.cancel();
        };
        // Boxed each: as one they are 50 KB, which would be moved over the stacks of all workers and
        // leave them as large.
        tokio::join!(
            users,
            Box::pin(inner.tail.clone().run(inner.listener(), last.clone())),
            Box::pin(inner.link.clone().run(inner.flag.follow(), last.clone())),
        );
    }
}

impl Carrier {
    /// What the broker's subscribers will never be told: the log ends with the daemon.
    fn tell_of_left(&self) {
        let channels = self.channels();
        let events = channels
            .iter()
            .find(|channel| channel.channel == Channel::Events && channel.mode.uses_broker());
        if let Some(left) = events.and_then(|events| events.lag).filter(|lag| *lag > 0) {
            tracing::warn!(
                left,
                "{left} events did not leave for the broker: its subscribers miss them"
            );
        }
    }
}

impl Inner {
    fn outflow(&self, channel: Channel) -> Outflow {
        let health = [
            EventKind::Healthy,
            EventKind::Unhealthy,
            EventKind::Stopping,
        ];
        let (subscriber, counts, kinds): (_, _, &[_]) = match channel {
            Channel::Health => (&self.health, &self.counts.health, &health),
            Channel::Events | Channel::Discovery => (&self.events, &self.counts.events, &[]),
        };
        let filter = Filter {
            kinds: kinds.into(),
            ..Filter::default()
        };
        // Nobody changes it.
        let (_, filter) = watch::channel(filter);
        let feed = LogFeed::new(self.registry.clone(), filter)
            .in_batches(self.config.amqp.window * WINDOWS);
        let demand = Demand::new(&self.flag);
        let gate = Gate::new(channel, self.flag.follow(), &self.link, &self.tail, demand);
        // Only what leaves as an event comes back.
        let horizon = match channel {
            Channel::Events => self.flag.horizon().clone(),
            Channel::Health | Channel::Discovery => Horizon::default(),
        };
        let topics = Topics::new(
            channel,
            &self.link,
            &self.registry,
            self.tail.clone(),
            counts.clone(),
            self.transit.clone(),
            self.flag.horizon().clone(),
        );
        Relay::new(
            format!("AMQP channel {channel}"),
            GatedFeed::new(feed, gate, horizon, topics.owed()),
            topics,
            Arc::clone(subscriber),
            self.registry.clock().clone(),
            self.metrics.of("amqp"),
        )
    }

    fn listener(&self) -> Listener {
        Listener {
            link: self.link.clone(),
            demand: Demand::new(&self.flag),
            registry: self.registry.clone(),
            horizon: self.flag.horizon().clone(),
            transit: self.transit.clone(),
            counts: self.counts.events.clone(),
            sender: Arc::clone(&self.events),
        }
    }

    async fn answer_all(&self, desk: &Desk, stop: &CancellationToken) {
        let (outbox, inbox) = Outbox::new(self.link.lost_answers().clone());
        let apart = self.link.minds_answers();
        let [one, two, three, four] = names::COMMANDS.map(|queue| {
            let consuming = Consuming {
                link: self.link.clone(),
                queue,
                way: Channel::Discovery,
                flag: self.flag.follow(),
                present: self.consumers.clone(),
            };
            let answering = Answering {
                queue,
                desk: desk.clone(),
                counts: self.counts.discovery.clone(),
                flag: self.flag.follow(),
                sent_last: SentLast::default(),
                dead_letters: self.link.dead_letters().clone(),
                outbox: apart.then(|| outbox.clone()),
            };
            Box::pin(consuming.run(answering, stop.clone()))
        });
        let sending = Sending::new(
            self.link.clone(),
            self.flag.follow(),
            self.consumers.subscribe(),
            self.counts.discovery.clone(),
            inbox,
        );
        let sending = async {
            if apart {
                Box::pin(sending.run(stop.clone())).await;
            }
        };
        tokio::join!(one, two, three, four, sending);
    }
}

/// How a broker that refuses something is tried again; the connection has a patience of its own.
fn policy(config: &Config) -> Policy {
    Policy {
        backoff_first: config.amqp.backoff_first,
        backoff_max: config.amqp.backoff_max,
        circuit_open: config.amqp.backoff_max,
        ..config.policy()
    }
}

/// Whether `url` can be used, and the certificates that shall be trusted can be read.
///
/// # Errors
/// Says what is wrong with them.
pub fn check(config: &Config) -> Result<(), AmqpError> {
    if config.amqp_url.is_empty() {
        return Ok(());
    }
    Target::external(&config.amqp_url, config.amqp.ca_file.as_deref()).map(drop)
}
