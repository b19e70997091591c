//! Direct reply-to: a reply goes from the publisher straight to the requester's channel.

use super::{Declared, Vhost, note};
use crate::broker::{
    channel::{ChannelId, ReplyConsumer},
    exception::Exception,
    message::InboundMessage,
    outbox::{Deliver, Put},
    slab::Id,
    wire::{ReplyCode, ShortStr, method::basic},
};

/// The pseudo-queue that requesters consume from and name as reply-to.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// The prefix of the names of actual requesters.
pub const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Digits of the channel's key, in hexadecimal, in front of the secret part of a token.
const ID_LEN: usize = 16;

impl Vhost {
    /// `basic.consume` of the pseudo-queue. `secret` makes the name unguessable.
    pub fn consume_replies(
        &mut self,
        id: ChannelId,
        tag: &ShortStr,
        no_ack: bool,
        secret: u128,
        nowait: bool,
    ) -> Result<ShortStr, Exception> {
        self.check_consumer_tag(id, tag)?;
        if !no_ack {
            return Err(Exception::precondition("reply consumer cannot acknowledge"));
        }
        let tag = match tag.is_empty() {
            true => self.random_name("amq.ctag-"),
            false => tag.detached(),
        };
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(tag);
        };
        if channel.replies.is_some() {
            return Err(Exception::precondition("reply consumer already set"));
        }
        let token = ShortStr::truncated(&format!("{:016x}{secret:032x}", id.as_u64()));
        channel.replies = Some(ReplyConsumer {
            tag: tag.clone(),
            token,
        });
        let (peer, number) = (channel.peer.clone(), channel.number);
        if !nowait {
            self.send(
                &peer,
                &basic::ConsumeOk {
                    consumer_tag: tag.clone(),
                },
                number,
            );
        }
        Ok(tag)
    }

    /// Names the actual requester in a request that names the pseudo-queue.
    pub fn name_requester(
        &self,
        id: ChannelId,
        message: &mut InboundMessage,
    ) -> Result<(), Exception> {
        if message.properties.reply_to() != Some(REPLY_TO.as_bytes()) {
            return Ok(());
        }
        let replies = self
            .channels
            .get(id)
            .and_then(|channel| channel.replies.as_ref());
        let Some(replies) = replies else {
            return Err(Exception::precondition(
                "fast reply consumer does not exist",
            ));
        };
        let name = ShortStr::truncated(&format!("{REPLY_TO_PREFIX}{}", replies.token));
        message.properties = message.properties.with_reply_to(&name);
        Ok(())
    }

    /// Delivers a direct reply. True when the message is a reply to an existing requester.
    pub(super) fn reply(&mut self, message: &InboundMessage) -> Result<bool, Exception> {
        let Some(token) = message.routing_key.strip_prefix(REPLY_TO_PREFIX.as_bytes()) else {
            return Ok(false);
        };
        let Some(id) = self.requester(token) else {
            return Ok(false);
        };
        let Self {
            channels,
            dirty,
            counters,
            ..
        } = self;
        let Some(channel) = channels.get_mut(id) else {
            return Ok(false);
        };
        let Some(replies) = &channel.replies else {
            return Ok(false);
        };
        let peer = &channel.peer;
        let put = peer.deliver(&Deliver {
            channel: channel.number,
            consumer_tag: &replies.tag,
            delivery_tag: channel.peek_tag(),
            redelivered: false,
            content: message.content(),
            frame_max: peer.frame_max(),
        });
        if put == Put::Full {
            // Replies are never queued: a requester whose outbox is full loses them.
            counters.replies_lost += 1;
            return Ok(true);
        }
        note(dirty, peer, put);
        channel.next_tag();
        counters.replies += 1;
        Ok(true)
    }

    /// `queue.declare` of a requester's name checks that the requester still exists.
    pub(super) fn check_replies(
        &self,
        name: &ShortStr,
        token: &[u8],
    ) -> Result<Declared, Exception> {
        if self.requester(token).is_none() {
            return Err(Exception::new(
                ReplyCode::NotFound,
                format!("no {}", self.queue_label(name)),
            ));
        }
        Ok(Declared {
            name: name.detached(),
            messages: 0,
            consumers: 1,
            new: false,
        })
    }

    fn requester(&self, token: &[u8]) -> Option<ChannelId> {
        let number = std::str::from_utf8(token.get(..ID_LEN)?).ok()?;
        let id = Id::from_u64(u64::from_str_radix(number, 16).ok()?);
        let replies = self.channels.get(id)?.replies.as_ref()?;
        (replies.token.as_bytes() == token).then_some(id)
    }
}
