//! Messages that cannot be read are kept in queue `musterd.dead`: as they came, with the reason.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

use super::{
    AmqpError,
    broker::{AmqpConnection, Delivery, Outgoing, Purpose, Unconfirmed, short},
    names,
};
use crate::broker::wire::{
    Table,
    properties::PropertyList,
    table::{TableBuilder, ValueRef},
};

/// The header that says why.
const REASON: &str = "x-musterd-reason";
/// The headers that keep what the copy cannot have as a property.
const USER_ID: &str = "x-musterd-user-id";
const EXPIRATION: &str = "x-musterd-expiration";
/// Headers that are not copied: those that would route the copy again, and the daemon's own.
const LEFT_OUT: [&str; 5] = ["CC", "BCC", REASON, USER_ID, EXPIRATION];
/// The most bytes of headers that are kept.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// The other parts of the frame, at most: eleven short texts, the reason and their names.
const BESIDES_BYTES: usize = 3_900;
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;
/// The bytes of a field on the wire beyond its name and its value, at most.
const FIELD_BYTES: usize = 6;

/// The queue of dead letters, and how many this process has put there. Clones are the same one.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    count: Arc<AtomicU64>,
    /// How many bytes of headers leave in one frame.
    headers_max: Arc<AtomicUsize>,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            count: Arc::default(),
            headers_max: Arc::new(AtomicUsize::new(HEADERS_BYTES_MAX)),
        }
    }
}

/// A message that cannot be read, and why.
#[derive(Debug)]
pub(super) struct Unreadable<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) reason: String,
}

impl DeadLetters {
    pub(super) fn total(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// From now on a message may have so many bytes of headers.
    pub(super) fn fit(&self, headers_max: usize) {
        let left = headers_max.saturating_sub(BESIDES_BYTES);
        self.headers_max.store(left.min(HEADERS_BYTES_MAX), Relaxed);
    }

    /// Puts messages there. The caller acknowledges them afterwards, so that the broker has the copy before it
    /// forgets the original.
    pub(super) async fn dead_letter(
        &self,
        connection: &dyn AmqpConnection,
        letters: &[Unreadable<'_>],
    ) -> Result<(), AmqpError> {
        if letters.is_empty() {
            return Ok(());
        }
        let headers_max = self.headers_max.load(Relaxed);
        let copies = letters.iter().map(|letter| Outgoing {
            exchange: "",
            key: short(names::DEAD),
            properties: copied(letter, headers_max),
            body: letter.delivery.body.clone(),
        });
        publish(connection, copies.collect()).await?;
        for letter in letters {
            let queue = String::from_utf8_lossy(&letter.delivery.key);
            self.note(&queue, &letter.reason);
        }
        Ok(())
    }

    /// Puts a message there in place of one of `queue` that cannot be received.
    ///
    /// # Errors
    /// The broker does not take it.
    #[cfg_attr(
        not(feature = "amqp"),
        expect(
            dead_code,
            reason = "only RabbitMQ keeps a message that outgrows a frame"
        )
    )]
    pub(crate) async fn dead_letter_unread(
        &self,
        connection: &dyn AmqpConnection,
        queue: &str,
    ) -> Result<(), AmqpError> {
        let reason = format!(
            "a message to \"{queue}\" whose properties no longer fit a frame was removed unread"
        );
        let mut headers = TableBuilder::new();
        headers.put_str(REASON, &reason);
        let letter = Outgoing {
            exchange: "",
            key: short(names::DEAD),
            properties: PropertyList {
                headers: Some(headers.build()),
                ..PropertyList::default()
            },
            body: Bytes::new(),
        };
        publish(connection, vec![letter]).await?;
        self.note(queue, &reason);
        Ok(())
    }

    fn note(&self, queue: &str, reason: &str) {
        let total = self.count.fetch_add(1, Relaxed) + 1;
        // The 1st, 2nd, 4th, 8th, …: a sender of nothing else does not fill the log.
        if total.is_power_of_two() {
            tracing::warn!(
                queue.name = queue,
                total,
                "a message to \"{queue}\" is in queue \"{}\" now, {total} in all: {reason}",
                names::DEAD
            );
        }
    }
}

/// Publishes over a separate channel: a queue that was declared with other arguments closes it, and is used as it
/// is over the next one.
async fn publish(connection: &dyn AmqpConnection, letters: Vec<Outgoing>) -> Result<(), AmqpError> {
    let mut channel = connection.open(Purpose::Replace).await?;
    match names::declare_dead(&mut *channel).await {
        Err(error) if error.refusal().is_some() => {
            channel = connection.open(Purpose::Replace).await?;
        }
        other => other?,
    }
    let mut left = letters.len();
    for letter in letters {
        channel.publish(letter);
    }
    while left > 0 {
        match channel.confirmed().await {
            Ok(0) => break,
            Ok(more) => left = left.saturating_sub(more),
            // It may refuse what it has no room for: then the letter is lost, as others are that it drops.
            Err(Unconfirmed::Refused) => return Ok(()),
            Err(Unconfirmed::Ended(error)) => return Err(error),
        }
    }
    channel.close().await
}

/// The properties as they came, without the user's name and the expiration: the broker would refuse another
/// user's name, and would drop what has expired.
fn copied(letter: &Unreadable<'_>, headers_max: usize) -> PropertyList {
    let came = letter.delivery.properties.to_list();
    PropertyList {
        headers: Some(headers(letter, headers_max)),
        delivery_mode: Some(came.delivery_mode.unwrap_or(1)),
        user_id: None,
        expiration: None,
        ..came
    }
}

/// The received message without the headers that would route it again, and with the reason.
fn headers(letter: &Unreadable<'_>, bytes_max: usize) -> Table {
    let properties = &letter.delivery.properties;
    let mut headers = TableBuilder::new();
    let mut left = bytes_max;
    for (key, value) in properties.headers().unwrap_or_default().iter() {
        let bytes = key.len() + value_bytes(value);
        let is_kept = LEFT_OUT.iter().all(|name| name.as_bytes() != key);
        if is_kept && bytes <= left {
            left -= bytes;
            headers.put(key, value);
        }
    }
    let mut end = letter.reason.len().min(REASON_BYTES_MAX);
    while !letter.reason.is_char_boundary(end) {
        end -= 1;
    }
    headers.put_str(REASON, &letter.reason[..end]);
    let kept = [
        (USER_ID, properties.user_id()),
        (EXPIRATION, properties.expiration()),
    ];
    for (key, value) in kept {
        if let Some(value) = value {
            headers.put_str(key, value);
        }
    }
    headers.build()
}

/// At most so many bytes a value takes on the wire, with the tag and length before it.
fn value_bytes(value: ValueRef<'_>) -> usize {
    FIELD_BYTES
        + match value {
            ValueRef::Str(bytes) | ValueRef::Bytes(bytes) => bytes.len(),
            ValueRef::Array(array) => array.as_bytes().len(),
            ValueRef::Table(table) => table.as_bytes().len(),
            _ => 8,
        }
}
