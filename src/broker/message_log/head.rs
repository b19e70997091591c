//! The parts of a message besides its body, as the log writes them.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use crate::broker::{
    message::{Death, DeathReason, Message},
    wire::{Properties, ShortStr},
};

/// The parts of a message besides its body. It was persistent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageHead {
    /// The exchange it was published to.
    pub exchange: ShortStr,
    /// The routing key it was published with.
    pub routing_key: ShortStr,
    /// Its properties, as they came.
    pub properties: Properties,
    /// Its priority; the queue caps it.
    pub priority: u8,
    /// Its TTL in a queue, in ms.
    pub ttl: Option<u64>,
    /// The keys of its header BCC.
    pub hidden_keys: Option<Arc<[ShortStr]>>,
    /// Where and why it died before.
    pub deaths: Option<Arc<[Death]>>,
}

const HAS_TTL: u8 = 1;
const HAS_HIDDEN_KEYS: u8 = 2;
const HAS_DEATHS: u8 = 4;

const REASONS: [DeathReason; 4] = [
    DeathReason::Rejected,
    DeathReason::Expired,
    DeathReason::MaxLen,
    DeathReason::DeliveryLimit,
];

/// Appends the parts of a message besides its body.
pub(super) fn encode(message: &Message, out: &mut Vec<u8>) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.put_u8(message.priority);
    out.put_u8(
        flag(message.ttl.is_some(), HAS_TTL)
            | flag(message.hidden_keys.is_some(), HAS_HIDDEN_KEYS)
            | flag(message.deaths.is_some(), HAS_DEATHS),
    );
    put_short(out, &message.exchange);
    put_short(out, &message.routing_key);
    let properties = message.properties.as_bytes();
    put_len(out, properties.len());
    out.put_slice(properties);
    if let Some(ttl) = message.ttl {
        out.put_u64_le(ttl);
    }
    if let Some(keys) = &message.hidden_keys {
        put_shorts(out, keys);
    }
    if let Some(deaths) = &message.deaths {
        put_len(out, deaths.len());
        for death in &**deaths {
            put_death(out, death);
        }
    }
}

/// Reads the bytes that [`encode`] has written; none if they are of another form.
pub(super) fn decode(bytes: &mut Bytes) -> Option<MessageHead> {
    let (priority, flags) = (bytes.try_get_u8().ok()?, bytes.try_get_u8().ok()?);
    let exchange = take_short(bytes)?;
    let routing_key = take_short(bytes)?;
    let len = take_len(bytes)?;
    let properties = Properties::decode(Bytes::copy_from_slice(take(bytes, len)?)).ok()?;
    bytes.advance(len);
    let ttl = match flags & HAS_TTL {
        0 => None,
        _ => Some(bytes.try_get_u64_le().ok()?),
    };
    let hidden_keys = match flags & HAS_HIDDEN_KEYS {
        0 => None,
        _ => Some(take_shorts(bytes)?.into()),
    };
    let deaths = match flags & HAS_DEATHS {
        0 => None,
        _ => Some(take_all(bytes, take_death)?.into()),
    };
    Some(MessageHead {
        exchange,
        routing_key,
        properties,
        priority,
        ttl,
        hidden_keys,
        deaths,
    })
}

fn put_death(out: &mut Vec<u8>, death: &Death) {
    let code = REASONS.iter().position(|reason| *reason == death.reason);
    put_short(out, &death.queue);
    out.put_u8(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(0));
    out.put_u64_le(death.count);
    put_short(out, &death.exchange);
    put_shorts(out, &death.routing_keys);
    out.put_u8(death.expiration.is_some().into());
    if let Some(expiration) = &death.expiration {
        put_short(out, expiration);
    }
    out.put_u64_le(death.time);
}

fn take_death(bytes: &mut Bytes) -> Option<Death> {
    Some(Death {
        queue: take_short(bytes)?,
        reason: *REASONS.get(usize::from(bytes.try_get_u8().ok()?))?,
        count: bytes.try_get_u64_le().ok()?,
        exchange: take_short(bytes)?,
        routing_keys: take_shorts(bytes)?,
        expiration: match bytes.try_get_u8().ok()? {
            0 => None,
            _ => Some(take_short(bytes)?),
        },
        time: bytes.try_get_u64_le().ok()?,
    })
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
}

fn put_short(out: &mut Vec<u8>, text: &ShortStr) {
    let bytes = text.as_bytes();
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(bytes);
}

fn put_shorts(out: &mut Vec<u8>, texts: &[ShortStr]) {
    put_len(out, texts.len());
    for text in texts {
        put_short(out, text);
    }
}

fn take(bytes: &Bytes, len: usize) -> Option<&[u8]> {
    bytes.get(..len)
}

fn take_len(bytes: &mut Bytes) -> Option<usize> {
    usize::try_from(bytes.try_get_u32_le().ok()?).ok()
}

fn take_short(bytes: &mut Bytes) -> Option<ShortStr> {
    let len = usize::from(bytes.try_get_u8().ok()?);
    let text = ShortStr::copied(take(bytes, len)?)?;
    bytes.advance(len);
    Some(text)
}

fn take_shorts(bytes: &mut Bytes) -> Option<Vec<ShortStr>> {
    take_all(bytes, take_short)
}

/// As many of them as the number before them says.
fn take_all<T>(
    bytes: &mut Bytes,
    mut take_one: impl FnMut(&mut Bytes) -> Option<T>,
) -> Option<Vec<T>> {
    let count = take_len(bytes)?;
    // Each takes a byte at least, so the number allocates no more than there is.
    let mut all = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        all.push(take_one(bytes)?);
    }
    Some(all)
}
