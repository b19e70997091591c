//! Where messages end that nobody can read: as they came, with the reason.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};

use super::{AmqpError, names};

/// The header that says why.
const REASON: &str = "x-musterd-reason";
/// The most bytes of headers that are kept.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// What else is in the frame, at most: eleven short texts, the reason and their names.
const BESIDES_BYTES: usize = 3_900;
/// The longest reason told, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// The queue of dead letters, and how many this process has put there. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct DeadLetters {
    buried: Arc<AtomicU64>,
    /// As large as headers may be: they leave in one frame.
    headers_max: Arc<AtomicUsize>,
    answer_timeout: Duration,
}

impl DeadLetters {
    pub(super) fn new(answer_timeout: Duration) -> Self {
        Self {
            buried: Arc::default(),
            headers_max: Arc::new(AtomicUsize::new(HEADERS_BYTES_MAX)),
            answer_timeout,
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.buried.load(Relaxed)
    }

    /// From now on no frame may be larger.
    pub(super) fn fit(&self, frame_max: u32) {
        let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
        let left = frame_max.saturating_sub(BESIDES_BYTES);
        self.headers_max.store(left.min(HEADERS_BYTES_MAX), Relaxed);
    }

    /// Puts a message there. Whoever calls acknowledges it afterwards, over the same channel, so that the
    /// broker has taken the copy before it forgets the original.
    pub(super) async fn bury(
        &self,
        channel: &Channel,
        delivery: &Delivery,
        reason: &str,
    ) -> Result<(), AmqpError> {
        // Whoever deleted the queue meanwhile gets it back.
        names::declare_dead(channel, self.answer_timeout).await?;
        let headers = headers(delivery, reason, self.headers_max.load(Relaxed));
        let properties = with_headers(&delivery.properties, headers);
        publish(channel, &delivery.data, properties).await?;
        self.note(delivery.routing_key.as_str(), reason);
        Ok(())
    }

    /// Puts a message there in place of one of `queue` that could not be read.
    pub(super) async fn bury_unread(
        &self,
        channel: &Channel,
        queue: &str,
    ) -> Result<(), AmqpError> {
        let reason = format!(
            "a message to \"{queue}\" whose properties had outgrown a frame was thrown away unread"
        );
        names::declare_dead(channel, self.answer_timeout).await?;
        let mut headers = FieldTable::default();
        headers.insert(REASON.into(), text(&reason));
        let properties = BasicProperties::default().with_headers(headers);
        publish(channel, &[], properties).await?;
        self.note(queue, &reason);
        Ok(())
    }

    fn note(&self, queue: &str, reason: &str) {
        let total = self.buried.fetch_add(1, Relaxed) + 1;
        // The 1st, 2nd, 4th, 8th, …: a sender of nothing else does not fill the log.
        if total.is_power_of_two() {
            tracing::warn!(
                queue.name = queue,
                total,
                "a message to \"{queue}\" is in queue \"{}\" now, with {total} in all: {reason}",
                names::DEAD
            );
        }
    }
}

async fn publish(
    channel: &Channel,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), AmqpError> {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), names::DEAD.into(), options, body, properties);
    sent.await.map(drop).map_err(AmqpError::at("musterd.dead"))
}

/// What came, less what would route it once more, and with the reason.
fn headers(delivery: &Delivery, reason: &str, bytes_max: usize) -> FieldTable {
    let mut headers = FieldTable::default();
    let came = delivery.properties.headers().iter();
    let mut left = bytes_max;
    for (key, value) in came.flat_map(|table| table.inner()) {
        let bytes = key.as_str().len() + weight(value);
        if !matches!(key.as_str(), "CC" | "BCC") && bytes <= left {
            left -= bytes;
            headers.insert(key.clone(), value.clone());
        }
    }
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    headers.insert(REASON.into(), text(&reason[..end]));
    // The broker would refuse another's name, and would drop what has expired.
    let kept = [
        ("x-musterd-user-id", delivery.properties.user_id()),
        ("x-musterd-expiration", delivery.properties.expiration()),
    ];
    for (key, value) in kept {
        if let Some(value) = value {
            headers.insert(key.into(), text(value.as_str()));
        }
    }
    headers
}

/// At most so many bytes a value takes on the wire.
fn weight(value: &AMQPValue) -> usize {
    10 + match value {
        AMQPValue::LongString(text) => text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice().len(),
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(weight).sum(),
        AMQPValue::FieldTable(table) => table
            .inner()
            .iter()
            .map(|(key, value)| key.as_str().len() + weight(value))
            .sum(),
        _ => 0,
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// The properties as they came, but for the headers, the user's name and the expiration.
fn with_headers(came: &BasicProperties, headers: FieldTable) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_headers(headers)
        .with_delivery_mode(came.delivery_mode().unwrap_or(1));
    type With = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&Option<ShortString>, With); 8] = [
        (came.content_type(), BasicProperties::with_content_type),
        (
            came.content_encoding(),
            BasicProperties::with_content_encoding,
        ),
        (came.correlation_id(), BasicProperties::with_correlation_id),
        (came.reply_to(), BasicProperties::with_reply_to),
        (came.message_id(), BasicProperties::with_message_id),
        (came.kind(), BasicProperties::with_type),
        (came.app_id(), BasicProperties::with_app_id),
        (came.cluster_id(), BasicProperties::with_cluster_id),
    ];
    for (value, with) in texts {
        if let Some(value) = value {
            properties = with(properties, value.clone());
        }
    }
    if let Some(priority) = came.priority() {
        properties = properties.with_priority(*priority);
    }
    match came.timestamp() {
        Some(timestamp) => properties.with_timestamp(*timestamp),
        None => properties,
    }
}
