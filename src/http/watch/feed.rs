//! The messages of one watcher, as bytes for its wire; encoded only when it asks for more.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    frames::{Form, Piece},
    limit::WatcherEntry,
    reader::{LogReader, SeenScope, WatchItem, WatchStart},
    snapshot::SnapshotPieces,
    summary::{ChangedServices, SummaryPieces},
};
use crate::{
    api::{self, Notice},
    http::state::AppState,
    model::{Cursor, Revision},
    registry::Snapshot,
};

/// A snapshot is encoded in pieces of about this size, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// A log reader with a wire format.
#[derive(Debug)]
pub(super) struct WatchFeed {
    shared: AppState,
    form: Form,
    reader: LogReader,
    snapshot: Option<Box<ViewPieces>>,
    /// In the short view: the services to sum up.
    changed: Option<ChangedServices>,
    /// Where the watcher is shown.
    entry: Arc<WatcherEntry>,
    out: VecDeque<Piece>,
    /// The last change whose cursor was sent.
    sent: Revision,
    /// The last change to send, once the server stops.
    until: Option<Revision>,
    /// Watchers of everything get notices too.
    notices: Option<NoticeReader>,
}

/// The rest of a snapshot, in the view that the watcher asked for.
#[derive(Debug)]
enum ViewPieces {
    Whole(SnapshotPieces),
    Short(SummaryPieces),
}

/// The position of a watcher among the notices.
#[derive(Debug)]
struct NoticeReader {
    changes: watch::Receiver<u64>,
    seen: u64,
}

impl WatchFeed {
    pub(super) fn new(
        shared: AppState,
        form: Form,
        scope: SeenScope,
        start: WatchStart,
        entry: &Arc<WatcherEntry>,
    ) -> Self {
        let sees_notices = scope.sight.sees_notices();
        let reader = LogReader::new(&shared.registry, scope, start);
        let notices = (sees_notices && reader.reads_all()).then(|| NoticeReader {
            changes: shared.notices.follow(),
            seen: shared.notices.newest(),
        });
        Self {
            reader,
            notices,
            shared,
            form,
            snapshot: None,
            changed: None,
            entry: Arc::clone(entry),
            out: VecDeque::new(),
            sent: Revision::default(),
            until: None,
        }
    }

    /// The same in the short view.
    pub(super) fn in_short(mut self) -> Self {
        self.changed = Some(ChangedServices::new());
        self
    }

    /// The next bytes, or none when there is nothing new.
    pub(super) fn next(&mut self) -> Option<Piece> {
        let next = self.next_of_log();
        self.entry.reached(self.reader.cursor());
        next
    }

    fn next_of_log(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Some(piece);
            }
            if let Some(pieces) = self.snapshot.take() {
                return Some(self.next_piece(pieces));
            }
            if self
                .until
                .is_some_and(|until| self.reader.cursor() >= until)
            {
                return self.notice();
            }
            if let Some(summaries) = self.summaries() {
                return Some(summaries);
            }
            let Some(item) = self.reader.next() else {
                return self.notice();
            };
            match item {
                WatchItem::Resync => {
                    let piece = self.resync();
                    return Some(Piece::whole(piece));
                }
                WatchItem::Snapshot(snapshot) => return Some(self.begin(snapshot)),
                WatchItem::Event(event) => {
                    self.sent = event.revision;
                    if let (Some(changed), Some(name)) = (&mut self.changed, &event.service_name) {
                        changed.note(name);
                    }
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
        let changed = self.changed.as_ref();
        let summaries = async {
            match changed {
                Some(changed) => changed.until_due().await,
                None => std::future::pending().await,
            }
        };
        let Some(notices) = &mut self.notices else {
            tokio::select! {
                () = self.reader.changed() => (),
                () = summaries => (),
            }
            return;
        };
        tokio::select! {
            () = self.reader.changed() => (),
            () = summaries => (),
            // The API, which holds the sender, ends after this.
            Ok(()) = notices.changes.changed() => (),
        }
    }

    /// The cursor, when the reader has left changes out since the last one was sent: a watcher that comes
    /// back with it misses nothing.
    pub(super) fn silent_cursor(&mut self) -> Option<Cursor> {
        let cursor = self.reader.cursor();
        if !self.reader.leaves_out() || cursor <= self.sent {
            return None;
        }
        self.sent = cursor;
        Some(self.shared.registry.cursor(cursor))
    }

    /// Sends what has happened until now, and nothing more.
    pub(super) fn close(&mut self) {
        self.until = Some(self.shared.registry.newest());
    }

    /// True when nothing more will be sent.
    pub(super) fn is_closed(&self) -> bool {
        self.until.is_some()
    }

    /// The next notice, behind the changes that came before it; it has no id.
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

    /// In the short view: the services that changed, if it is time to send them.
    fn summaries(&mut self) -> Option<Piece> {
        let json = self.changed.as_mut()?.take(&self.shared.registry)?;
        Some(Piece::whole(self.form.frame("summaries", None, &json)))
    }

    fn begin(&mut self, snapshot: Snapshot) -> Piece {
        self.sent = snapshot.revision;
        let registry = &self.shared.registry;
        let cursor = registry.cursor(snapshot.revision);
        let with_routes = self.reader.reads_all();
        let pieces = if self.changed.is_some() {
            ViewPieces::Short(SummaryPieces::new(registry, cursor, snapshot, with_routes))
        } else if with_routes {
            ViewPieces::Whole(SnapshotPieces::with_routes(cursor, snapshot))
        } else {
            ViewPieces::Whole(SnapshotPieces::without_routes(cursor, snapshot))
        };
        let head = self.form.head("snapshot", Some(cursor)).into_bytes();
        self.piece(Box::new(pieces), head, true)
    }

    fn next_piece(&mut self, pieces: Box<ViewPieces>) -> Piece {
        self.piece(pieces, Vec::new(), false)
    }

    fn piece(&mut self, mut pieces: Box<ViewPieces>, mut bytes: Vec<u8>, first: bool) -> Piece {
        let more = match &mut *pieces {
            ViewPieces::Whole(pieces) => pieces.fill(&mut bytes, PIECE_BYTES, |one| {
                self.shared.last_heartbeat(one)
            }),
            ViewPieces::Short(pieces) => {
                pieces.fill(&mut bytes, PIECE_BYTES, &self.shared.registry)
            }
        };
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
