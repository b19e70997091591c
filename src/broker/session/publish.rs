//! `basic.publish`: checked, routed, confirmed or returned.

use super::{Scene, Session, channel::Mode, content::Incoming};
use crate::broker::{
    auth::Access,
    exception::Exception,
    message::Draft,
    queue::arguments::LIFE_MS_MAX,
    vhost::{Published, carbon_copies},
    wire::{Properties, method::basic},
};

impl Session {
    pub(super) fn begin_publish(
        &mut self,
        number: u16,
        publish: basic::Publish,
        scene: &Scene<'_>,
    ) -> Result<(), Exception> {
        self.account(scene);
        self.channel(number)?.incoming = Some(Box::new(Incoming::new(publish)));
        self.unfinished.push(number);
        Ok(())
    }

    /// A publish is complete.
    pub(super) fn publish(
        &mut self,
        number: u16,
        incoming: Incoming,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        self.published = true;
        let (publish, properties, body, body_owned) = incoming.into_body(scene.vhost.memory());
        if publish.immediate {
            return Err(Exception::not_implemented("immediate=true"));
        }
        self.may_exchange(Access::Write, &publish.exchange)?;
        scene.vhost.check_publish(&publish.exchange)?;
        let mut draft = Draft::new(publish.exchange, publish.routing_key, properties, body);
        draft.body_owned = body_owned;
        if draft.properties != Properties::NONE {
            self.read_properties(number, &mut draft, scene)?;
        }
        let tx_bytes = self.limits.tx_bytes;
        let channel = self.channel(number)?;
        match &mut channel.mode {
            Mode::Tx(tx) => tx.hold(draft, publish.mandatory, tx_bytes, scene.vhost.memory()),
            Mode::Confirm(confirms) => {
                let sequence = confirms.next();
                let published = self.route(number, &mut draft, publish.mandatory, scene)?;
                self.confirm(number, sequence, published)
            }
            Mode::Plain => self
                .route(number, &mut draft, publish.mandatory, scene)
                .map(drop),
        }
    }

    /// Publishes a message; sends it back if that is wanted.
    pub(super) fn route(
        &mut self,
        number: u16,
        draft: &mut Draft,
        mandatory: bool,
        scene: &mut Scene<'_>,
    ) -> Result<Published, Exception> {
        let published = scene
            .vhost
            .publish(draft, &self.origin, &mut self.routed, scene.now)?;
        if published == Published::Unroutable
            && mandatory
            && let Some(channel) = self.channels.get(&number)
        {
            scene.vhost.send_back(channel.id, draft);
        }
        Ok(published)
    }

    fn confirm(
        &mut self,
        number: u16,
        sequence: u64,
        published: Published,
    ) -> Result<(), Exception> {
        let Some(channel) = self.channels.get_mut(&number) else {
            return Ok(());
        };
        if published == Published::Refused {
            channel.send_confirms(&self.peer, number);
            let nack = basic::Nack {
                delivery_tag: sequence,
                multiple: false,
                requeue: true,
            };
            self.answer(number, &nack);
            return Ok(());
        }
        if let Mode::Confirm(confirms) = &mut channel.mode
            && confirms.hold(sequence)
        {
            self.unconfirmed.push(number);
        }
        Ok(())
    }

    /// Reads the properties that mean something to a broker.
    fn read_properties(
        &self,
        number: u16,
        draft: &mut Draft,
        scene: &Scene<'_>,
    ) -> Result<(), Exception> {
        if draft.properties.reply_to().is_some()
            && let Some(channel) = self.channels.get(&number)
        {
            scene.vhost.name_requester(channel.id, draft)?;
        }
        let properties = &draft.properties;
        if let Some(user) = properties.user_id()
            && !self.identity.grant.may_publish_as(user)
        {
            return Err(Exception::precondition(format!(
                "user_id property set to '{}' but authenticated user was '{}'",
                String::from_utf8_lossy(user),
                self.identity.grant.user()
            )));
        }
        draft.ttl = properties.expiration().map(parse_expiration).transpose()?;
        draft.priority = properties.priority().unwrap_or(0);
        carbon_copies(draft)?;
        draft.persistent = match draft.properties.delivery_mode() {
            None | Some(1) => false,
            Some(2) => true,
            Some(other) => {
                let text = format!("invalid message: {{delivery_mode_unknown,{other}}}");
                return Err(Exception::precondition(text));
            }
        };
        Ok(())
    }
}

/// A number of milliseconds as text.
fn parse_expiration(text: &[u8]) -> Result<u64, Exception> {
    let invalid = |why: &str| {
        let shown = String::from_utf8_lossy(text);
        Exception::precondition(format!("invalid expiration '{shown}': {why}"))
    };
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let count = unsigned.iter().take_while(|byte| byte.is_ascii_digit());
    let (digits, rest) = unsigned.split_at(count.count());
    if digits.is_empty() {
        return Err(invalid("no_integer"));
    }
    if !rest.is_empty() {
        let rest = String::from_utf8_lossy(rest);
        return Err(invalid(&format!("{{leftover_string,\"{rest}\"}}")));
    }
    let digits = String::from_utf8_lossy(digits);
    let digits = digits.trim_start_matches('0');
    match (digits, negative) {
        ("", _) => Ok(0),
        (_, true) => Err(invalid(&format!("{{value_negative,-{digits}}}"))),
        (_, false) => match digits.parse() {
            Ok(ms) if ms <= LIFE_MS_MAX => Ok(ms),
            _ => Err(invalid(&format!("{{value_too_large,{digits}}}"))),
        },
    }
}

#[cfg(test)]
mod tests;
