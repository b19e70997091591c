//! Answers to commands over a separate connection.
//!
//! RabbitMQ (such as 3.10) ends a connection that publishes to a `reply_to` that a client made up. Answers
//! have a separate connection, so that no other connection ends with it. Commands are consumed while it
//! reconnects.

mod sending;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::Instant,
};

pub(super) use self::sending::AnswerSender;
use crate::transport::amqp::broker::Outgoing;

/// How many answers may wait or be under way. A larger one counts once more for each [`SHARE_BYTES`].
const ROOM: u16 = 4_096;
const SHARE_BYTES: usize = 4 * 1024;
/// The prefix of RabbitMQ's addresses for direct reply-to.
const DIRECT: &str = "amq.rabbitmq.reply-to.";

/// An answer on its way.
#[derive(Debug)]
struct PendingAnswer {
    answer: Outgoing,
    since: Instant,
    attempts: u8,
    _room: OwnedSemaphorePermit,
}

/// Takes answers from the consumers of commands.
#[derive(Clone, Debug)]
pub(super) struct AnswerOutbox {
    answers: mpsc::Sender<PendingAnswer>,
    room: Arc<Semaphore>,
    /// True while there is no connection to send over.
    paused: watch::Receiver<bool>,
    lost: LostAnswers,
}

/// The end of the outbox that [`AnswerSender`] reads.
#[derive(Debug)]
pub(super) struct AnswerInbox {
    answers: mpsc::Receiver<PendingAnswer>,
    paused: watch::Sender<bool>,
    lost: LostAnswers,
}

impl AnswerOutbox {
    pub(super) fn new(lost: LostAnswers) -> (Self, AnswerInbox) {
        // The channel has at least as much room as the semaphore.
        let (outbox, answers) = mpsc::channel(ROOM.into());
        let (sender, paused) = watch::channel(false);
        let inbox = AnswerInbox {
            answers,
            paused: sender,
            lost: lost.clone(),
        };
        let outbox = Self {
            answers: outbox,
            room: Arc::new(Semaphore::new(ROOM.into())),
            paused,
            lost,
        };
        (outbox, inbox)
    }

    /// Takes an answer for the queue of its routing key; waits for room, but not for a connection.
    pub(super) async fn put(&self, answer: Outgoing) {
        if answer.key.as_str().is_none_or(is_malformed) {
            return self.lost.note("its reply_to was not made by a broker");
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
            return self.lost.note("too many answers wait for a connection");
        };
        let answer = PendingAnswer {
            answer,
            since: Instant::now(),
            attempts: 0,
            _room: room,
        };
        if self.answers.try_send(answer).is_err() {
            self.lost.note("the sender of answers has ended");
        }
    }
}

/// Whether it names a channel of RabbitMQ but was not made by any version of it: its part before the dot
/// encodes an Erlang process. That is the external term format, as base64 (octets 131, and 88 or 103).
/// Without a dot RabbitMQ does not look at it, and other brokers may have made it.
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
        // The 1st, 2nd, 4th, 8th, …, so that one client cannot fill the log.
        if total.is_power_of_two() {
            tracing::warn!(
                total,
                "an answer to a command was not sent, {total} so far: {reason}"
            );
        }
    }
}

#[cfg(test)]
mod tests;
