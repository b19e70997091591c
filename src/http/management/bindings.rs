//! Bindings: listed, made, removed. In a path a binding has its two ends and its key of properties.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{
    answer::{ManagementAnswer, ManagementRefusal, done, ok},
    ask::{Ask, arguments, short, text},
    exchanges::{find, named},
    names,
    page::PageQuery,
    queues::{all, known, vhost_of},
    shapes,
};
use crate::broker::{
    listing::Wanted,
    vhost::{ArgumentsView, BindingView},
    wire::{
        Method, Table,
        method::{exchange, queue},
    },
};

/// The bindings of a vhost, or of all that the user sees, without a name or with this one at either end. With those of
/// each queue to the default exchange.
async fn found(ask: &Ask, vhost: Option<&str>, name: &str) -> Vec<BindingView> {
    let wanted = Wanted {
        name: name.to_owned(),
        ..all(vhost)
    };
    let broker = ask.state.broker();
    let queues = broker.queues(&wanted).await.items;
    let mut bindings = broker.bindings(&wanted).await.items;
    bindings.extend(queues.into_iter().map(|queue| BindingView {
        vhost: queue.vhost,
        source: String::new(),
        destination: queue.name.clone(),
        destination_type: "queue",
        routing_key: queue.name,
        arguments: ArgumentsView(Table::EMPTY),
    }));
    bindings.retain(|binding| ask.sees(&binding.vhost));
    bindings.sort_by(|one, other| order(one).cmp(&order(other)));
    bindings
}

/// What bindings are sorted by.
fn order(of: &BindingView) -> [&str; 4] {
    [&of.vhost, &of.source, &of.destination, &of.routing_key]
}

fn shown(ask: &Ask, bindings: Vec<BindingView>) -> ManagementAnswer {
    let query = PageQuery::read(&ask.query)?;
    let bindings = bindings.into_iter();
    let named = bindings.map(|binding| (binding.source.clone(), binding));
    ok(&query.answer(named.collect(), shapes::binding)?)
}

/// `GET /api/bindings`
pub(super) async fn list(ask: Ask) -> ManagementAnswer {
    let bindings = found(&ask, None, "").await;
    shown(&ask, bindings)
}

/// `GET /api/bindings/{vhost}`
pub(super) async fn list_of_vhost(ask: Ask) -> ManagementAnswer {
    let bindings = found(&ask, Some(ask.vhost()?), "").await;
    shown(&ask, bindings)
}

/// `GET /api/queues/{vhost}/{name}/bindings`
pub(super) async fn of_queue(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    known(&ask, vhost).await?;
    let name = ask.later_name(1);
    let mut bindings = found(&ask, Some(vhost), name).await;
    bindings.retain(|one| one.destination == name && one.destination_type == "queue");
    shown(&ask, bindings)
}

/// `GET /api/exchanges/{vhost}/{name}/bindings/source`
pub(super) async fn from_exchange(ask: Ask) -> ManagementAnswer {
    let (vhost, name) = (ask.vhost()?, named(ask.later_name(1)));
    let known = find(&ask, vhost, name).await;
    known.ok_or_else(ManagementRefusal::unknown)?;
    let mut bindings = found(&ask, Some(vhost), name).await;
    bindings.retain(|one| one.source == name);
    shown(&ask, bindings)
}

/// `GET /api/exchanges/{vhost}/{name}/bindings/destination`
pub(super) async fn to_exchange(ask: Ask) -> ManagementAnswer {
    let (vhost, name) = (ask.vhost()?, named(ask.later_name(1)));
    let known = find(&ask, vhost, name).await;
    known.ok_or_else(ManagementRefusal::unknown)?;
    let mut bindings = found(&ask, Some(vhost), name).await;
    bindings.retain(|one| one.destination == name && one.destination_type == "exchange");
    shown(&ask, bindings)
}

/// The bindings between the two ends that a path names.
async fn between(ask: &Ask, kind: &str) -> Result<Vec<BindingView>, ManagementRefusal> {
    let vhost = ask.vhost()?;
    let (source, destination) = (named(ask.later_name(1)), ask.later_name(2));
    let mut bindings = found(ask, Some(vhost), destination).await;
    bindings.retain(|one| {
        one.source == source && one.destination == destination && one.destination_type == kind
    });
    Ok(bindings)
}

/// `GET /api/bindings/{vhost}/e/{source}/q/{queue}`
pub(super) async fn to_queue(ask: Ask) -> ManagementAnswer {
    let bindings = between(&ask, "queue").await?;
    shown(&ask, bindings)
}

/// `GET /api/bindings/{vhost}/e/{source}/e/{exchange}`
pub(super) async fn between_exchanges(ask: Ask) -> ManagementAnswer {
    let bindings = between(&ask, "exchange").await?;
    shown(&ask, bindings)
}

/// `POST /api/bindings/{vhost}/e/{source}/q/{queue}`
pub(super) async fn bind_queue(ask: Ask) -> ManagementAnswer {
    bind(&ask, "queue").await
}

/// `POST /api/bindings/{vhost}/e/{source}/e/{exchange}`
pub(super) async fn bind_exchange(ask: Ask) -> ManagementAnswer {
    bind(&ask, "exchange").await
}

async fn bind(ask: &Ask, kind: &'static str) -> ManagementAnswer {
    let vhost = vhost_of(ask)?;
    let fields = ask.object()?;
    let (source, destination) = (named(ask.later_name(1)), ask.later_name(2));
    let routing_key = text(&fields, "routing_key")?.unwrap_or_default();
    let binding = BindingView {
        vhost: vhost.to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        destination_type: kind,
        routing_key: routing_key.to_owned(),
        arguments: ArgumentsView(arguments(&fields)?),
    };
    let (source, destination) = (short(source)?, short(destination)?);
    let (routing_key, arguments) = (short(routing_key)?, binding.arguments.0.clone());
    let method: Method = match kind {
        "queue" => queue::Bind {
            queue: destination,
            exchange: source,
            routing_key,
            arguments,
            ..queue::Bind::default()
        }
        .into(),
        _ => exchange::Bind {
            destination,
            source,
            routing_key,
            arguments,
            ..exchange::Bind::default()
        }
        .into(),
    };
    let broker = ask.state.broker();
    let bound = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.carry_out(method).await
    });
    bound.await?;
    let location = format!("{}/{}", binding.destination, names::binding(&binding));
    let mut response: Response = StatusCode::CREATED.into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The binding that a path names.
async fn of_path(ask: &Ask, kind: &str) -> Result<BindingView, ManagementRefusal> {
    let bindings = between(ask, kind).await?;
    let key = ask.later_name(3);
    let found = bindings.into_iter().find(|one| names::binding(one) == key);
    found.ok_or_else(ManagementRefusal::unknown)
}

/// `GET /api/bindings/{vhost}/e/{source}/q/{queue}/{key}`
pub(super) async fn one_to_queue(ask: Ask) -> ManagementAnswer {
    let binding: Value = shapes::binding(&of_path(&ask, "queue").await?);
    ok(&binding)
}

/// `GET /api/bindings/{vhost}/e/{source}/e/{exchange}/{key}`
pub(super) async fn one_between_exchanges(ask: Ask) -> ManagementAnswer {
    let binding: Value = shapes::binding(&of_path(&ask, "exchange").await?);
    ok(&binding)
}

/// `DELETE /api/bindings/{vhost}/e/{source}/q/{queue}/{key}`
pub(super) async fn unbind_queue(ask: Ask) -> ManagementAnswer {
    let binding = of_path(&ask, "queue").await?;
    let method = queue::Unbind {
        queue: short(&binding.destination)?,
        exchange: short(&binding.source)?,
        routing_key: short(&binding.routing_key)?,
        arguments: binding.arguments.0,
    };
    unbind(&ask, method.into()).await
}

/// `DELETE /api/bindings/{vhost}/e/{source}/e/{exchange}/{key}`
pub(super) async fn unbind_exchange(ask: Ask) -> ManagementAnswer {
    let binding = of_path(&ask, "exchange").await?;
    let method = exchange::Unbind {
        destination: short(&binding.destination)?,
        source: short(&binding.source)?,
        routing_key: short(&binding.routing_key)?,
        arguments: binding.arguments.0,
        ..exchange::Unbind::default()
    };
    unbind(&ask, method.into()).await
}

async fn unbind(ask: &Ask, method: Method) -> ManagementAnswer {
    let broker = ask.state.broker();
    let unbound = broker.operate(&ask.user, ask.vhost()?, async move |mut channel| {
        channel.carry_out(method).await
    });
    unbound.await?;
    done()
}
