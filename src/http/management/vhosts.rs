//! Virtual hosts, which are set in the configuration.

use serde_json::Value;

use super::{
    answer::{ManagementAnswer, ManagementRefusal, done, ok},
    ask::{Ask, UserTag},
    page::PageQuery,
    shapes,
};

/// Why a vhost is neither made nor deleted.
const CONFIGURED: &str =
    "virtual hosts are set in the configuration: change broker.vhosts and restart";

/// `GET /api/vhosts`
pub(super) async fn list(ask: Ask) -> ManagementAnswer {
    let query = PageQuery::read(&ask.query)?;
    let overview = ask.state.broker.totals().await;
    let mut vhosts = overview.vhosts;
    vhosts.retain(|vhost| ask.sees(&vhost.name));
    vhosts.sort_by(|one, other| one.name.cmp(&other.name));
    let rates = if vhosts.len() == 1 {
        overview.rates
    } else {
        Default::default()
    };
    let named = vhosts.into_iter().map(|vhost| (vhost.name.clone(), vhost));
    ok(&query.answer(named.collect(), |vhost| shapes::vhost(vhost, rates))?)
}

/// `GET /api/vhosts/{vhost}`
pub(super) async fn one(ask: Ask) -> ManagementAnswer {
    let name = ask.vhost()?;
    let overview = ask.state.broker.totals().await;
    let found = overview.vhosts.iter().find(|vhost| vhost.name == name);
    let found = found.ok_or_else(ManagementRefusal::unknown)?;
    let shown: Value = shapes::vhost(found, Default::default());
    ok(&shown)
}

/// `PUT /api/vhosts/{vhost}`: one that exists stays as it is.
pub(super) async fn put(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let names = ask.state.broker().vhost_names();
    match names.iter().any(|name| name == ask.name()) {
        true => done(),
        false => Err(ManagementRefusal::bad(CONFIGURED)),
    }
}

/// `DELETE /api/vhosts/{vhost}`
pub(super) async fn delete(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    ask.vhost()?;
    Err(ManagementRefusal::bad(CONFIGURED))
}
