//! A publish whose content is still arriving.

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::{
    exception::Exception,
    memory::{Account, AccountCharge, Memory, SHARED_BODY_MIN, allocated},
    message::owned_body,
    wire::{ContentHeader, MethodId, Payload, Properties, ReplyCode, method::basic},
};

/// The most that is allocated for a body before it arrives.
const FIRST_ROOM: usize = 128 * 1024;

/// A publish whose content is still arriving.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) publish: basic::Publish,
    pub(super) properties: Properties,
    body_size: Option<u64>,
    body: Body,
    /// Bytes that are kept beyond a batch of frames count.
    charge: Option<AccountCharge>,
}

#[derive(Debug)]
enum Body {
    None,
    /// It came in one frame: a slice of the read buffer.
    Whole(Bytes),
    /// It came from this process: a separate allocation.
    Own(Bytes),
    /// It comes in several.
    Growing(Vec<u8>),
}

impl Incoming {
    pub(super) fn new(publish: basic::Publish) -> Self {
        Self {
            publish,
            properties: Properties::NONE,
            body_size: None,
            body: Body::None,
            charge: None,
        }
    }

    /// A publish that has arrived, with a body that shares nothing with a read buffer.
    pub(super) fn whole(publish: basic::Publish, properties: Properties, body: Bytes) -> Self {
        Self {
            properties,
            body_size: Some(body.len() as u64),
            body: Body::Own(body),
            ..Self::new(publish)
        }
    }

    /// The batch is over and the content is not: nothing of it may keep the read buffer alive, and what
    /// is kept instead counts.
    pub(super) fn detach(&mut self, account: Option<&Account>) {
        if let Some(account) = account {
            self.count(account);
        }
        self.publish.exchange = self.publish.exchange.detached();
        self.publish.routing_key = self.publish.routing_key.detached();
        self.properties = self.properties.detached();
    }

    pub(super) fn awaits_header(&self) -> bool {
        self.body_size.is_none()
    }

    /// Takes the content header.
    pub(super) fn with_header(
        mut self: Box<Self>,
        header: ContentHeader,
        size_max: u64,
        account: &Account,
    ) -> Result<Box<Self>, Exception> {
        if header.body_size > size_max {
            let size = header.body_size;
            return Err(Exception::precondition(format!(
                "message size {size} is larger than configured max size {size_max}"
            ))
            .at(MethodId::BASIC_PUBLISH));
        }
        within(account)?;
        self.properties = header.properties;
        self.body_size = Some(header.body_size);
        Ok(self)
    }

    /// Takes a body frame.
    pub(super) fn append(
        &mut self,
        payload: &Payload<'_>,
        account: &Account,
    ) -> Result<(), Exception> {
        within(account)?;
        let size = self.body_size.unwrap_or(0);
        let arrived = self.arrived() + payload.len() as u64;
        if arrived > size {
            return Err(Exception::new(
                ReplyCode::FrameError,
                "content body frame exceeds remaining content size",
            )
            .at(MethodId::BASIC_PUBLISH));
        }
        if arrived == size && matches!(self.body, Body::None) {
            self.body = Body::Whole(payload.to_bytes());
            return Ok(());
        }
        if !matches!(self.body, Body::Growing(_)) {
            let room = usize::try_from(size).map_or(FIRST_ROOM, |size| size.min(FIRST_ROOM));
            self.body = Body::Growing(Vec::with_capacity(room));
        }
        if let Body::Growing(body) = &mut self.body {
            let missing =
                body.len() + payload.len() - body.capacity().min(body.len() + payload.len());
            if missing > 0 {
                let rest = usize::try_from(size).unwrap_or(usize::MAX) - body.len();
                body.reserve_exact(rest.min(body.len().max(payload.len())));
            }
            body.extend_from_slice(payload);
            self.count(account);
            within(account)?;
        }
        Ok(())
    }

    /// Counts what this keeps.
    fn count(&mut self, account: &Account) {
        let body = match &self.body {
            Body::Growing(body) => allocated(body.capacity()),
            Body::None | Body::Whole(_) | Body::Own(_) => 0,
        };
        let bytes = allocated(size_of::<Self>())
            + self.publish.exchange.allocated()
            + self.publish.routing_key.allocated()
            + allocated(self.properties.as_bytes().len())
            + body;
        self.charge
            .get_or_insert_with(|| account.charge())
            .set(bytes);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.body_size == Some(self.arrived())
    }

    /// The body, and whether it is a separate allocation.
    pub(super) fn into_body(
        self,
        memory: &Arc<Memory>,
    ) -> (basic::Publish, Properties, Bytes, bool) {
        let (body, owned) = match self.body {
            Body::None => (Bytes::new(), true),
            Body::Whole(body) => (body, false),
            // A long one is copied into an allocation that counts.
            Body::Own(body) => {
                let owned = body.len() < SHARED_BODY_MIN;
                (body, owned)
            }
            Body::Growing(body) => (owned_body(body, memory), true),
        };
        (self.publish, self.properties, body, owned)
    }

    /// Another frame came instead of what was to come.
    pub(super) fn interrupted(&self) -> Exception {
        let text = if self.awaits_header() {
            "expected content header for class 60, got non content header frame instead"
        } else {
            "expected content body, got non content body frame instead"
        };
        Exception::unexpected_frame(text).at(MethodId::BASIC_PUBLISH)
    }

    fn arrived(&self) -> u64 {
        match &self.body {
            Body::None => 0,
            Body::Whole(body) | Body::Own(body) => body.len() as u64,
            Body::Growing(body) => body.len() as u64,
        }
    }
}

fn within(account: &Account) -> Result<(), Exception> {
    let text = if account.is_over() {
        "the unfinished messages of this connection are too large together"
    } else if account.is_exhausted() {
        "low on memory: the broker cannot take the rest of this message"
    } else {
        return Ok(());
    };
    Err(Exception::new(ReplyCode::ResourceError, text).at(MethodId::BASIC_PUBLISH))
}
