//! Connections, channels and consumers: listed; connections are closed.

use serde_json::Value;

use super::{
    answer::{ManagementAnswer, ManagementRefusal, done, ok},
    ask::{Ask, UserTag},
    names,
    page::PageQuery,
    queues::{all, connection_names},
    shapes::{self, ConnectionNames},
};
use crate::broker::{
    server::ConnectionView,
    vhost::{ChannelView, ConsumerView},
};

/// Why a connection is closed, where the request does not say it.
const REASON: &str = "Closed via management plugin";
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// The connections that a user sees: those of its own, or all.
async fn seen(ask: &Ask, vhost: Option<&str>) -> Vec<(String, ConnectionView)> {
    let connections = ask.state.broker().connections(&all(vhost)).await.items;
    let sees_all = ask.has(UserTag::Monitoring);
    let own = connections.into_iter();
    let own = own.filter(|one| sees_all || one.user == ask.user.name());
    let named = own.map(|one| (names::connection(&one, ask.state.addresses), one));
    named.collect()
}

async fn listed(ask: &Ask, vhost: Option<&str>) -> ManagementAnswer {
    let query = PageQuery::read(&ask.query)?;
    let addresses = ask.state.addresses;
    let connections = seen(ask, vhost).await;
    ok(&query.answer(connections, |view| shapes::connection(view, addresses))?)
}

/// `GET /api/connections`
pub(super) async fn list(ask: Ask) -> ManagementAnswer {
    listed(&ask, None).await
}

/// `GET /api/vhosts/{vhost}/connections`
pub(super) async fn list_of_vhost(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    listed(&ask, Some(vhost)).await
}

/// The connection that a path names.
async fn of_path(ask: &Ask) -> Result<ConnectionView, ManagementRefusal> {
    let name = ask.name();
    let connections = seen(ask, None).await.into_iter();
    let found = connections.into_iter().find(|(known, _)| known == name);
    let found = found.map(|(_, view)| view);
    found.ok_or_else(ManagementRefusal::unknown)
}

/// `GET /api/connections/{name}`
pub(super) async fn one(ask: Ask) -> ManagementAnswer {
    let connection = of_path(&ask).await?;
    ok(&shapes::connection(&connection, ask.state.addresses))
}

/// `DELETE /api/connections/{name}`: an administrator closes any, others their own.
pub(super) async fn close(ask: Ask) -> ManagementAnswer {
    let connection = of_path(&ask).await?;
    if connection.user != ask.user.name() {
        ask.needs(UserTag::Administrator)?;
    }
    if connection.peer.is_empty() {
        let reason = "a connection of the daemon itself cannot be closed";
        return Err(ManagementRefusal::bad(reason));
    }
    let reason = ask.headers.get("x-reason");
    let reason = reason.and_then(|reason| reason.to_str().ok());
    let reason = reason.filter(|reason| !reason.is_empty() && reason.len() <= REASON_BYTES_MAX);
    let reason = reason.unwrap_or(REASON);
    tracing::info!(
        connection.id = connection.id,
        "connection {} is closed by user \"{}\" over the management API: {reason}",
        connection.id,
        ask.user.name()
    );
    // It may have closed by itself since.
    ask.state.broker().close_connection(connection.id, reason);
    done()
}

/// The channels that a user sees, each with its name.
async fn channels(
    ask: &Ask,
    vhost: Option<&str>,
    names: &ConnectionNames,
) -> Vec<(String, ChannelView)> {
    let sees_all = ask.has(UserTag::Monitoring);
    let channels = ask.state.broker().channels(&all(vhost)).await.items;
    let seen = channels.into_iter();
    let seen = seen.filter(|one| sees_all || names.user(one.connection) == ask.user.name());
    let named = seen.map(|one| {
        let connection = names.name(one.connection);
        (names::channel(connection, one.number), one)
    });
    named.collect()
}

async fn listed_channels(ask: &Ask, vhost: Option<&str>) -> ManagementAnswer {
    let query = PageQuery::read(&ask.query)?;
    let names = connection_names(ask).await;
    let channels = channels(ask, vhost, &names).await;
    ok(&query.answer(channels, |view| shapes::channel(view, &names))?)
}

/// `GET /api/channels`
pub(super) async fn list_channels(ask: Ask) -> ManagementAnswer {
    listed_channels(&ask, None).await
}

/// `GET /api/vhosts/{vhost}/channels`
pub(super) async fn channels_of_vhost(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    listed_channels(&ask, Some(vhost)).await
}

/// `GET /api/connections/{name}/channels`
pub(super) async fn channels_of_one(ask: Ask) -> ManagementAnswer {
    let connection = of_path(&ask).await?;
    let names = connection_names(&ask).await;
    let channels = channels(&ask, None, &names).await.into_iter();
    let own = channels.filter(|(_, view)| view.connection == connection.id);
    let shown = own.map(|(_, view)| shapes::channel(&view, &names));
    ok(&shown.collect::<Value>())
}

/// `GET /api/channels/{name}`
pub(super) async fn one_channel(ask: Ask) -> ManagementAnswer {
    let names = connection_names(&ask).await;
    let mut channels = channels(&ask, None, &names).await.into_iter();
    let found = channels.find(|(name, _)| name == ask.name());
    let (_, view) = found.ok_or_else(ManagementRefusal::unknown)?;
    let consumers = ask.state.broker().consumers(&all(Some(&view.vhost))).await;
    let own = consumers.items.iter();
    let own = own.filter(|one| one.connection == view.connection && one.channel == view.number);
    let own: Vec<_> = own.map(|one| shapes::consumer(one, &names)).collect();
    let mut shown = shapes::object(shapes::channel(&view, &names));
    shown.insert("consumer_details".to_owned(), own.into());
    for key in ["deliveries", "publishes"] {
        shown.insert(key.to_owned(), Value::Array(Vec::new()));
    }
    ok(&Value::Object(shown))
}

async fn consumers(ask: &Ask, vhost: Option<&str>) -> ManagementAnswer {
    let query = PageQuery::read(&ask.query)?;
    let names = connection_names(ask).await;
    let mut consumers = ask.state.broker().consumers(&all(vhost)).await.items;
    consumers.retain(|one| ask.sees(&one.vhost));
    let named = consumers
        .into_iter()
        .map(|one| (one.consumer_tag.clone(), one));
    let shown = |view: &ConsumerView| shapes::consumer(view, &names);
    ok(&query.answer(named.collect(), shown)?)
}

/// `GET /api/consumers`
pub(super) async fn list_consumers(ask: Ask) -> ManagementAnswer {
    consumers(&ask, None).await
}

/// `GET /api/consumers/{vhost}`
pub(super) async fn consumers_of_vhost(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    consumers(&ask, Some(vhost)).await
}
