//! The wire formats of watchers. The frame of an event is built once for all of them.

use std::{collections::VecDeque, sync::Arc};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::model::{Cursor, Event, Revision};

/// The frames of so many events are kept: watchers read them at about the same time.
const KEPT: usize = 64;
/// Larger frames are not kept: their JSON, which is shared, is sent between a head and a tail.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// The two wire formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum Form {
    /// Server-sent events.
    Sse,
    /// JSON texts over a WebSocket: `{"type","id","data"}`.
    Socket,
}

impl Form {
    /// The part before the JSON.
    pub(in crate::http) fn head(self, kind: &str, id: Option<Cursor>) -> String {
        match (self, id) {
            (Self::Sse, Some(id)) => format!("event: {kind}\nid: {id}\ndata: "),
            (Self::Sse, None) => format!("event: {kind}\ndata: "),
            (Self::Socket, Some(id)) => format!("{{\"type\":\"{kind}\",\"id\":\"{id}\",\"data\":"),
            (Self::Socket, None) => format!("{{\"type\":\"{kind}\",\"id\":null,\"data\":"),
        }
    }

    /// The part after the JSON.
    pub(in crate::http) fn tail(self) -> &'static [u8] {
        match self {
            Self::Sse => b"\n\n",
            Self::Socket => b"}",
        }
    }

    /// A whole message.
    pub(in crate::http) fn frame(self, kind: &str, id: Option<Cursor>, json: &[u8]) -> Bytes {
        let mut frame = self.head(kind, id).into_bytes();
        frame.reserve_exact(json.len() + self.tail().len());
        frame.extend_from_slice(json);
        frame.extend_from_slice(self.tail());
        frame.into_boxed_slice().into()
    }
}

/// Some bytes of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::http) struct Piece {
    /// The bytes.
    pub(in crate::http) bytes: Bytes,
    /// It begins a message.
    pub(in crate::http) first: bool,
    /// It ends a message.
    pub(in crate::http) last: bool,
}

impl Piece {
    /// A message in one piece.
    pub(in crate::http) fn whole(bytes: Bytes) -> Self {
        Self {
            bytes,
            first: true,
            last: true,
        }
    }
}

/// The frames of the last events.
#[derive(Debug)]
pub(in crate::http) struct Frames {
    form: Form,
    slots: Box<[ArcSwapOption<KeptFrame>]>,
}

#[derive(Debug)]
struct KeptFrame {
    revision: Revision,
    bytes: Bytes,
}

impl Frames {
    pub(in crate::http) fn new(form: Form) -> Self {
        Self {
            form,
            slots: (0..KEPT).map(|_| ArcSwapOption::empty()).collect(),
        }
    }

    /// Appends the frame of an event, whose JSON `encode` gives.
    pub(in crate::http) fn event(
        &self,
        event: &Event,
        encode: impl FnOnce() -> Bytes,
        out: &mut VecDeque<Piece>,
    ) {
        let slot = self.slot(event.revision);
        let kept = slot.load();
        let known = kept.as_ref().map(|kept| kept.revision);
        if let Some(kept) = kept.as_ref().filter(|_| known == Some(event.revision)) {
            out.push_back(Piece::whole(kept.bytes.clone()));
            return;
        }
        let json = encode();
        let id = Cursor {
            epoch: event.epoch,
            revision: event.revision,
        };
        if json.len() > KEPT_BYTES_MAX {
            self.in_parts(id, json, out);
            return;
        }
        let bytes = self.form.frame("event", Some(id), &json);
        // A late reader does not replace what others are about to read.
        if known < Some(event.revision) {
            slot.store(Some(Arc::new(KeptFrame {
                revision: event.revision,
                bytes: bytes.clone(),
            })));
        }
        out.push_back(Piece::whole(bytes));
    }

    fn in_parts(&self, id: Cursor, json: Bytes, out: &mut VecDeque<Piece>) {
        let head = self.form.head("event", Some(id));
        let tail = Bytes::from_static(self.form.tail());
        let part = |bytes, first, last| Piece { bytes, first, last };
        out.push_back(part(head.into(), true, false));
        out.push_back(part(json, false, false));
        out.push_back(part(tail, false, true));
    }

    fn slot(&self, revision: Revision) -> &ArcSwapOption<KeptFrame> {
        let index = usize::try_from(revision.0 % KEPT as u64).unwrap_or(0);
        &self.slots[index]
    }
}

#[cfg(test)]
mod tests;
