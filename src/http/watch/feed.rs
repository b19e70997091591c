//! What one watcher is told, as bytes for its wire; made when it asks for more, and not before.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    frames::{Form, Piece},
    reader::{Reader, Scope, Start, Told},
    snapshot::Pieces,
};
use crate::{
    api::{self, Notice},
    http::state::Shared,
    model::Revision,
    registry::Snapshot,
};

/// About so many bytes of a snapshot are made at once.
const PIECE_BYTES: usize = 16 * 1024;

/// A reader with a wire.
#[derive(Debug)]
pub(super) struct Feed {
    shared: Shared,
    form: Form,
    reader: Reader,
    snapshot: Option<Box<Pieces>>,
    out: VecDeque<Piece>,
    /// The last change that is told, once the door closes.
    until: Option<Revision>,
    /// Notices are for watchers of everything.
    notices: Option<NoticeReader>,
}

/// How far a watcher has come with notices.
#[derive(Debug)]
struct NoticeReader {
    changes: watch::Receiver<u64>,
    seen: u64,
}

impl Feed {
    pub(super) fn new(shared: Shared, form: Form, scope: Scope, start: Start) -> Self {
        let reader = Reader::new(&shared.registry, scope, start);
        let notices = reader.reads_all().then(|| NoticeReader {
            changes: shared.notices.follow(),
            seen: shared.notices.newest(),
        });
        Self {
            reader,
            notices,
            shared,
            form,
            snapshot: None,
            out: VecDeque::new(),
            until: None,
        }
    }

    /// The next bytes, or none when there is nothing new.
    pub(super) fn next(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Some(piece);
            }
            if let Some(pieces) = self.snapshot.take() {
                return Some(self.go_on(pieces));
            }
            if self
                .until
                .is_some_and(|until| self.reader.cursor() >= until)
            {
                return self.notice();
            }
            let Some(told) = self.reader.next() else {
                return self.notice();
            };
            match told {
                Told::Resync => {
                    let piece = self.resync();
                    return Some(Piece::whole(piece));
                }
                Told::Snapshot(snapshot) => return Some(self.begin(snapshot)),
                Told::Event(event) => {
                    let shared = &self.shared;
                    shared.watching.events.inc();
                    let encode = || api::event(&event, |one| shared.last_heartbeat(one));
                    let frames = shared.watching.frames(self.form);
                    frames.event(&event, encode, &mut self.out);
                }
            }
        }
    }

    /// Waits until something changed. Cancel safe; may wake for nothing.
    pub(super) async fn changed(&mut self) {
        let Some(notices) = &mut self.notices else {
            return self.reader.changed().await;
        };
        tokio::select! {
            () = self.reader.changed() => (),
            // The sender lives as long as the door.
            Ok(()) = notices.changes.changed() => (),
        }
    }

    /// Tells what has happened until now, and nothing more.
    pub(super) fn close(&mut self) {
        self.until = Some(self.shared.registry.newest());
    }

    /// True when nothing more will be told.
    pub(super) fn is_closed(&self) -> bool {
        self.until.is_some()
    }

    /// What was told besides changes, behind the changes that came before; it has no id.
    fn notice(&mut self) -> Option<Piece> {
        let notices = self.notices.as_mut()?;
        let newest = *notices.changes.borrow_and_update();
        if newest > notices.seen {
            for entry in self.shared.notices.since(notices.seen) {
                notices.seen = entry.number;
                let frame = self.form.frame("event", None, &entry.json);
                self.out.push_back(Piece::whole(frame));
            }
        }
        self.out.pop_front()
    }

    fn resync(&self) -> Bytes {
        self.shared.watching.resyncs.inc();
        let json = api::notice(&Notice {
            event: "resync",
            epoch: self.shared.registry.epoch(),
            service_name: self.reader.only_service(),
            reason: Some("changes were missed, a snapshot follows"),
            timestamp: self.shared.now(),
        });
        self.form.frame("resync", None, &json)
    }

    fn begin(&mut self, snapshot: Snapshot) -> Piece {
        let cursor = self.shared.registry.cursor(snapshot.revision);
        let pieces = if self.reader.reads_all() {
            Pieces::with_routes(cursor, snapshot)
        } else {
            Pieces::without_routes(cursor, snapshot)
        };
        let head = self.form.head("snapshot", Some(cursor)).into_bytes();
        self.piece(Box::new(pieces), head, true)
    }

    fn go_on(&mut self, pieces: Box<Pieces>) -> Piece {
        self.piece(pieces, Vec::new(), false)
    }

    fn piece(&mut self, mut pieces: Box<Pieces>, mut bytes: Vec<u8>, first: bool) -> Piece {
        let more = pieces.fill(&mut bytes, PIECE_BYTES, |one| {
            self.shared.last_heartbeat(one)
        });
        if more {
            self.snapshot = Some(pieces);
        } else {
            bytes.extend_from_slice(self.form.tail());
        }
        Piece {
            bytes: bytes.into(),
            first,
            last: !more,
        }
    }
}
