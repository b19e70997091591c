//! Well-formed methods of a client. They use few names, so that they refer to the same objects.

use bytes::BytesMut;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use musterd::broker::wire::{
    Method, ShortStr, Table, ValueRef,
    content::put_content,
    frame::MIN_FRAME_MAX,
    method::{basic, channel, connection, exchange, modes, queue},
    properties::PropertyList,
    table::{ArrayBuilder, TableBuilder},
};

const QUEUES: &[&str] = &[
    "",
    "a",
    "b",
    "c",
    "quorum",
    "amq.rabbitmq.reply-to",
    "amq.x",
    "forbidden",
    "with\nbreak",
];
const EXCHANGES: &[&str] = &[
    "",
    "x",
    "y",
    "z",
    "amq.direct",
    "amq.fanout",
    "amq.topic",
    "amq.headers",
    "forbidden",
];
const KINDS: &[&str] = &["direct", "fanout", "topic", "headers", "bogus"];
const KEYS: &[&str] = &[
    "",
    "a",
    "b",
    "c",
    "a.b",
    "a.*",
    "#",
    "*.#",
    "a.b.c",
    "amq.rabbitmq.reply-to",
];
const TAGS: &[&str] = &["", "s", "t", "u"];
const ARGUMENTS: &[&str] = &[
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-priority",
    "x-match",
    "alternate-exchange",
    "CC",
    "BCC",
    "a",
    "b",
];
const WORDS: &[&str] = &[
    "",
    "a",
    "b",
    "x",
    "y",
    "drop-head",
    "reject-publish",
    "reject-publish-dlx",
    "classic",
    "quorum",
    "stream",
    "any",
    "all",
    "all-with-x",
    "any-with-x",
    "amq.direct",
];
const NUMBERS: &[i64] = &[
    0,
    1,
    2,
    3,
    5,
    10,
    100,
    255,
    256,
    60_000,
    -1,
    i64::MIN,
    i64::MAX,
];

fn name(u: &mut Unstructured<'_>, from: &[&'static str]) -> Result<ShortStr> {
    Ok(ShortStr::from_static(u.choose(from)?))
}

fn table(u: &mut Unstructured<'_>) -> Result<Table> {
    let mut builder = TableBuilder::new();
    for _ in 0..u.int_in_range(0..=3)? {
        let key = u.choose(ARGUMENTS)?;
        let mut words = ArrayBuilder::new();
        match u.int_in_range(0..=7)? {
            0..=2 => builder.put_long(key, *u.choose(NUMBERS)?),
            3 | 4 => builder.put_str(key, u.choose(WORDS)?),
            5 => builder.put_bool(key, u.arbitrary()?),
            6 => builder.put(key, ValueRef::Void),
            _ => {
                for _ in 0..u.int_in_range(0..=2)? {
                    words.push(ValueRef::Str(u.choose(KEYS)?.as_bytes()));
                }
                builder.put_array(key, &words)
            }
        };
    }
    Ok(builder.build())
}

/// Any method that a client may send.
pub fn client_method(u: &mut Unstructured<'_>) -> Result<Method> {
    Ok(match u.int_in_range(0..=31)? {
        0 | 1 => channel::Open {}.into(),
        2 => channel::Close {
            reply_code: 200,
            ..Default::default()
        }
        .into(),
        3 => channel::CloseOk {}.into(),
        4 => channel::Flow {
            active: u.arbitrary()?,
        }
        .into(),
        5 => modes::AccessRequest::default().into(),
        6 | 7 => exchange::Declare {
            exchange: name(u, EXCHANGES)?,
            kind: name(u, KINDS)?,
            passive: u.ratio(1, 8)?,
            durable: u.arbitrary()?,
            auto_delete: u.ratio(1, 4)?,
            internal: u.ratio(1, 8)?,
            nowait: u.arbitrary()?,
            arguments: table(u)?,
        }
        .into(),
        8 => exchange::Delete {
            exchange: name(u, EXCHANGES)?,
            if_unused: u.arbitrary()?,
            nowait: u.arbitrary()?,
        }
        .into(),
        9 => exchange::Bind {
            destination: name(u, EXCHANGES)?,
            source: name(u, EXCHANGES)?,
            routing_key: name(u, KEYS)?,
            nowait: u.arbitrary()?,
            arguments: table(u)?,
        }
        .into(),
        10 => exchange::Unbind {
            destination: name(u, EXCHANGES)?,
            source: name(u, EXCHANGES)?,
            routing_key: name(u, KEYS)?,
            nowait: u.arbitrary()?,
            arguments: table(u)?,
        }
        .into(),
        11..=13 => queue::Declare {
            queue: name(u, QUEUES)?,
            passive: u.ratio(1, 8)?,
            durable: u.arbitrary()?,
            exclusive: u.ratio(1, 4)?,
            auto_delete: u.ratio(1, 4)?,
            nowait: u.arbitrary()?,
            arguments: table(u)?,
        }
        .into(),
        14 | 15 => queue::Bind {
            queue: name(u, QUEUES)?,
            exchange: name(u, EXCHANGES)?,
            routing_key: name(u, KEYS)?,
            nowait: u.arbitrary()?,
            arguments: table(u)?,
        }
        .into(),
        16 => queue::Unbind {
            queue: name(u, QUEUES)?,
            exchange: name(u, EXCHANGES)?,
            routing_key: name(u, KEYS)?,
            arguments: table(u)?,
        }
        .into(),
        17 => queue::Purge {
            queue: name(u, QUEUES)?,
            nowait: u.arbitrary()?,
        }
        .into(),
        18 => queue::Delete {
            queue: name(u, QUEUES)?,
            if_unused: u.arbitrary()?,
            if_empty: u.arbitrary()?,
            nowait: u.arbitrary()?,
        }
        .into(),
        _ => basic_method(u)?,
    })
}

fn basic_method(u: &mut Unstructured<'_>) -> Result<Method> {
    let delivery_tag = u.int_in_range(0..=6)?;
    let (multiple, requeue) = u.arbitrary()?;
    Ok(match u.int_in_range(0..=19)? {
        0 => basic::Qos {
            prefetch_size: u32::from(u.ratio(1, 16)?),
            prefetch_count: u.int_in_range(0..=4)?,
            global: u.arbitrary()?,
        }
        .into(),
        1..=3 => basic::Consume {
            queue: name(u, QUEUES)?,
            consumer_tag: name(u, TAGS)?,
            no_local: u.arbitrary()?,
            no_ack: u.arbitrary()?,
            exclusive: u.ratio(1, 8)?,
            nowait: u.arbitrary()?,
            arguments: table(u)?,
        }
        .into(),
        4 => basic::Cancel {
            consumer_tag: name(u, TAGS)?,
            nowait: u.arbitrary()?,
        }
        .into(),
        5..=9 => basic::Publish {
            exchange: name(u, EXCHANGES)?,
            routing_key: name(u, KEYS)?,
            mandatory: u.arbitrary()?,
            immediate: u.ratio(1, 16)?,
        }
        .into(),
        10 => basic::Get {
            queue: name(u, QUEUES)?,
            no_ack: u.arbitrary()?,
        }
        .into(),
        11 | 12 => basic::Ack {
            delivery_tag,
            multiple,
        }
        .into(),
        13 => basic::Nack {
            delivery_tag,
            multiple,
            requeue,
        }
        .into(),
        14 => basic::Reject {
            delivery_tag,
            requeue,
        }
        .into(),
        15 => basic::Recover { requeue }.into(),
        16 => basic::RecoverAsync { requeue }.into(),
        17 => modes::ConfirmSelect {
            nowait: u.arbitrary()?,
        }
        .into(),
        18 => modes::TxSelect {}.into(),
        _ => match u.int_in_range(0..=3)? {
            0 => modes::TxRollback {}.into(),
            1 => connection::Close {
                reply_code: 200,
                ..Default::default()
            }
            .into(),
            2 => connection::CloseOk {}.into(),
            _ => modes::TxCommit {}.into(),
        },
    })
}

/// The frames of a content.
pub fn content(u: &mut Unstructured<'_>, channel: u16) -> Result<BytesMut> {
    let text = |u: &mut Unstructured<'_>| u.ratio(1, 4);
    let mut list = PropertyList::default();
    if u.arbitrary()? {
        list.delivery_mode = Some(u.int_in_range(0..=3)?);
        list.priority = Some(u.arbitrary()?);
    }
    if text(u)? {
        list.headers = Some(table(u)?);
    }
    if text(u)? {
        list.expiration = Some(name(
            u,
            &["0", "1", "100", "abc", "-1", "99999999999999999999"],
        )?);
    }
    if text(u)? {
        list.reply_to = Some(name(u, KEYS)?);
    }
    if text(u)? {
        list.user_id = Some(name(u, &["guest", "bob"])?);
    }
    let len = *u.choose(&[0, 1, 10, 100, 4088, 5000, 25_000])?;
    let mut out = BytesMut::new();
    put_content(
        &mut out,
        channel,
        &list.build(),
        &vec![b'.'; len],
        MIN_FRAME_MAX,
    );
    Ok(out)
}
