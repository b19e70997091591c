//! Exchanges: listed, declared, deleted.

use serde_json::{Value, json};

use super::{
    answer::{ManagementAnswer, ManagementRefusal, done, made, ok},
    ask::{Ask, arguments, flag, required, short, text},
    page::PageQuery,
    queues::{all, vhost_of},
    shapes,
};
use crate::broker::{
    listing::Wanted,
    vhost::ExchangeView,
    wire::method::exchange::{Declare, Delete},
};

/// `GET /api/exchanges`
pub(super) async fn list(ask: Ask) -> ManagementAnswer {
    listed(&ask, None).await
}

/// `GET /api/exchanges/{vhost}`
pub(super) async fn list_of_vhost(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    listed(&ask, Some(vhost)).await
}

async fn listed(ask: &Ask, vhost: Option<&str>) -> ManagementAnswer {
    let query = PageQuery::read(&ask.query)?;
    let mut exchanges = ask.state.broker().exchanges(&all(vhost)).await.items;
    exchanges.retain(|exchange| ask.sees(&exchange.vhost));
    exchanges.sort_by(|one, other| (&one.vhost, &one.name).cmp(&(&other.vhost, &other.name)));
    let named = exchanges.into_iter();
    let named = named.map(|exchange| (exchange.name.clone(), exchange));
    ok(&query.answer(named.collect(), shapes::exchange)?)
}

/// The name in a path: the default exchange is `amq.default` there.
pub(super) fn named(text: &str) -> &str {
    match text {
        "amq.default" => "",
        name => name,
    }
}

/// One exchange.
pub(super) async fn find(ask: &Ask, vhost: &str, name: &str) -> Option<ExchangeView> {
    let wanted = Wanted {
        name: name.to_owned(),
        ..all(Some(vhost))
    };
    let found = ask.state.broker().exchanges(&wanted).await.items;
    found.into_iter().find(|one| one.name == name)
}

/// `GET /api/exchanges/{vhost}/{name}`
pub(super) async fn one(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    let exchange = find(&ask, vhost, named(ask.later_name(1))).await;
    let exchange = exchange.ok_or_else(ManagementRefusal::unknown)?;
    let mut shown = shapes::object(shapes::exchange(&exchange));
    shown.insert("incoming".to_owned(), json!([]));
    shown.insert("outgoing".to_owned(), json!([]));
    ok(&Value::Object(shown))
}

/// `PUT /api/exchanges/{vhost}/{name}`
pub(super) async fn declare(ask: Ask) -> ManagementAnswer {
    let vhost = vhost_of(&ask)?;
    let fields = ask.object()?;
    required(&fields, &["type"])?;
    let name = named(ask.later_name(1));
    let declare = Declare {
        exchange: short(name)?,
        kind: short(text(&fields, "type")?.unwrap_or_default())?,
        durable: flag(&fields, "durable")?,
        auto_delete: flag(&fields, "auto_delete")?,
        internal: flag(&fields, "internal")?,
        arguments: arguments(&fields)?,
        ..Declare::default()
    };
    let is_new = find(&ask, vhost, name).await.is_none();
    let broker = ask.state.broker();
    let declared = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.carry_out(declare).await
    });
    declared.await?;
    made(is_new)
}

/// `DELETE /api/exchanges/{vhost}/{name}`
pub(super) async fn delete(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    let name = named(ask.later_name(1));
    let known = find(&ask, vhost, name).await;
    known.ok_or_else(ManagementRefusal::unknown)?;
    let delete = Delete {
        exchange: short(name)?,
        if_unused: ask.flag("if-unused"),
        ..Delete::default()
    };
    let broker = ask.state.broker();
    let deleted = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.carry_out(delete).await
    });
    deleted.await?;
    done()
}
