//! Methods and whole messages of a client in the same process: without frames.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::{Context, Session, blame, channel::SessionChannel, content::Incoming};
use crate::broker::wire::{Method, MethodId, Properties, method::basic};

impl Session {
    /// Opens a channel.
    pub fn open_local(&mut self, number: u16, context: &mut Context<'_>) {
        let (connection, session_bytes) = (self.identity.connection, SessionChannel::BYTES);
        let opened = context
            .vhost
            .open_channel(&self.peer, connection, number, session_bytes);
        match opened {
            Ok(id) => drop(
                self.channels
                    .insert(number, Box::new(SessionChannel::new(id))),
            ),
            Err(exception) => self.raise(0, &exception, context),
        }
    }

    /// Carries out a method of an open channel. The answer, or `channel.close`, goes into the outbox.
    pub fn on_local_method(&mut self, number: u16, method: Method, context: &mut Context<'_>) {
        self.before_local(context);
        let id = method.id();
        if let Err(exception) = self.on_method(number, method, context) {
            self.raise(number, &blame(exception, id), context);
        }
    }

    /// Publishes a message over an open channel.
    pub fn on_local_publish(
        &mut self,
        number: u16,
        publish: basic::Publish,
        properties: Properties,
        body: Bytes,
        context: &mut Context<'_>,
    ) {
        context.vhost.charge_frame(body.len());
        self.before_local(context);
        if self
            .channels
            .get(&number)
            .is_none_or(|channel| channel.closing)
        {
            return;
        }
        let incoming = Incoming::whole(publish, properties, body);
        if let Err(exception) = self.publish(number, incoming, context) {
            let exception = blame(exception, MethodId::BASIC_PUBLISH);
            self.raise(number, &exception, context);
        }
    }

    fn before_local(&mut self, context: &mut Context<'_>) {
        if self.peer.channel_closed.load(Relaxed) {
            self.note_closed(context);
        }
    }
}
