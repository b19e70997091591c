//! Commands that come as messages: registrations, heartbeats, discovery. Each is answered where its
//! sender wants an answer; what nobody can read goes to `musterd.dead`.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicPublishOptions},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    AmqpError, Counts,
    answers::{Answer, Outbox},
    consumer::Taker,
    dead::DeadLetters,
    names,
};
use crate::{
    api::{self, Defaults, Discover, InstanceCommand, Parsed, Problem},
    broker::Broker,
    catalog::{Caller, Catalog, CloseConnection, Deregister, Door, Refusal, Register},
    model::{FlagState, InstanceFilter, Mode},
};

/// The header in which the embedded broker says over which connection a message came.
const CONNECTION: &str = "x-musterd-connection";
/// A channel that ends so soon after an answer was sent over it did so because of that answer.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// How often both ways are asked before they are said to differ.
const ATTEMPTS: usize = 3;

/// What the direct way answers, to compare the broker's answers with.
pub trait DirectAnswers: fmt::Debug + Send + Sync {
    /// The body of GET /services/discover/{name}; none when it was refused.
    fn discover<'a>(&'a self, name: &'a str, wanted: &'a Discover) -> BoxFuture<'a, Option<Bytes>>;

    /// The body of GET /services/{id}; none when there is no such instance.
    fn instance<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<Bytes>>;
}

/// What it takes to answer commands.
#[derive(Clone, Debug)]
pub struct Desk {
    /// What is written and read.
    pub catalog: Catalog,
    /// Values and limits of registrations.
    pub defaults: Arc<Defaults>,
    /// The embedded broker, where commands come over that one.
    pub broker: Option<Broker>,
    /// The direct way, to compare with in mode dual.
    pub direct: Arc<dyn DirectAnswers>,
}

/// Answers the commands of one queue.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) queue: &'static str,
    pub(super) desk: Desk,
    pub(super) counts: Counts,
    pub(super) flag: watch::Receiver<FlagState>,
    pub(super) sent_last: SentLast,
    pub(super) dead_letters: DeadLetters,
    /// Where answers leave that must not end the connection which commands come by; none where they can't.
    pub(super) outbox: Option<Outbox>,
}

/// How many answers were sent last, and when: the broker says nothing of those it takes, and closes the
/// channel when it refuses one.
#[derive(Debug, Default)]
pub(super) struct SentLast(Mutex<Option<(Instant, u64)>>);

impl SentLast {
    fn note(&self, answers: u64) {
        *self.0.lock() = Some((Instant::now(), answers));
    }

    /// How many of them the end of their channel tells of.
    fn take(&self) -> u64 {
        let last = self.0.lock().take();
        last.filter(|(at, _)| at.elapsed() < REFUSED_WITHIN)
            .map_or(0, |(_, answers)| answers)
    }
}

/// What came of one command.
struct Answered {
    body: Bytes,
    is_problem: bool,
    /// Why nobody could read it.
    unreadable: Option<String>,
}

impl Taker for Answering {
    async fn take(&self, channel: &Channel, deliveries: Vec<Delivery>) -> Result<(), AmqpError> {
        let mut replies = Vec::with_capacity(deliveries.len());
        let mut answers = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            let answered = self.answer(delivery).await;
            if let Some(reason) = &answered.unreadable {
                self.dead_letters.bury(channel, delivery, reason).await?;
            }
            if let Some(reply_to) = delivery.properties.reply_to().clone() {
                replies.push(Answer {
                    reply_to,
                    properties: reply_properties(delivery, &answered),
                    body: answered.body.clone(),
                });
            }
            answers.push(answered);
        }
        // The registry has taken them all. Settled before they are answered: an answer that the broker
        // refuses closes the channel, and must not bring its command again and again.
        if let Some(last) = deliveries.last() {
            let all = BasicAckOptions { multiple: true };
            let acked = channel.basic_ack(last.delivery_tag, all);
            acked.await.map_err(AmqpError::at("basic.ack"))?;
        }
        self.counts.sent_more(answers.len() as u64);
        match &self.outbox {
            Some(outbox) => {
                for reply in replies {
                    outbox.put(reply).await;
                }
            }
            None => {
                self.sent_last.note(replies.len() as u64);
                send_all(channel, replies).await?;
            }
        }
        for (delivery, answered) in deliveries.iter().zip(&answers) {
            self.compare(&delivery.data, answered).await;
        }
        Ok(())
    }

    fn cut_off(&self) {
        self.counts.sent_in_vain(self.sent_last.take());
    }
}

impl Answering {
    async fn answer(&self, delivery: &Delivery) -> Answered {
        let body = &delivery.data;
        let from = self.connection(delivery);
        let caller = Caller {
            connection: from,
            ..Caller::by(Door::Amqp)
        };
        let answered = match self.queue {
            names::REGISTER => self.register(&caller, body).await,
            names::HEARTBEAT => self.heartbeat(&caller, body).await,
            names::DEREGISTER => self.deregister(&caller, body).await,
            _ => self.discover(body),
        };
        match answered {
            Ok(body) => Answered {
                body,
                is_problem: false,
                unreadable: None,
            },
            Err(problem) => Answered {
                body: problem.to_json().into(),
                is_problem: true,
                unreadable: is_unreadable(&problem).then_some(problem.detail),
            },
        }
    }

    /// The connection of the embedded broker that a command came by, as the broker itself says.
    fn connection(&self, delivery: &Delivery) -> Option<u64> {
        self.desk.broker.as_ref()?;
        let headers = delivery.properties.headers().as_ref()?.inner();
        let stamp = headers.get(CONNECTION)?.as_long_string()?;
        stamp.to_string().parse().ok()
    }

    async fn register(&self, caller: &Caller, body: &[u8]) -> Result<Bytes, Problem> {
        let Parsed {
            registration,
            incarnation,
            warnings,
        } = api::registration(body, &self.desk.defaults)?;
        let command = Register {
            registration,
            incarnation,
        };
        let registered = self.desk.catalog.write(caller, command).await;
        self.close_if_gone(caller).await;
        let instance = registered.map_err(problem)?.instance;
        let now = self.desk.catalog.now();
        Ok(api::registered(&instance, now, &warnings).into())
    }

    async fn heartbeat(&self, caller: &Caller, body: &[u8]) -> Result<Bytes, Problem> {
        let InstanceCommand {
            service_id,
            incarnation,
        } = InstanceCommand::read(body)?;
        let recorded = self
            .desk
            .catalog
            .heartbeat(caller, &service_id, incarnation)
            .await;
        self.close_if_gone(caller).await;
        let recorded = recorded.map_err(problem)?;
        Ok(api::done("Heartbeat received", &service_id, recorded).into())
    }

    async fn deregister(&self, caller: &Caller, body: &[u8]) -> Result<Bytes, Problem> {
        let InstanceCommand {
            service_id,
            incarnation,
        } = InstanceCommand::read(body)?;
        let command = Deregister {
            service_id: service_id.as_str().into(),
            incarnation,
        };
        let catalog = &self.desk.catalog;
        catalog.write(caller, command).await.map_err(problem)?;
        let message = "Service deregistered successfully";
        Ok(api::done(message, &service_id, catalog.now()).into())
    }

    /// The connection may have closed before its command was taken: then no later event says so.
    async fn close_if_gone(&self, caller: &Caller) {
        let (Some(connection), Some(broker)) = (caller.connection, &self.desk.broker) else {
            return;
        };
        if !broker.is_connected(connection) {
            let closed = CloseConnection { connection };
            let caller = Caller::daemon(Door::Broker);
            // It is refused while the daemon stops only.
            let _ = self.desk.catalog.write(&caller, closed).await;
        }
    }

    fn discover(&self, body: &[u8]) -> Result<Bytes, Problem> {
        let (name, wanted) = Discover::from_json(body)?;
        Ok(self.found(&name, &wanted.filter))
    }

    fn found(&self, name: &str, filter: &InstanceFilter) -> Bytes {
        let catalog = &self.desk.catalog;
        let found = catalog.discover(name, filter, |list| {
            api::discovered(list, |one| catalog.last_heartbeat(one))
        });
        found.0
    }

    /// In mode dual, asks the direct way too.
    async fn compare(&self, body: &[u8], answered: &Answered) {
        if self.flag.borrow().modes.discovery != Mode::Dual {
            return;
        }
        let direct = &*self.desk.direct;
        let same = match self.queue {
            names::DISCOVER => self.same_discovery(direct, body, &answered.body).await,
            names::REGISTER => same_instance(direct, &answered.body).await,
            _ => None,
        };
        let Some(same) = same else {
            return;
        };
        self.counts.compared();
        if !same {
            self.counts.different();
        }
    }

    /// None where there is nothing to compare with.
    async fn same_discovery(
        &self,
        direct: &dyn DirectAnswers,
        body: &[u8],
        answered: &Bytes,
    ) -> Option<bool> {
        let (name, wanted) = Discover::from_json(body).ok()?;
        let mut ours = answered.clone();
        for _ in 0..ATTEMPTS {
            let theirs = direct.discover(&name, &wanted).await?;
            if same_but_heartbeats(&ours, &theirs) {
                return Some(true);
            }
            // The service may have changed in between.
            ours = self.found(&name, &wanted.filter);
        }
        Some(false)
    }
}

fn problem(refusal: Refusal) -> Problem {
    Problem::refused(refusal.status(), refusal.field(), refusal.to_string())
}

/// Over the channel that the commands came by.
async fn send_all(channel: &Channel, replies: Vec<Answer>) -> Result<(), AmqpError> {
    let sent = replies.into_iter().map(|reply| async move {
        let Answer {
            reply_to,
            properties,
            body,
        } = reply;
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), reply_to, options, &body, properties);
        sent.await
    });
    let mut sent: FuturesOrdered<_> = sent.collect();
    while let Some(sent) = sent.next().await {
        sent.map_err(AmqpError::at("answering"))?;
    }
    Ok(())
}

/// Whether the direct way has what a registration was answered with, or what came after it.
async fn same_instance(direct: &dyn DirectAnswers, answered: &[u8]) -> Option<bool> {
    let ours: Value = serde_json::from_slice(answered).ok()?;
    let id = ours.get("service_id")?.as_str()?;
    let theirs: Value = serde_json::from_slice(&direct.instance(id).await?).ok()?;
    let number = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64);
    let not_older = ["revision", "incarnation"]
        .into_iter()
        .all(|key| number(&theirs, key) >= number(&ours, key));
    Some(not_older && theirs.get("service_id") == ours.get("service_id"))
}

/// Times of heartbeats in a list may be up to a second old.
fn same_but_heartbeats(ours: &[u8], theirs: &[u8]) -> bool {
    let read = |body: &[u8]| {
        let mut value: Value = serde_json::from_slice(body).ok()?;
        for one in value.get_mut("services")?.as_array_mut()? {
            one.as_object_mut()?.remove("last_heartbeat");
        }
        Some(value)
    };
    ours == theirs || (read(ours).is_some() && read(ours) == read(theirs))
}

/// What is wrong in itself, whatever the registry has.
fn is_unreadable(problem: &Problem) -> bool {
    matches!(problem.status, 400 | 413 | 422)
}

fn reply_properties(of: &Delivery, answered: &Answered) -> BasicProperties {
    let kind = match answered.is_problem {
        false => "application/json",
        true => "application/problem+json",
    };
    let properties = BasicProperties::default().with_content_type(kind.into());
    match of.properties.correlation_id().clone() {
        Some(id) => properties.with_correlation_id(id),
        None => properties,
    }
}
