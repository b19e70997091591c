//! Queues: listed, declared, deleted, purged.

use serde_json::{Map, Value, json};

use super::{
    answer::{ManagementAnswer, ManagementRefusal, done, made, ok},
    ask::{Ask, arguments, flag, short},
    page::PageQuery,
    policies::PolicyNames,
    shapes::{self, ConnectionNames},
};
use crate::broker::{
    listing::Wanted,
    vhost::QueueView,
    wire::method::queue::{Declare, Delete, Purge},
};

/// Everything of one vhost, or of all.
pub(super) fn all(vhost: Option<&str>) -> Wanted {
    Wanted {
        vhost: vhost.map(str::to_owned),
        name: String::new(),
        limit: usize::MAX,
    }
}

/// `GET /api/queues`
pub(super) async fn list(ask: Ask) -> ManagementAnswer {
    listed(&ask, None).await
}

/// `GET /api/queues/{vhost}`
pub(super) async fn list_of_vhost(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    listed(&ask, Some(vhost)).await
}

async fn listed(ask: &Ask, vhost: Option<&str>) -> ManagementAnswer {
    let query = PageQuery::read(&ask.query)?;
    let mut queues = ask.state.broker().queues(&all(vhost)).await.items;
    queues.retain(|queue| ask.sees(&queue.vhost));
    queues.sort_by(|one, other| (&one.vhost, &one.name).cmp(&(&other.vhost, &other.name)));
    ask.state.broker.add_queue_rates(&mut queues);
    let policies = PolicyNames::of(&ask.state);
    let without_stats = ask.flag("disable_stats");
    let named = queues.into_iter().map(|queue| (queue.name.clone(), queue));
    let shown = query.answer(named.collect(), |queue: &QueueView| {
        let shown = shapes::queue(queue, policies.of_queue(queue));
        match without_stats {
            true => basics(&shown),
            false => shown,
        }
    })?;
    ok(&shown)
}

/// A queue without its statistics.
fn basics(queue: &Value) -> Value {
    const KEPT: [&str; 12] = [
        "arguments",
        "auto_delete",
        "durable",
        "exclusive",
        "messages",
        "messages_ready",
        "messages_unacknowledged",
        "name",
        "node",
        "state",
        "type",
        "vhost",
    ];
    let kept = KEPT.map(|key| (key.to_owned(), queue[key].clone()));
    Value::Object(Map::from_iter(kept))
}

/// `GET /api/queues/{vhost}/{name}`
pub(super) async fn one(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    let broker = ask.state.broker();
    let queue = broker.queue(vhost, ask.later_name(1)).await;
    let mut queue = queue.ok_or_else(ManagementRefusal::unknown)?;
    ask.state
        .broker
        .add_queue_rates(std::slice::from_mut(&mut queue));
    let policies = PolicyNames::of(&ask.state);
    let mut shown = shapes::object(shapes::queue(&queue, policies.of_queue(&queue)));
    let wanted = Wanted {
        name: queue.name.clone(),
        ..all(Some(vhost))
    };
    let consumers = broker.consumers(&wanted).await.items;
    let names = connection_names(&ask).await;
    let own = consumers.iter().filter(|one| one.queue == queue.name);
    let own: Vec<_> = own.map(|one| shapes::consumer(one, &names)).collect();
    shown.insert("consumer_details".to_owned(), own.into());
    shown.insert("deliveries".to_owned(), json!([]));
    shown.insert("incoming".to_owned(), json!([]));
    ok(&Value::Object(shown))
}

/// The names of all connections.
pub(super) async fn connection_names(ask: &Ask) -> ConnectionNames {
    let connections = ask.state.broker().connections(&all(None)).await.items;
    ConnectionNames::of(&connections, ask.state.addresses)
}

/// `PUT /api/queues/{vhost}/{name}`
pub(super) async fn declare(ask: Ask) -> ManagementAnswer {
    let vhost = vhost_of(&ask)?;
    let fields = ask.object()?;
    let declare = Declare {
        queue: short(ask.later_name(1))?,
        durable: flag(&fields, "durable")?,
        auto_delete: flag(&fields, "auto_delete")?,
        arguments: arguments(&fields)?,
        ..Declare::default()
    };
    if declare.queue.is_empty() {
        return Err(ManagementRefusal::bad("a queue needs a name"));
    }
    let broker = ask.state.broker();
    let is_new = broker.queue(vhost, ask.later_name(1)).await.is_none();
    let declared = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.carry_out(declare).await
    });
    declared.await?;
    made(is_new)
}

/// The vhost of a change: one that does not exist is named as such.
pub(super) fn vhost_of(ask: &Ask) -> Result<&str, ManagementRefusal> {
    let name = ask.name();
    match ask
        .state
        .broker()
        .vhost_names()
        .iter()
        .any(|one| one == name)
    {
        true => Ok(name),
        false => Err(ManagementRefusal::not_found("vhost_not_found")),
    }
}

/// `DELETE /api/queues/{vhost}/{name}`
pub(super) async fn delete(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    known(&ask, vhost).await?;
    let delete = Delete {
        queue: short(ask.later_name(1))?,
        if_unused: ask.flag("if-unused"),
        if_empty: ask.flag("if-empty"),
        ..Delete::default()
    };
    let broker = ask.state.broker();
    let deleted = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.carry_out(delete).await
    });
    deleted.await?;
    done()
}

/// `DELETE /api/queues/{vhost}/{name}/contents`
pub(super) async fn purge(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    known(&ask, vhost).await?;
    let purge = Purge {
        queue: short(ask.later_name(1))?,
        ..Purge::default()
    };
    let broker = ask.state.broker();
    let purged = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.carry_out(purge).await
    });
    purged.await?;
    done()
}

/// That the queue of a path is there.
pub(super) async fn known(ask: &Ask, vhost: &str) -> Result<(), ManagementRefusal> {
    let queue = ask.state.broker().queue(vhost, ask.later_name(1)).await;
    queue.map(drop).ok_or_else(ManagementRefusal::unknown)
}
