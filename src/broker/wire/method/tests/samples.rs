//! One method of each kind, filled from a pool of values.

use bytes::Bytes;
use proptest::{collection, prelude::*};

use crate::broker::wire::{
    Method, ShortStr, Table,
    method::{basic, channel, connection, exchange, modes, queue},
    oracle,
};

/// Values to fill methods with, each different from its neighbours.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    short: Vec<ShortStr>,
    long: Vec<Bytes>,
    bits: [bool; 5],
    octets: [u8; 2],
    words: [u16; 3],
    number: u32,
    tag: u64,
    table: Table,
}

impl Pool {
    /// Nothing remarkable.
    pub(super) fn plain() -> Self {
        Self {
            short: vec![ShortStr::from_static("s"); 4],
            long: vec![Bytes::from_static(b"l"); 2],
            bits: [true, false, true, false, true],
            octets: [0, 9],
            words: [1, 2, 3],
            number: 4,
            tag: 5,
            table: Table::EMPTY,
        }
    }

    /// Texts without quotes and the letter b, which would look like the start of bytes, and no
    /// tables: what the oracle shows in the same words.
    pub(super) fn any_text() -> impl Strategy<Value = Self> {
        let short = "[c-z.*#_ ]{0,12}".prop_map(|text| ShortStr::try_from(text).expect("short"));
        let long = "[c-z ]{0,12}".prop_map(Bytes::from);
        Self::filled(short, long, Just(Table::EMPTY))
    }

    /// Any text, anything else.
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let short = "\\PC{0,80}".prop_map(|text| ShortStr::truncated(&text));
        Self::filled(short, oracle::long(), oracle::our_table())
    }

    fn filled(
        short: impl Strategy<Value = ShortStr>,
        long: impl Strategy<Value = Bytes>,
        table: impl Strategy<Value = Table>,
    ) -> impl Strategy<Value = Self> {
        let strings = (collection::vec(short, 4), collection::vec(long, 2), table);
        let numbers = any::<([bool; 5], [u8; 2], [u16; 3], u32, u64)>();
        (strings, numbers).prop_map(|(strings, numbers)| {
            let (short, long, table) = strings;
            let (bits, octets, words, number, tag) = numbers;
            Self {
                short,
                long,
                bits,
                octets,
                words,
                number,
                tag,
                table,
            }
        })
    }
}

/// One of each, in the order of their numbers.
pub(super) fn samples(pool: &Pool) -> Vec<Method> {
    let mut all = Vec::new();
    connections(pool, &mut all);
    channels(pool, &mut all);
    exchanges(pool, &mut all);
    queues(pool, &mut all);
    basics(pool, &mut all);
    basics_from_server(pool, &mut all);
    basics_after(pool, &mut all);
    all.extend([
        modes::ConfirmSelect {
            nowait: pool.bits[0],
        }
        .into(),
        modes::ConfirmSelectOk {}.into(),
        modes::TxSelect {}.into(),
        modes::TxSelectOk {}.into(),
        modes::TxCommit {}.into(),
        modes::TxCommitOk {}.into(),
        modes::TxRollback {}.into(),
        modes::TxRollbackOk {}.into(),
    ]);
    all
}

fn connections(pool: &Pool, all: &mut Vec<Method>) {
    let [s0, s1, ..] = short(pool);
    let long = |at: usize| pool.long[at].clone();
    let [w0, w1, w2] = pool.words;
    all.extend([
        connection::Start {
            version_major: pool.octets[0],
            version_minor: pool.octets[1],
            server_properties: pool.table.clone(),
            mechanisms: long(0),
            locales: long(1),
        }
        .into(),
        connection::StartOk {
            client_properties: pool.table.clone(),
            mechanism: s0.clone(),
            response: long(0),
            locale: s1.clone(),
        }
        .into(),
        connection::Secure { challenge: long(0) }.into(),
        connection::SecureOk { response: long(1) }.into(),
        connection::Tune {
            channel_max: w0,
            frame_max: pool.number,
            heartbeat: w1,
        }
        .into(),
        connection::TuneOk {
            channel_max: w1,
            frame_max: pool.number,
            heartbeat: w2,
        }
        .into(),
        connection::Open { vhost: s0.clone() }.into(),
        connection::OpenOk {}.into(),
        connection::Close {
            reply_code: w0,
            reply_text: s1.clone(),
            class_id: w1,
            method_id: w2,
        }
        .into(),
        connection::CloseOk {}.into(),
        connection::Blocked { reason: s0.clone() }.into(),
        connection::Unblocked {}.into(),
        connection::UpdateSecret {
            new_secret: long(0),
            reason: s0.clone(),
        }
        .into(),
        connection::UpdateSecretOk {}.into(),
    ]);
}

fn channels(pool: &Pool, all: &mut Vec<Method>) {
    let [s0, ..] = short(pool);
    let [w0, w1, w2] = pool.words;
    let [exclusive, passive, active, write, read] = pool.bits;
    all.extend([
        channel::Open {}.into(),
        channel::OpenOk {}.into(),
        channel::Flow { active }.into(),
        channel::FlowOk { active: !active }.into(),
        channel::Close {
            reply_code: w0,
            reply_text: s0.clone(),
            class_id: w1,
            method_id: w2,
        }
        .into(),
        channel::CloseOk {}.into(),
        modes::AccessRequest {
            realm: s0.clone(),
            exclusive,
            passive,
            active,
            write,
            read,
        }
        .into(),
        modes::AccessRequestOk { ticket: w0 }.into(),
    ]);
}

fn exchanges(pool: &Pool, all: &mut Vec<Method>) {
    let [s0, s1, s2, _] = short(pool);
    let [passive, durable, auto_delete, internal, nowait] = pool.bits;
    let arguments = pool.table.clone();
    all.extend([
        exchange::Declare {
            exchange: s0.clone(),
            kind: s1.clone(),
            passive,
            durable,
            auto_delete,
            internal,
            nowait,
            arguments: arguments.clone(),
        }
        .into(),
        exchange::DeclareOk {}.into(),
        exchange::Delete {
            exchange: s0.clone(),
            if_unused: passive,
            nowait,
        }
        .into(),
        exchange::DeleteOk {}.into(),
        exchange::Bind {
            destination: s0.clone(),
            source: s1.clone(),
            routing_key: s2.clone(),
            nowait,
            arguments: arguments.clone(),
        }
        .into(),
        exchange::BindOk {}.into(),
        exchange::Unbind {
            destination: s0.clone(),
            source: s1.clone(),
            routing_key: s2.clone(),
            nowait,
            arguments,
        }
        .into(),
        exchange::UnbindOk {}.into(),
    ]);
}

fn queues(pool: &Pool, all: &mut Vec<Method>) {
    let [s0, s1, s2, _] = short(pool);
    let [passive, durable, exclusive, auto_delete, nowait] = pool.bits;
    let arguments = pool.table.clone();
    all.extend([
        queue::Declare {
            queue: s0.clone(),
            passive,
            durable,
            exclusive,
            auto_delete,
            nowait,
            arguments: arguments.clone(),
        }
        .into(),
        queue::DeclareOk {
            queue: s0.clone(),
            message_count: pool.number,
            consumer_count: !pool.number,
        }
        .into(),
        queue::Bind {
            queue: s0.clone(),
            exchange: s1.clone(),
            routing_key: s2.clone(),
            nowait,
            arguments: arguments.clone(),
        }
        .into(),
        queue::BindOk {}.into(),
        queue::Purge {
            queue: s0.clone(),
            nowait,
        }
        .into(),
        queue::PurgeOk {
            message_count: pool.number,
        }
        .into(),
        queue::Delete {
            queue: s0.clone(),
            if_unused: passive,
            if_empty: durable,
            nowait,
        }
        .into(),
        queue::DeleteOk {
            message_count: pool.number,
        }
        .into(),
        queue::Unbind {
            queue: s0,
            exchange: s1,
            routing_key: s2,
            arguments,
        }
        .into(),
        queue::UnbindOk {}.into(),
    ]);
}

fn basics(pool: &Pool, all: &mut Vec<Method>) {
    let [s0, s1, ..] = short(pool);
    let [no_local, no_ack, exclusive, nowait, global] = pool.bits;
    all.extend([
        basic::Qos {
            prefetch_size: pool.number,
            prefetch_count: pool.words[0],
            global,
        }
        .into(),
        basic::QosOk {}.into(),
        basic::Consume {
            queue: s0.clone(),
            consumer_tag: s1.clone(),
            no_local,
            no_ack,
            exclusive,
            nowait,
            arguments: pool.table.clone(),
        }
        .into(),
        basic::ConsumeOk {
            consumer_tag: s0.clone(),
        }
        .into(),
        basic::Cancel {
            consumer_tag: s0,
            nowait,
        }
        .into(),
        basic::CancelOk {
            consumer_tag: s1.clone(),
        }
        .into(),
    ]);
}

fn basics_from_server(pool: &Pool, all: &mut Vec<Method>) {
    let [s0, s1, s2, _] = short(pool);
    let [mandatory, immediate, redelivered, no_ack, _] = pool.bits;
    all.extend([
        basic::Publish {
            exchange: s0.clone(),
            routing_key: s1.clone(),
            mandatory,
            immediate,
        }
        .into(),
        basic::Return {
            reply_code: pool.words[0],
            reply_text: s0.clone(),
            exchange: s1.clone(),
            routing_key: s2.clone(),
        }
        .into(),
        basic::Deliver {
            consumer_tag: s0.clone(),
            delivery_tag: pool.tag,
            redelivered,
            exchange: s1.clone(),
            routing_key: s2.clone(),
        }
        .into(),
        basic::Get { queue: s0, no_ack }.into(),
        basic::GetOk {
            delivery_tag: pool.tag,
            redelivered,
            exchange: s1,
            routing_key: s2,
            message_count: pool.number,
        }
        .into(),
        basic::GetEmpty {}.into(),
    ]);
}

fn basics_after(pool: &Pool, all: &mut Vec<Method>) {
    let delivery_tag = pool.tag;
    let [multiple, requeue, ..] = pool.bits;
    all.extend([
        basic::Ack {
            delivery_tag,
            multiple,
        }
        .into(),
        basic::Reject {
            delivery_tag,
            requeue,
        }
        .into(),
        basic::RecoverAsync { requeue }.into(),
        basic::Recover { requeue }.into(),
        basic::RecoverOk {}.into(),
        basic::Nack {
            delivery_tag,
            multiple,
            requeue,
        }
        .into(),
    ]);
}

fn short(pool: &Pool) -> [ShortStr; 4] {
    [0, 1, 2, 3].map(|at: usize| pool.short[at].clone())
}
