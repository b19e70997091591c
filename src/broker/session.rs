//! The protocol state of one connection after `connection.open`: frames in, answers into its outbox.
//!
//! Every frame is answered by the rules of RabbitMQ's dialect. What a client does wrong becomes an
//! exception on the wire. Nothing here waits.

mod basic;
mod channel;
mod content;
mod exchange;
mod local;
mod methods;
mod publish;
mod queue;
mod rights;
mod tx;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use self::{channel::SessionChannel, content::Incoming};
use super::{
    auth::Grant,
    exception::Exception,
    memory::Account,
    peer::Peer,
    queue::ConnectionId,
    vhost::{BrokerTime, PublisherNames, Vhost},
    wire::{
        ContentHeader, Frame, FrameKind, Method, MethodId, WireError,
        method::{MethodSpec, channel as wire_channel, connection},
    },
};

/// How many messages of the largest size a connection may send in pieces at a time.
const UNFINISHED_MAX: u64 = 4;

/// The limits that client and server agreed on, and those of the server alone.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// How many channels may be open.
    pub channel_max: u16,
    /// How long a body may be.
    pub message_bytes: u64,
    /// How much an open transaction may hold.
    pub tx_bytes: usize,
}

/// The client of a session.
#[derive(Clone, Debug)]
pub struct SessionIdentity {
    /// The connection's number.
    pub connection: ConnectionId,
    /// The user that logged in, and what it may do in this vhost.
    pub grant: Grant,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionPhase {
    /// As usual.
    Running,
    /// We have sent `connection.close` and wait for its answer.
    Closing,
    /// Both sides know that it is over.
    Closed,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    peer: Arc<Peer>,
    identity: SessionIdentity,
    limits: SessionLimits,
    phase: SessionPhase,
    /// Each frame looks for its channel: with few channels that is faster than hashing the number.
    channels: BTreeMap<u16, Box<SessionChannel>>,
    /// Channels with confirms that are not sent yet.
    unconfirmed: Vec<u16>,
    /// Channels on which a publish began in this batch.
    unfinished: Vec<u16>,
    /// The account of the contents that are arriving.
    account: Option<Account>,
    published: bool,
    origin: Arc<PublisherNames>,
    raised: Option<String>,
}

/// The objects that frames are carried out with, besides the session.
#[derive(Debug)]
pub struct Context<'a> {
    /// The virtual host.
    pub vhost: &'a mut Vhost,
    /// The time.
    pub now: BrokerTime,
}

impl Session {
    /// A session with no channel open.
    pub fn new(peer: Arc<Peer>, identity: SessionIdentity, limits: SessionLimits) -> Self {
        Self {
            origin: Arc::new(PublisherNames {
                connection: Some(identity.connection.to_string()),
                user: Some(identity.grant.user().to_owned()),
            }),
            peer,
            identity,
            limits,
            phase: SessionPhase::Running,
            channels: BTreeMap::new(),
            unconfirmed: Vec::new(),
            unfinished: Vec::new(),
            account: None,
            published: false,
            raised: None,
        }
    }

    /// The same, but its messages are not stamped with the connection.
    #[must_use]
    pub fn unstamped(mut self) -> Self {
        self.origin = Arc::new(PublisherNames {
            connection: None,
            user: Some(self.user().to_owned()),
        });
        self
    }

    /// The same, but its messages are not stamped with the user either: the process is none.
    #[must_use]
    pub fn of_the_process(mut self) -> Self {
        self.origin = Arc::default();
        self
    }

    /// The user that logged in.
    pub fn user(&self) -> &str {
        self.identity.grant.user()
    }

    /// Replaces what the user may do.
    pub fn set_grant(&mut self, grant: Grant) {
        self.identity.grant = grant;
    }

    /// Its phase.
    pub fn phase(&self) -> SessionPhase {
        self.phase
    }

    /// Whether anything was published since the last time this was asked.
    pub fn take_published(&mut self) -> bool {
        std::mem::take(&mut self.published)
    }

    /// The last exception raised, for the log.
    pub fn take_raised(&mut self) -> Option<String> {
        self.raised.take()
    }

    /// How many channels are open.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Carries out one frame.
    pub fn on_frame(&mut self, frame: Frame<'_>, context: &mut Context<'_>) {
        if self.phase != SessionPhase::Running {
            self.on_frame_while_closing(&frame);
            return;
        }
        if self.peer.channel_closed.load(Relaxed) {
            self.note_closed(context);
        }
        context.vhost.charge_frame(frame.payload.len());
        let channel = frame.channel;
        if let Err(exception) = self.carry_out(frame, context) {
            self.raise(channel, &exception, context);
        }
    }

    /// Whether what was asked for is not carried out to its end yet: the next frame has to wait.
    pub fn is_busy(&self, vhost: &Vhost) -> bool {
        vhost.is_busy_for(self.identity.connection)
    }

    /// Whether that waits for the store.
    pub fn is_parked(&self, vhost: &Vhost) -> bool {
        vhost.is_parked(self.identity.connection)
    }

    /// Ends a batch of frames: sends the confirms that were held back.
    pub fn end_batch(&mut self) {
        while let Some(number) = self.unconfirmed.pop() {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.send_confirms(&self.peer, number);
            }
        }
        while let Some(number) = self.unfinished.pop() {
            if let Some(channel) = self.channels.get_mut(&number)
                && let Some(incoming) = &mut channel.incoming
            {
                incoming.detach(self.account.as_ref());
            }
        }
    }

    /// Bytes that are no frames: the connection ends.
    pub fn on_malformed(&mut self, error: WireError, context: &mut Context<'_>) {
        if self.phase == SessionPhase::Running {
            self.raise(0, &error.into(), context);
        } else {
            self.phase = SessionPhase::Closed;
        }
    }

    /// Resumes deliveries after the outbox was full.
    pub fn resume(&self, context: &mut Context<'_>) {
        context.vhost.resume(self.identity.connection);
    }

    /// Ends the session: requeues what it holds and deletes its exclusive queues.
    pub fn end(&mut self, context: &mut Context<'_>) {
        for channel in std::mem::take(&mut self.channels).into_values() {
            self.close_channel(*channel, context);
        }
        let connection = self.identity.connection;
        context.vhost.forget_connection(connection, context.now);
    }

    /// Ends the connection from our side.
    pub fn close(&mut self, exception: &Exception, context: &mut Context<'_>) {
        if self.phase == SessionPhase::Running {
            self.raise(0, exception, context);
        }
    }

    fn carry_out(&mut self, frame: Frame<'_>, context: &mut Context<'_>) -> Result<(), Exception> {
        match frame.kind {
            FrameKind::Heartbeat => on_heartbeat(&frame),
            FrameKind::Method if frame.channel == 0 => {
                let method = Method::decode(frame.payload)?;
                let id = method.id();
                self.on_connection_method(&method, context)
                    .map_err(|exception| blame(exception, id))
            }
            _ if frame.channel == 0 => {
                Err(Exception::unexpected_frame("content on channel 0").at(MethodId::NONE))
            }
            kind => self.on_channel_frame(kind, frame, context),
        }
    }

    fn on_channel_frame(
        &mut self,
        kind: FrameKind,
        frame: Frame<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let number = frame.channel;
        let Some(channel) = self.channels.get_mut(&number) else {
            return self.on_unopened(number, kind, frame, context);
        };
        if channel.closing {
            return self.on_closing_channel(number, kind, frame);
        }
        match (kind, channel.incoming.take()) {
            (FrameKind::Method, None) => {
                let method = Method::decode(frame.payload)?;
                let id = method.id();
                self.on_method(number, method, context)
                    .map_err(|exception| blame(exception, id))
            }
            (FrameKind::Header, Some(incoming)) if incoming.awaits_header() => {
                let header = ContentHeader::decode(frame.payload)?;
                let message_bytes = self.limits.message_bytes;
                let incoming =
                    incoming.with_header(header, message_bytes, self.account(context))?;
                self.advance(number, incoming, context)
            }
            (FrameKind::Body, Some(mut incoming)) if !incoming.awaits_header() => {
                incoming.append(&frame.payload, self.account(context))?;
                self.advance(number, incoming, context)
            }
            (_, None) => Err(Exception::unexpected_frame(
                "expected method frame, got non method frame instead",
            )
            .at(MethodId::NONE)),
            (_, Some(incoming)) => Err(incoming.interrupted()),
        }
    }

    /// The account of the contents that are arriving.
    fn account(&mut self, context: &Context<'_>) -> &Account {
        self.account.get_or_insert_with(|| {
            let limit = UNFINISHED_MAX * self.limits.message_bytes;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            Account::new(Arc::clone(context.vhost.memory()), limit)
        })
    }

    /// Waits for the rest of a content, or publishes it.
    fn advance(
        &mut self,
        number: u16,
        incoming: Box<Incoming>,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        if incoming.is_complete() {
            return self
                .publish(number, *incoming, context)
                .map_err(|exception| blame(exception, MethodId::BASIC_PUBLISH));
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.incoming = Some(incoming);
            self.unfinished.push(number);
        }
        Ok(())
    }

    fn on_unopened(
        &mut self,
        number: u16,
        kind: FrameKind,
        frame: Frame<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        if kind != FrameKind::Method {
            return Err(Exception::channel_error("expected 'channel.open'").at(MethodId::NONE));
        }
        let method = Method::decode(frame.payload)?;
        match method {
            Method::ChannelOpen(_) => {}
            Method::ChannelCloseOk(_) => return Ok(()),
            other => {
                let exception = Exception::channel_error("expected 'channel.open'");
                return Err(exception.at(other.id()));
            }
        }
        let max = self.limits.channel_max;
        if self.channels.len() >= usize::from(max) {
            return Err(Exception::not_allowed(format!(
                "number of channels opened ({}) has reached the negotiated channel_max ({max})",
                self.channels.len()
            ))
            .at(MethodId::NONE));
        }
        let (connection, session_bytes) = (self.identity.connection, SessionChannel::BYTES);
        let opened = context
            .vhost
            .open_channel(&self.peer, connection, number, session_bytes);
        let id = opened.map_err(|exception| exception.at(wire_channel::Open::ID))?;
        self.channels
            .insert(number, Box::new(SessionChannel::new(id)));
        self.answer(number, &wire_channel::OpenOk {});
        Ok(())
    }

    /// We have sent `channel.close`: everything is ignored but the answer, or the client's own close.
    fn on_closing_channel(
        &mut self,
        number: u16,
        kind: FrameKind,
        frame: Frame<'_>,
    ) -> Result<(), Exception> {
        if kind != FrameKind::Method {
            return Ok(());
        }
        match Method::decode(frame.payload)? {
            Method::ChannelCloseOk(_) => {
                self.channels.remove(&number);
            }
            Method::ChannelClose(_) => self.answer(number, &wire_channel::CloseOk {}),
            _ => {}
        }
        Ok(())
    }

    /// We have sent `connection.close`: the client's own close ends it as well as its answer does.
    fn on_frame_while_closing(&mut self, frame: &Frame<'_>) {
        let awaited = self.phase == SessionPhase::Closing;
        if !awaited || frame.kind != FrameKind::Method || frame.channel != 0 {
            return;
        }
        match Method::decode(frame.payload) {
            Ok(Method::ConnectionCloseOk(_)) => self.phase = SessionPhase::Closed,
            Ok(Method::ConnectionClose(_)) => {
                self.answer(0, &connection::CloseOk {});
                self.phase = SessionPhase::Closed;
            }
            _ => {}
        }
    }

    /// Sends an exception and closes the channel or the connection.
    fn raise(&mut self, number: u16, exception: &Exception, context: &mut Context<'_>) {
        self.raised = Some(exception.to_string());
        self.end_batch();
        let method = exception.method.unwrap_or(MethodId::NONE);
        let (reply_code, reply_text) = (exception.code.code(), exception.text());
        if exception.hard || number == 0 {
            self.end(context);
            self.phase = SessionPhase::Closing;
            let close = connection::Close {
                reply_code,
                reply_text,
                class_id: method.class,
                method_id: method.method,
            };
            self.answer(0, &close);
            return;
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            let closing = SessionChannel::closing(channel.id);
            let closed = std::mem::replace(&mut **channel, closing);
            self.close_channel(closed, context);
        }
        let close = wire_channel::Close {
            reply_code,
            reply_text,
            class_id: method.class,
            method_id: method.method,
        };
        self.answer(number, &close);
    }

    /// Sends a method. The connection's own task flushes when the batch is over.
    fn answer(&self, number: u16, method: &impl MethodSpec) {
        self.peer.outbox.put(method, number);
    }

    /// Answers as soon as what was asked for is done, and stored where it is durable.
    fn answer_when_done(
        &self,
        nowait: bool,
        number: u16,
        method: &impl MethodSpec,
        context: &mut Context<'_>,
    ) {
        let connection = self.identity.connection;
        match nowait {
            true => (context.vhost).continue_when_done(connection, &self.peer),
            false => (context.vhost).answer_when_done(connection, &self.peer, method, number),
        }
    }

    fn answer_unless(&self, nowait: bool, number: u16, method: &impl MethodSpec) {
        if !nowait {
            self.answer(number, method);
        }
    }
}

/// A heartbeat: on channel 0, with nothing in it.
fn on_heartbeat(frame: &Frame<'_>) -> Result<(), Exception> {
    if !frame.payload.is_empty() {
        return Err(WireError::FrameKind {
            kind: frame.kind.octet(),
            payload: frame.payload.to_bytes(),
        }
        .into());
    }
    if frame.channel == 0 {
        return Ok(());
    }
    Err(Exception::unexpected_frame("type 8, all octets = <<>>").at(MethodId::NONE))
}

fn blame(exception: Exception, method: MethodId) -> Exception {
    match exception.method {
        Some(_) => exception,
        None => exception.at(method),
    }
}

#[cfg(test)]
mod tests;
