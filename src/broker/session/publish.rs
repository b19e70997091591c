//! `basic.publish`: checked, routed, confirmed or returned.

use super::{Context, Session, channel::PublishMode, content::Incoming};
use crate::broker::{
    auth::Access,
    exception::Exception,
    message::InboundMessage,
    queue::arguments::LIFE_MS_MAX,
    vhost::{Published, Publisher, carbon_copies},
    wire::{Properties, method::basic},
};

impl Session {
    pub(super) fn begin_publish(
        &mut self,
        number: u16,
        publish: basic::Publish,
        context: &Context<'_>,
    ) -> Result<(), Exception> {
        self.account(context);
        self.channel(number)?.incoming = Some(Box::new(Incoming::new(publish)));
        self.unfinished.push(number);
        Ok(())
    }

    /// A publish is complete.
    pub(super) fn publish(
        &mut self,
        number: u16,
        incoming: Incoming,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        self.published = true;
        let (publish, properties, body, body_owned) = incoming.into_body(context.vhost.memory());
        if publish.immediate {
            return Err(Exception::not_implemented("immediate=true"));
        }
        self.may_exchange(Access::Write, &publish.exchange)?;
        context.vhost.check_publish(&publish.exchange)?;
        let mut message =
            InboundMessage::new(publish.exchange, publish.routing_key, properties, body);
        message.body_owned = body_owned;
        if message.properties != Properties::NONE {
            self.read_properties(number, &mut message, context)?;
        }
        if self.identity.grant.limits_topics_of(&message.exchange) {
            let keys = std::iter::once(&message.routing_key).chain(&message.extra_keys);
            self.may_topics(Access::Write, &message.exchange, keys, context.vhost)?;
        }
        let tx_bytes = self.limits.tx_bytes;
        let channel = self.channel(number)?;
        match &mut channel.mode {
            PublishMode::Tx(tx) => {
                tx.hold(message, publish.mandatory, tx_bytes, context.vhost.memory())
            }
            mode => {
                let confirm = match mode {
                    PublishMode::Confirm(confirms) => Some(confirms.next()),
                    _ => None,
                };
                let publisher = Publisher {
                    channel: channel.id,
                    connection: self.identity.connection,
                    origin: &self.origin,
                    mandatory: publish.mandatory,
                    confirm,
                };
                let published = context
                    .vhost
                    .publish(&mut message, &publisher, context.now)?;
                if let Some(sequence) = confirm {
                    self.confirm(number, sequence, published);
                }
                Ok(())
            }
        }
    }

    fn confirm(&mut self, number: u16, sequence: u64, published: Published) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        match published {
            Published::Kept | Published::Unroutable => {
                if let PublishMode::Confirm(confirms) = &mut channel.mode
                    && confirms.hold(sequence)
                {
                    self.unconfirmed.push(number);
                }
            }
            Published::Refused => {
                channel.send_confirms(&self.peer, number);
                let nack = basic::Nack {
                    delivery_tag: sequence,
                    multiple: false,
                    requeue: true,
                };
                self.answer(number, &nack);
            }
            // The vhost confirms it, after those before it.
            Published::Deferred => channel.send_confirms(&self.peer, number),
            // Those before it are confirmed at the end of this batch, before it can be durable.
            Published::Held => {}
        }
    }

    /// Reads the properties that mean something to a broker.
    fn read_properties(
        &self,
        number: u16,
        message: &mut InboundMessage,
        context: &Context<'_>,
    ) -> Result<(), Exception> {
        if message.properties.reply_to().is_some()
            && let Some(channel) = self.channels.get(&number)
        {
            context.vhost.name_requester(channel.id, message)?;
        }
        let properties = &message.properties;
        if let Some(user) = properties.user_id()
            && !self.identity.grant.may_publish_as(user)
        {
            return Err(Exception::precondition(format!(
                "user_id property set to '{}' but authenticated user was '{}'",
                String::from_utf8_lossy(user),
                self.identity.grant.user()
            )));
        }
        message.ttl = properties.expiration().map(parse_expiration).transpose()?;
        message.priority = properties.priority().unwrap_or(0);
        carbon_copies(message)?;
        message.persistent = match message.properties.delivery_mode() {
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
