//! Commands that come as messages: registrations, heartbeats, discovery. Each that has a `reply_to` is answered;
//! what cannot be read goes to `musterd.dead`.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    AmqpError, ComparisonCounts,
    broker::{Delivery, JSON, Outgoing, UpTo},
    caller::OwnRequests,
    consumer::{ConsumerChannel, Taker},
    dead::{DeadLetters, Unreadable},
    names,
};
use crate::{
    api::{self, Defaults, Discover, InstanceCommand, Parsed, Problem},
    broker::{
        Broker,
        wire::{ShortStr, ValueRef, properties::PropertyList},
    },
    catalog::{self, Caller, Catalog, Deregister, Door, Identity, Refusal, Register},
    model::{FlagState, InstanceFilter, Mode},
    security::Identities,
};

/// The header in which the embedded broker says over which connection a message came.
const CONNECTION: &str = "x-musterd-connection";
/// The header of a dead letter, whose publisher is unknown.
const DEATHS: &str = "x-death";
/// The content type of an answer that is an error.
const PROBLEM: ShortStr = ShortStr::from_static("application/problem+json");
/// How often both ways are asked before they are said to differ.
const ATTEMPTS: usize = 3;

/// The answers of the direct way, to compare the broker's answers with.
pub trait DirectAnswers: fmt::Debug + Send + Sync {
    /// The body of GET /services/discover/{name}; none when it was refused.
    fn discover<'a>(&'a self, name: &'a str, wanted: &'a Discover) -> BoxFuture<'a, Option<Bytes>>;

    /// The body of GET /services/{id}; none when there is no such instance.
    fn instance<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<Bytes>>;
}

/// The parts that answer commands.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// The registry, for writes and reads.
    pub catalog: Catalog,
    /// Values and limits of registrations.
    pub defaults: Arc<Defaults>,
    /// The embedded broker, where commands come over that one.
    pub broker: Option<Broker>,
    /// The direct way, to compare with in mode dual.
    pub direct: Arc<dyn DirectAnswers>,
    /// Who may do what.
    pub identities: Identities,
    /// The queues of the embedded broker whose messages it stamps.
    pub stamped: Arc<[String]>,
    /// The header of its stamp for the user.
    pub user_header: Arc<str>,
}

/// Answers the commands of one queue.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) queue: &'static str,
    pub(super) context: CommandContext,
    pub(super) counts: ComparisonCounts,
    pub(super) flag: watch::Receiver<FlagState>,
    pub(super) dead_letters: DeadLetters,
    /// Requests of the daemon itself, which are those of the canary.
    pub(super) own: OwnRequests,
}

/// The answer to one command.
struct Answered {
    body: Bytes,
    is_problem: bool,
    /// Whether the direct way answers the same: it answers the daemon, who sees everything.
    is_comparable: bool,
    /// Why it could not be read.
    unreadable: Option<String>,
}

impl Taker for Answering {
    async fn take(
        &mut self,
        open: &mut ConsumerChannel,
        deliveries: Vec<Delivery>,
    ) -> Result<(), AmqpError> {
        let mut unreadable = Vec::new();
        let mut replies = Vec::with_capacity(deliveries.len());
        let mut answers = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            let mut answered = self.answer_to(delivery).await;
            if let Some(reason) = answered.unreadable.take() {
                unreadable.push(Unreadable { delivery, reason });
            }
            let reply_to = delivery.properties.reply_to();
            if let Some(reply_to) = reply_to.and_then(ShortStr::copied) {
                replies.push(Outgoing {
                    exchange: "",
                    key: reply_to,
                    properties: reply_properties(delivery, &answered),
                    body: answered.body.clone(),
                });
            }
            answers.push(answered);
        }
        let connection = open.usage.connection();
        self.dead_letters
            .dead_letter(connection, &unreadable)
            .await?;
        // The registry has taken them all. Settled before they are answered, so that an answer that cannot be
        // sent does not bring its command again.
        if let Some(last) = deliveries.last() {
            open.channel.ack(last.tag, UpTo::All).await?;
        }
        self.counts.sent_more(answers.len() as u64);
        open.channel.answer(replies).await?;
        for (delivery, answered) in deliveries.iter().zip(&answers) {
            self.compare(&delivery.body, answered).await;
        }
        Ok(())
    }
}

impl Answering {
    async fn answer_to(&self, delivery: &Delivery) -> Answered {
        let body = &delivery.body;
        let from = self.connection(delivery);
        let is_own = self.own.contains(delivery.properties.correlation_id());
        let caller = if is_own && self.is_of_the_daemon(delivery) {
            Caller::daemon(Door::Canary)
        } else {
            let user = self.user(delivery);
            let principal = self.context.identities.broker_user(user);
            Caller {
                identity: principal.map_or(Identity::Anonymous, Identity::Of),
                address: self.address(from),
                connection: from,
                ..Caller::by(Door::Amqp)
            }
        };
        let answered = match self.queue {
            names::REGISTER => self.register(&caller, body).await,
            names::HEARTBEAT => self.heartbeat(&caller, body).await,
            names::DEREGISTER => self.deregister(&caller, body).await,
            _ => self.discover(&caller, body),
        };
        let is_comparable = self.context.catalog.sight(&caller).sees_all_services();
        match answered {
            Ok(body) => Answered {
                body,
                is_problem: false,
                is_comparable,
                unreadable: None,
            },
            Err(problem) => Answered {
                body: problem.to_json().into(),
                is_problem: true,
                is_comparable,
                unreadable: is_unreadable(&problem).then_some(problem.detail),
            },
        }
    }

    /// Whether the broker rules out that a client sent it: a client that consumes from the queue knows the correlation
    /// ids of the daemon's requests. RabbitMQ has no mark for that.
    fn is_of_the_daemon(&self, delivery: &Delivery) -> bool {
        if self.context.broker.is_none() || !self.context.identities.is_on() {
            return true;
        }
        let by_client = [self.context.user_header.as_bytes(), DEATHS.as_bytes()];
        let headers = delivery.properties.headers();
        let has = |name: &[u8]| headers.is_some_and(|headers| headers.field(name).is_some());
        self.is_stamped() && !by_client.iter().any(|name| has(name))
    }

    /// Whether the embedded broker names the sender of the queue's messages.
    fn is_stamped(&self) -> bool {
        let mut stamped = self.context.stamped.iter();
        stamped.any(|queue| queue == self.queue)
    }

    /// The user that sent a command, as the broker itself says: the embedded one in a header that it sets, another one
    /// in the property that it has validated.
    fn user<'a>(&self, delivery: &'a Delivery) -> Option<&'a str> {
        let user = match &self.context.broker {
            None => delivery.properties.user_id()?,
            Some(_) if !self.is_stamped() => return None,
            Some(_) => {
                let headers = delivery.properties.headers()?;
                headers
                    .field(self.context.user_header.as_bytes())
                    .and_then(ValueRef::as_str_bytes)?
            }
        };
        std::str::from_utf8(user).ok()
    }

    /// The connection of the embedded broker that a command came by, as the broker itself says.
    fn connection(&self, delivery: &Delivery) -> Option<u64> {
        self.context.broker.as_ref()?;
        let headers = delivery.properties.headers()?;
        let stamp = headers
            .field(CONNECTION.as_bytes())
            .and_then(ValueRef::as_str_bytes)?;
        std::str::from_utf8(stamp).ok()?.parse().ok()
    }

    /// Where the client of a connection is; unknown once it is closed.
    fn address(&self, connection: Option<u64>) -> Option<SocketAddr> {
        self.context.broker.as_ref()?.address_of(connection?)
    }

    async fn register(&self, caller: &Caller, body: &[u8]) -> Result<Bytes, Problem> {
        let Parsed {
            registration,
            incarnation,
            warnings,
        } = api::registration(body, &self.context.defaults)?;
        let command = Register {
            registration,
            incarnation,
        };
        let registered = self.context.catalog.write(caller, command).await;
        self.close_if_gone(caller).await;
        let registered = registered.map_err(problem)?;
        catalog::log_registered(caller, &registered);
        let now = self.context.catalog.now();
        Ok(api::registered(&registered.instance, now, &warnings).into())
    }

    async fn heartbeat(&self, caller: &Caller, body: &[u8]) -> Result<Bytes, Problem> {
        let (command, warnings) = InstanceCommand::read(body)?;
        let InstanceCommand {
            service_id,
            incarnation,
        } = command;
        let recorded = self
            .context
            .catalog
            .heartbeat(caller, &service_id, incarnation)
            .await;
        self.close_if_gone(caller).await;
        let recorded = recorded.map_err(problem)?;
        let answer = api::done("Heartbeat received", &service_id, recorded);
        Ok(warnings.added_to(answer))
    }

    async fn deregister(&self, caller: &Caller, body: &[u8]) -> Result<Bytes, Problem> {
        let (command, warnings) = InstanceCommand::read(body)?;
        let InstanceCommand {
            service_id,
            incarnation,
        } = command;
        let command = Deregister {
            service_id: service_id.as_str().into(),
            incarnation,
        };
        let catalog = &self.context.catalog;
        let instance = catalog.write(caller, command).await.map_err(problem)?;
        catalog::log_deregistered(caller, &instance);
        let message = "Service deregistered successfully";
        let answer = api::done(message, &service_id, catalog.now());
        Ok(warnings.added_to(answer))
    }

    /// The connection may have closed before its command was taken: then no later event says so.
    async fn close_if_gone(&self, caller: &Caller) {
        let (Some(connection), Some(broker)) = (caller.connection, &self.context.broker) else {
            return;
        };
        if !broker.is_connected(connection) {
            let caller = Caller::daemon(Door::Broker);
            let catalog = &self.context.catalog;
            // It is refused only while the daemon stops.
            let _ = catalog.close_connection(&caller, connection).await;
        }
    }

    fn discover(&self, caller: &Caller, body: &[u8]) -> Result<Bytes, Problem> {
        let (name, wanted, warnings) = Discover::from_json(body)?;
        let found = self.found(caller, &name, &wanted.filter);
        Ok(warnings.added_to(found))
    }

    fn found(&self, caller: &Caller, name: &str, filter: &InstanceFilter) -> Bytes {
        let catalog = &self.context.catalog;
        let found = catalog.discover(caller, name, filter, |list| {
            api::discovered(list, |one| catalog.last_heartbeat(one))
        });
        found.0
    }

    /// In mode dual, asks the direct way too.
    async fn compare(&self, body: &[u8], answered: &Answered) {
        if !answered.is_comparable || self.flag.borrow().modes.discovery != Mode::Dual {
            return;
        }
        let direct = &*self.context.direct;
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
        let (name, wanted, warnings) = Discover::from_json(body).ok()?;
        // The direct way has another place for warnings.
        let mut ours = match warnings.sentences().next() {
            None => answered.clone(),
            Some(_) => self.found(&Caller::daemon(Door::Amqp), &name, &wanted.filter),
        };
        for _ in 0..ATTEMPTS {
            let theirs = direct.discover(&name, &wanted).await?;
            if same_but_heartbeats(&ours, &theirs) {
                return Some(true);
            }
            // The service may have changed in between.
            ours = self.found(&Caller::daemon(Door::Amqp), &name, &wanted.filter);
        }
        Some(false)
    }
}

fn problem(refusal: Refusal) -> Problem {
    Problem::refused(refusal.status(), refusal.field(), refusal.to_string())
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

/// Invalid in itself, whatever the registry holds.
fn is_unreadable(problem: &Problem) -> bool {
    matches!(problem.status, 400 | 413 | 422)
}

fn reply_properties(of: &Delivery, answered: &Answered) -> PropertyList {
    PropertyList {
        content_type: Some(match answered.is_problem {
            false => JSON,
            true => PROBLEM,
        }),
        correlation_id: of.properties.correlation_id().and_then(ShortStr::copied),
        ..PropertyList::default()
    }
}

#[cfg(test)]
mod tests;
