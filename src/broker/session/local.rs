//! Methods and whole messages of a client in the same process: without frames.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::{Scene, Session, blame, channel::SessionChannel, content::Incoming};
use crate::broker::wire::{Method, MethodId, Properties, method::basic};

impl Session {
    /// Opens a channel.
    pub fn open_local(&mut self, number: u16, scene: &mut Scene<'_>) {
        let (connection, session_bytes) = (self.identity.connection, SessionChannel::BYTES);
        let opened = scene
            .vhost
            .open_channel(&self.peer, connection, number, session_bytes);
        match opened {
            Ok(id) => drop(self.channels.insert(number, SessionChannel::new(id))),
            Err(exception) => self.raise(0, &exception, scene),
        }
    }

    /// Carries out a method of an open channel. The answer, or `channel.close`, goes into the outbox.
    pub fn on_local_method(&mut self, number: u16, method: Method, scene: &mut Scene<'_>) {
        self.before_local(scene);
        let id = method.id();
        if let Err(exception) = self.on_method(number, method, scene) {
            self.raise(number, &blame(exception, id), scene);
        }
    }

    /// Publishes a message over an open channel.
    pub fn on_local_publish(
        &mut self,
        number: u16,
        publish: basic::Publish,
        properties: Properties,
        body: Bytes,
        scene: &mut Scene<'_>,
    ) {
        self.before_local(scene);
        let incoming = Incoming::whole(publish, properties, body);
        if let Err(exception) = self.publish(number, incoming, scene) {
            let exception = blame(exception, MethodId::BASIC_PUBLISH);
            self.raise(number, &exception, scene);
        }
    }

    fn before_local(&mut self, scene: &Scene<'_>) {
        if self.peer.channel_closed.load(Relaxed) {
            self.note_closed(scene);
        }
    }
}
