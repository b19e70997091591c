//! Answers to commands, at a broker that ends a connection because of an answer: RabbitMQ (3.10 for one) when the
//! `reply_to` is one that a client made up. There they have a connection of their own, so that no other ends
//! with it; commands are taken on while it is made anew.

mod sending;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use lapin::{BasicProperties, types::ShortString};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::Instant,
};

pub(super) use self::sending::Sending;

/// How much may wait or be under way. An answer counts as one, and as one more for each [`SHARE_BYTES`] of it.
const ROOM: u16 = 4_096;
const SHARE_BYTES: usize = 4 * 1024;
/// What RabbitMQ's addresses of direct reply-to begin with.
const DIRECT: &str = "amq.rabbitmq.reply-to.";

/// An answer, and where it is wanted.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) reply_to: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// An answer on its way.
#[derive(Debug)]
struct Letter {
    answer: Answer,
    since: Instant,
    attempts: u8,
    _room: OwnedSemaphorePermit,
}

/// Where answers are left to be sent.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    letters: mpsc::Sender<Letter>,
    room: Arc<Semaphore>,
    /// While there is no connection to send by.
    paused: watch::Receiver<bool>,
    lost: LostAnswers,
}

/// What [`Sending`] gets of an [`Outbox`].
#[derive(Debug)]
pub(super) struct Inbox {
    letters: mpsc::Receiver<Letter>,
    paused: watch::Sender<bool>,
    lost: LostAnswers,
}

impl Outbox {
    pub(super) fn new(lost: LostAnswers) -> (Self, Inbox) {
        // There is never less room here than in the semaphore.
        let (outbox, letters) = mpsc::channel(ROOM.into());
        let (sender, paused) = watch::channel(false);
        let inbox = Inbox {
            letters,
            paused: sender,
            lost: lost.clone(),
        };
        let outbox = Self {
            letters: outbox,
            room: Arc::new(Semaphore::new(ROOM.into())),
            paused,
            lost,
        };
        (outbox, inbox)
    }

    /// Leaves an answer to be sent; waits for room, but not for a connection.
    pub(super) async fn put(&self, answer: Answer) {
        if is_malformed(answer.reply_to.as_str()) {
            return self
                .lost
                .note("its reply_to is none that a broker has made");
        }
        let shares = 1 + answer.body.len() / SHARE_BYTES;
        let shares = u16::try_from(shares).unwrap_or(ROOM).min(ROOM);
        let mut paused = self.paused.clone();
        let room = Arc::clone(&self.room).acquire_many_owned(shares.into());
        let room = tokio::select! {
            biased;
            room = room => room.ok(),
            _ = paused.wait_for(|paused| *paused) => None,
        };
        let Some(room) = room else {
            return self.lost.note("too many wait for a connection");
        };
        let letter = Letter {
            answer,
            since: Instant::now(),
            attempts: 0,
            _room: room,
        };
        if self.letters.try_send(letter).is_err() {
            self.lost.note("nobody sends answers any more");
        }
    }
}

/// Whether it is meant for a channel of RabbitMQ's and no version of it has made it: what stands before the dot
/// is an Erlang process in the external term format, as base64 (octets 131, and 88 or 103). Without a dot
/// RabbitMQ does not look at it, and other brokers may have made it.
fn is_malformed(reply_to: &str) -> bool {
    let Some((process, key)) = reply_to
        .strip_prefix(DIRECT)
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let digits = process.trim_end_matches('=');
    let is_base64 = process.len() % 4 == 0
        && process.len() - digits.len() <= 2
        && digits
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/'));
    let is_process = digits.starts_with("g1h") || digits.starts_with("g2d");
    !is_base64 || !is_process || key.is_empty()
}

/// How many answers could not be sent; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct LostAnswers(Arc<AtomicU64>);

impl LostAnswers {
    pub(super) fn total(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn note(&self, reason: &str) {
        let total = self.0.fetch_add(1, Relaxed) + 1;
        // The 1st, 2nd, 4th, 8th, …: a client that does nothing else does not fill the log.
        if total.is_power_of_two() {
            tracing::warn!(
                total,
                "an answer to a command was not sent, with {total} in all: {reason}"
            );
        }
    }
}

#[cfg(test)]
mod tests;
