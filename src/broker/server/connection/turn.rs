//! The turns of a connection with its vhost: frames carried out, deliveries pumped, publishers blocked.

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::{Connection, FRAMES_MAX, OUTBOX_EVERY};
use crate::broker::{
    session::{Context, Session, SessionPhase},
    vhost::Vhost,
    wire::{FrameReader, ShortStr, method::connection},
};

/// Whether what a client has asked for is not done yet, and whether that waits for the store.
fn unfinished(session: &Session, vhost: &Vhost) -> (bool, bool) {
    let settling = session.is_busy(vhost);
    (settling, settling && session.is_parked(vhost))
}

impl Connection {
    /// Takes over users and permissions that were reloaded. Closes the connection of a user who was removed or
    /// may not use the vhost any more.
    pub(super) fn refresh_grant(&mut self) {
        if self.shared.access_version.load(Relaxed) == self.access_version {
            return;
        }
        let access = self.shared.access.load_full();
        self.access_version = access.version;
        let granted = access
            .auth
            .user(&self.entry.user)
            .and_then(|user| user.grant(&self.entry.vhost).ok());
        match granted {
            Some(grant) => self.session.set_grant(grant),
            None => self.close("the user was removed or may not use this vhost any more"),
        }
    }

    /// Carries out a batch of what has arrived; whether that was all.
    pub(super) fn work(&mut self) -> bool {
        if self.blocked || self.wire.frames.buffered() == 0 {
            return true;
        }
        if !self.has_room() {
            return false;
        }
        let now = self.shared.now();
        let memory = &self.shared.memory;
        let mut vhost = self.vhost.lock();
        let mut context = Context {
            vhost: &mut vhost,
            now,
        };
        let mut exhausted = false;
        let mut publishes = false;
        for count in 1..=FRAMES_MAX {
            if count % OUTBOX_EVERY == 0 && self.wire.peer.outbox.is_full() {
                break;
            }
            if memory.is_alarm()
                && self.session.phase() == SessionPhase::Running
                && matches!(self.wire.frames.next_is_publish(self.frame_max), Ok(true))
            {
                publishes = true;
                break;
            }
            match self.wire.frames.next(self.frame_max) {
                Ok(Some(frame)) => self.session.on_frame(frame, &mut context),
                Ok(None) => {
                    exhausted = true;
                    break;
                }
                Err(error) => {
                    self.session.on_malformed(error, &mut context);
                    // Nothing after it can be understood.
                    self.wire.frames = FrameReader::default();
                    exhausted = true;
                    break;
                }
            }
            // Frames after one that takes more than one turn have to wait.
            if context.vhost.is_turn_over()
                || self.session.phase() == SessionPhase::Closed
                || self.session.is_busy(context.vhost)
            {
                break;
            }
        }
        self.session.end_batch();
        self.more = vhost.pump(now);
        (self.settling, self.parked) = unfinished(&self.session, &vhost);
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
        self.entry
            .channels
            .store(self.session.channel_count(), Relaxed);
        if publishes || self.session.take_published() && self.shared.memory.is_alarm() {
            self.block();
        }
        self.note_closing(self.shared.config.limits.closing.get());
        exhausted || self.blocked
    }

    /// One turn of the remaining deliveries.
    pub(super) fn pump(&mut self) {
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.more = vhost.pump(now);
        (self.settling, self.parked) = unfinished(&self.session, &vhost);
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
    }

    /// Resumes the consumers for which the outbox had no room.
    pub(super) fn resume(&mut self) {
        self.wire.peer.resume.store(false, Relaxed);
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.session.resume(&mut Context {
            vhost: &mut vhost,
            now,
        });
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
        self.pump();
    }

    pub(super) fn end(&mut self) {
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.session.end(&mut Context {
            vhost: &mut vhost,
            now,
        });
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
    }

    pub(super) fn block(&mut self) {
        self.blocked = true;
        self.entry.blocked.store(true, Relaxed);
        if self.blocked_notify {
            let reason = ShortStr::from_static(self.shared.memory.state().reason());
            self.wire
                .peer
                .outbox
                .put(&connection::Blocked { reason }, 0);
        }
    }

    pub(super) fn unblock(&mut self) {
        if self.shared.memory.is_alarm() {
            return;
        }
        self.blocked = false;
        self.heard = Instant::now();
        self.entry.blocked.store(false, Relaxed);
        if self.blocked_notify {
            self.wire.peer.outbox.put(&connection::Unblocked {}, 0);
        }
    }

    /// Counts what was read and is not carried out yet.
    pub(super) fn count_input(&mut self) {
        const STEP: usize = 4096;
        let buffered = self.wire.frames.buffered();
        self.input.set(buffered / STEP * STEP);
    }
}
