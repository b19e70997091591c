//! What the client of a session may use: judged before it is carried out.

use super::Session;
use crate::broker::{
    auth::{Access, Resource},
    exception::Exception,
    vhost::Vhost,
    wire::ShortStr,
};

impl Session {
    pub(super) fn may_queue(&self, access: Access, name: &ShortStr) -> Result<(), Exception> {
        let checked = self.identity.grant.check(access, Resource::Queue, name);
        checked.map_err(|denied| Exception::access_refused(denied.to_string()))
    }

    pub(super) fn may_exchange(&self, access: Access, name: &ShortStr) -> Result<(), Exception> {
        let checked = self.identity.grant.check(access, Resource::Exchange, name);
        checked.map_err(|denied| Exception::access_refused(denied.to_string()))
    }

    /// Checks routing keys, if the exchange is a topic exchange whose topics are limited for this user.
    pub(super) fn may_topics<'k>(
        &self,
        access: Access,
        exchange: &ShortStr,
        keys: impl IntoIterator<Item = &'k ShortStr>,
        vhost: &Vhost,
    ) -> Result<(), Exception> {
        let grant = &self.identity.grant;
        if !grant.limits_topics_of(exchange) || !vhost.is_topic_exchange(exchange) {
            return Ok(());
        }
        for key in keys {
            let checked = grant.check_topic(access, exchange, key);
            checked.map_err(|denied| Exception::access_refused(denied.to_string()))?;
        }
        Ok(())
    }
}
