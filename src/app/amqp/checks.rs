//! Health checks over the broker: the rooms that schedule and make probes, joined with what carries them.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Way;
use crate::{
    api::{CheckRequest, CheckVerdict},
    app::AppError,
    config::Config,
    health::{self, Health, RemoteProber, RequestResult},
    model::{Channel, Check, FlagState, Mode, Modes, Probed},
    outbound::Client,
    registry::Clock,
    tasks::{Stage, Tasks},
    telemetry::Metrics,
    transport::amqp::{Checks, ComparisonCounts, Link, Prober, ProberSetup, Probing, Verdicts},
};

/// Requests out.
#[derive(Debug)]
struct RemoteProbers {
    checks: Checks,
    counts: ComparisonCounts,
}

impl RemoteProber for RemoteProbers {
    fn mode(&self) -> Mode {
        self.checks.mode()
    }

    fn ask(&self, number: u64, request: &CheckRequest<'_>, left: Duration) -> bool {
        self.checks.send(number, request.to_json(), left)
    }

    fn note(&self, ended: RequestResult) {
        let counts = &self.counts;
        match ended {
            RequestResult::Answered => counts.sent(),
            RequestResult::Unanswered => counts.failed(),
            RequestResult::Same => counts.compared(),
            RequestResult::Different => {
                counts.compared();
                counts.different();
            }
            RequestResult::Late => counts.late(),
            RequestResult::Missing => counts.missing(1),
        }
    }
}

impl Verdicts for Health {
    fn take(&self, verdict: CheckVerdict, request: Option<u64>) {
        self.take(verdict, request);
    }

    fn unsent(&self, request: u64) {
        self.unsent(request);
    }

    fn cut_off(&self) {
        self.cut_off();
    }
}

impl Probing for health::LocalProber {
    fn probe<'a>(&'a self, check: &'a Check, left: Duration) -> BoxFuture<'a, Probed> {
        Box::pin(self.probe(check, left))
    }
}

/// From now on the flag says whether checks go over the broker; the daemon's own prober takes part.
pub(in crate::app) fn start(
    way: &Way,
    config: &Config,
    health: &Health,
    client: &Client,
    clock: &Clock,
    metrics: &Metrics,
    tasks: &mut Tasks,
) {
    let link = way.link().clone();
    let (checks, carrier) = Checks::new(link.clone(), way.flag(), config.health.probes_max.get());
    let verdicts = Arc::new(health.clone());
    health.use_remote_probers(Arc::new(RemoteProbers {
        checks,
        counts: way.counts().health.clone(),
    }));
    let prober = prober(config, link, way.flag(), client, clock, metrics);
    tasks.spawn(Stage::Source, "health over AMQP", |stop| {
        carrier.run(verdicts, stop)
    });
    tasks.spawn(Stage::Source, "prober", |stop| prober.run(stop));
}

fn prober(
    config: &Config,
    link: Link,
    flag: watch::Receiver<FlagState>,
    client: &Client,
    clock: &Clock,
    metrics: &Metrics,
) -> Prober {
    let probing = health::LocalProber::new(&config.health, client.clone());
    let setup = ProberSetup {
        link,
        flag,
        probing: Arc::new(probing),
        clock: clock.clone(),
        probes_max: config.health.queue_probes_max.get(),
        drain: Stage::Source.patience(config.stop.grace.get(), config.transport.drain.get()),
    };
    Prober::new(setup, metrics)
}

/// A prober that belongs to no daemon, at the broker of `transport.amqp_url`, until `request` completes.
pub(in crate::app) async fn run_alone(
    config: Config,
    request: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let metrics = Metrics::default();
    let client = Client::new(&config.outbound, &metrics)?;
    let broker = super::external(&config.transport)?;
    let clock = Clock::start();
    let link = Link::new(broker, &config.transport, clock.clone());
    let until_refused = link.until_refused();
    // There is no flag to follow: it always probes what is asked over the queue.
    let modes = Modes::all(Mode::Direct).with(Channel::Health, Mode::Queue);
    let flag = watch::Sender::new(FlagState { modes, version: 0 });
    let prober = prober(
        &config,
        link.clone(),
        flag.subscribe(),
        &client,
        &clock,
        &metrics,
    );
    let mut tasks = Tasks::default();
    tasks.spawn(Stage::Source, "prober", |stop| prober.run(stop));
    tasks.spawn(Stage::Source, "clock", |stop| follow_wall(clock, stop));
    tasks.spawn(Stage::Carrier, "amqp", |stop| {
        link.run(flag.subscribe(), stop)
    });
    tasks.spawn(Stage::Sink, "outbound", |stop| client.run(stop));
    let mut refused = None;
    let request = async {
        tokio::select! {
            () = request => (),
            error = until_refused => refused = Some(error),
        }
    };
    tasks.run_until(request, config.stop.grace.get()).await?;
    match refused {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

/// Deadlines are times of the wall clock.
async fn follow_wall(clock: Clock, stop: CancellationToken) {
    loop {
        clock.follow_wall();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => (),
        }
    }
}
