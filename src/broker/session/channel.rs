//! A channel's protocol state: content that arrives, confirms, a transaction.

use std::sync::atomic::Ordering::Relaxed;

use super::{Context, Session, content::Incoming, tx::Transaction};
use crate::broker::{
    channel::ChannelId,
    exception::Exception,
    memory::map_entry,
    peer::Peer,
    wire::{ShortStr, method::basic},
};

/// A channel as its client's frames see it.
#[derive(Debug)]
pub(super) struct SessionChannel {
    /// Its receiving side.
    pub(super) id: ChannelId,
    /// We have sent `channel.close` and wait for the answer.
    pub(super) closing: bool,
    /// The content that is arriving.
    pub(super) incoming: Option<Box<Incoming>>,
    /// The mode of its publishes.
    pub(super) mode: PublishMode,
    /// The queue that the empty name refers to.
    pub(super) last_queue: ShortStr,
}

/// The mode of a channel's publishes.
#[derive(Debug)]
pub(super) enum PublishMode {
    /// Just that.
    Plain,
    /// Every publish is confirmed.
    Confirm(Confirms),
    /// Nothing happens before a commit.
    Tx(Transaction),
}

/// Confirms that wait for the end of the batch, so that one frame confirms many messages.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    last: u64,
    /// The first and the last publish kept since the last confirm was sent.
    unsent: Option<(u64, u64)>,
}

impl SessionChannel {
    /// Its memory in the session's table.
    pub(super) const BYTES: usize = map_entry::<u16, Self>();

    pub(super) fn new(id: ChannelId) -> Self {
        Self {
            id,
            closing: false,
            incoming: None,
            mode: PublishMode::Plain,
            last_queue: ShortStr::EMPTY,
        }
    }

    pub(super) fn closing(id: ChannelId) -> Self {
        Self {
            closing: true,
            ..Self::new(id)
        }
    }

    /// Sends the confirms that were held back.
    pub(super) fn send_confirms(&mut self, peer: &Peer, number: u16) {
        if let PublishMode::Confirm(confirms) = &mut self.mode
            && let Some((first, last)) = confirms.unsent.take()
        {
            let ack = basic::Ack {
                delivery_tag: last,
                multiple: first != last,
            };
            peer.outbox.put(&ack, number);
        }
    }
}

impl Confirms {
    /// The number of the next publish.
    pub(super) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Holds back a confirm; whether it is the first that is held back.
    pub(super) fn hold(&mut self, number: u64) -> bool {
        match &mut self.unsent {
            Some((_, last)) => {
                *last = number;
                false
            }
            None => {
                self.unsent = Some((number, number));
                true
            }
        }
    }
}

impl Session {
    /// Marks channels as closed that the vhost has closed after a consumer timeout.
    pub(super) fn note_closed(&mut self, context: &mut Context<'_>) {
        self.peer.channel_closed.store(false, Relaxed);
        let mut closed = Vec::new();
        for (number, channel) in &mut self.channels {
            if !channel.closing && !context.vhost.has_channel(channel.id) {
                let closing = SessionChannel::closing(channel.id);
                closed.push(std::mem::replace(&mut **channel, closing));
                let text = format!("a delivery on channel {number} was not settled in time");
                self.raised = Some(Exception::precondition(text).to_string());
            }
        }
        for channel in closed {
            self.close_channel(channel, context);
        }
    }

    /// Has the vhost close a channel, and drops what its transaction has held back.
    pub(super) fn close_channel(&self, channel: SessionChannel, context: &mut Context<'_>) {
        context.vhost.close_channel(channel.id, context.now);
        if let PublishMode::Tx(tx) = channel.mode {
            self.drop_held(tx, context);
        }
    }
}
