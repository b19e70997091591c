//! How the canary reaches the registry: directly or over the broker, as the flag says for each channel.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, error::TrySendError},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::amqp;
use crate::{
    api::{self, Defaults},
    catalog::{Caller, Catalog, Deregister, Door, Register},
    migration::{CanaryWatch, CanaryWay, StepError},
    model::{CANARY, EventKind, Mode, Registration, ServiceName, Status},
    registry::Registry,
    transport::{CallbackError, Callbacks, Delivery, Filter, Start, Subscription, TransportSwitch},
};

/// The most changes that one run makes.
const CHANGES_MAX: usize = 64;

/// In mode dual of channel health: how long the step `probe` waits for the second verdict.
const BOTH_WAYS_MAX: Duration = Duration::from_millis(500);

/// The pause after a failed accept, for example without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The port that the probe of the canary connects to.
#[derive(Debug)]
pub(super) struct CanaryTarget(TcpListener);

impl CanaryTarget {
    /// A free port of 127.0.0.1.
    pub(super) async fn bind() -> std::io::Result<Self> {
        TcpListener::bind("127.0.0.1:0").await.map(Self)
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    /// Accepts and closes every connection until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                taken = self.0.accept() => if taken.is_ok() {
                    continue;
                },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(ACCEPT_PAUSE) => (),
            }
        }
    }
}

/// The canary's client.
#[derive(Clone, Debug)]
pub(super) struct CanaryClient {
    pub(super) registry: Registry,
    pub(super) callbacks: Callbacks,
    pub(super) transports: TransportSwitch,
    /// The address that is probed; none when no port was free.
    pub(super) address: Option<SocketAddr>,
    /// How long a step may take.
    pub(super) timeout: Duration,
}

/// The caller of the canary's writes.
const CALLER: Caller = Caller::daemon(Door::Canary);

fn deregister() -> Deregister {
    Deregister {
        service_id: CANARY.into(),
        incarnation: None,
    }
}

impl CanaryClient {
    fn catalog(&self) -> Catalog {
        Catalog::new(self.registry.clone())
    }

    /// The body of its registration.
    fn body(&self) -> Result<Value, StepError> {
        let address = self
            .address
            .ok_or("127.0.0.1 has no free port to be probed at")?;
        Ok(json!({
            "service_id": CANARY, "service_name": CANARY, "ttl": "60s",
            "host": address.ip().to_string(), "port": address.port(),
            "checks": [{"type": "tcp", "name": "target"}],
        }))
    }

    fn registration(&self) -> Result<Registration, StepError> {
        let parsed = api::registration(self.body()?.to_string().as_bytes(), &Defaults::default());
        let parsed = parsed.map_err(|problem| problem.detail)?;
        Ok(parsed.registration)
    }

    /// Waits until the registry shows it as healthy.
    async fn until_healthy(&self) -> Result<(), StepError> {
        let mut following = self.registry.follow_service(&name()?);
        loop {
            let instance = self.registry.instance(CANARY);
            match instance.map(|instance| instance.status()) {
                None => return Err("it is not registered any more".to_owned()),
                Some(Status::Healthy) => return Ok(()),
                Some(_) => following.changed().await,
            }
        }
    }

    /// Sends a command over the broker; none when commands are direct.
    async fn ask(&self, queue: &'static str, body: Value) -> Option<Result<Value, StepError>> {
        let way = self.transports.way()?;
        if !self.transports.flag().modes.discovery.uses_broker() {
            return None;
        }
        let body = body.to_string();
        let came = amqp::ask(way, queue, body.as_bytes()).await;
        Some(came.and_then(|body| answered(&body)))
    }

    fn found(&self) -> Result<(), StepError> {
        let service = self.registry.service(CANARY);
        let view = service.map(|service| service.view());
        let found = view.is_some_and(|view| {
            let mut ids = view.instances.keys();
            ids.any(|id| id.as_str() == CANARY)
        });
        found.then_some(()).ok_or_else(not_found)
    }
}

fn not_found() -> StepError {
    "discovery does not know it".to_owned()
}

/// The answer over the broker, or the detail of a problem.
fn answered(body: &[u8]) -> Result<Value, StepError> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match (answer["status"].as_u64(), answer["detail"].as_str()) {
        (Some(400..), Some(detail)) => Err(detail.to_owned()),
        _ => Ok(answer),
    }
}

fn name() -> Result<ServiceName, StepError> {
    ServiceName::parse(CANARY).map_err(|error| error.to_string())
}

impl CanaryWay for CanaryClient {
    fn watch(&self) -> Result<Box<dyn CanaryWatch>, StepError> {
        let (tx, changes) = mpsc::channel(CHANGES_MAX);
        let callback = move |delivery: Delivery| {
            let sent = match delivery {
                Delivery::Event(event) => tx.try_send((event.kind, event.revision.0)),
                Delivery::Resync(_) => Ok(()),
            };
            std::future::ready(match sent {
                // The watch has ended.
                Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
                Err(TrySendError::Full(_)) => {
                    Err(CallbackError::new("more changes than one run makes"))
                }
            })
        };
        let subscription = self
            .callbacks
            .subscribe(Filter::of(name()?), Start::Newest, callback);
        Ok(Box::new(Watching {
            changes,
            _subscription: subscription.map_err(|error| error.to_string())?,
        }))
    }

    fn register(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async {
            if let Some(answer) = self.ask("service.register", self.body()?).await {
                return answer.map(drop);
            }
            let command = Register {
                registration: self.registration()?,
                incarnation: None,
            };
            let registered = self.catalog().write(&CALLER, command).await;
            registered.map(drop).map_err(|error| error.to_string())
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async {
            self.until_healthy().await?;
            if self.transports.flag().modes.health == Mode::Dual {
                // The time limit of the step covers both verdicts.
                sleep(BOTH_WAYS_MAX.min(self.timeout / 2)).await;
            }
            Ok(())
        })
    }

    fn discover(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async {
            let body = json!({"service_name": CANARY, "healthy_only": true});
            let Some(answer) = self.ask("service.discover", body).await else {
                return self.found();
            };
            let found = answer?["total_count"] == 1;
            found.then_some(()).ok_or_else(not_found)
        })
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async {
            let body = json!({"service_id": CANARY});
            if let Some(answer) = self.ask("service.deregister", body).await {
                return answer.map(drop);
            }
            let deregistered = self.catalog().write(&CALLER, deregister()).await;
            deregistered.map(drop).map_err(|error| error.to_string())
        })
    }

    fn clean(&self) {
        // Usually there is nothing to remove.
        drop(self.catalog().write(&CALLER, deregister()));
    }
}

#[derive(Debug)]
struct Watching {
    changes: mpsc::Receiver<(EventKind, u64)>,
    _subscription: Subscription,
}

impl CanaryWatch for Watching {
    fn next(&mut self) -> BoxFuture<'_, Result<(EventKind, u64), StepError>> {
        Box::pin(async {
            let next = self.changes.recv().await;
            next.ok_or_else(|| "its watch has ended".to_owned())
        })
    }
}

#[cfg(test)]
mod tests;
