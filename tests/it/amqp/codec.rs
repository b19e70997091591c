//! Methods and contents between text and bytes. Written apart from the broker's own codec, so that the two
//! cannot share a mistake. A line is a method's name, then its fields that are not empty:
//! `queue.declare queue=q durable arguments={x-expires=l100}`; contents add properties and `body=`.

use super::text::{Cursor, quote, quote_body, read_body};
use super::values::{
    Reader, Table, put_long, put_number, put_short, put_table, read_table, write_table,
};

/// The frame types.
pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const HEARTBEAT: u8 = 8;

/// Name, class, method, fields with their types: b bit, B H I L unsigned numbers of 1 2 4 8 octets,
/// s short string, S long string, F table.
type Signature = (&'static str, u16, u16, &'static str);

const METHODS: &[Signature] = &[
    (
        "connection.start",
        10,
        10,
        "version-major:B version-minor:B server-properties:F mechanisms:S locales:S",
    ),
    (
        "connection.start-ok",
        10,
        11,
        "client-properties:F mechanism:s response:S locale:s",
    ),
    ("connection.secure", 10, 20, "challenge:S"),
    ("connection.secure-ok", 10, 21, "response:S"),
    (
        "connection.tune",
        10,
        30,
        "channel-max:H frame-max:I heartbeat:H",
    ),
    (
        "connection.tune-ok",
        10,
        31,
        "channel-max:H frame-max:I heartbeat:H",
    ),
    (
        "connection.open",
        10,
        40,
        "virtual-host:s capabilities:s insist:b",
    ),
    ("connection.open-ok", 10, 41, "known-hosts:s"),
    (
        "connection.close",
        10,
        50,
        "reply-code:H reply-text:s class-id:H method-id:H",
    ),
    ("connection.close-ok", 10, 51, ""),
    ("connection.blocked", 10, 60, "reason:s"),
    ("connection.unblocked", 10, 61, ""),
    ("connection.update-secret", 10, 70, "new-secret:S reason:s"),
    ("connection.update-secret-ok", 10, 71, ""),
    ("channel.open", 20, 10, "out-of-band:s"),
    ("channel.open-ok", 20, 11, "channel-id:S"),
    ("channel.flow", 20, 20, "active:b"),
    ("channel.flow-ok", 20, 21, "active:b"),
    (
        "channel.close",
        20,
        40,
        "reply-code:H reply-text:s class-id:H method-id:H",
    ),
    ("channel.close-ok", 20, 41, ""),
    (
        "access.request",
        30,
        10,
        "realm:s exclusive:b passive:b active:b write:b read:b",
    ),
    ("access.request-ok", 30, 11, "ticket:H"),
    (
        "exchange.declare",
        40,
        10,
        "ticket:H exchange:s type:s passive:b durable:b auto-delete:b internal:b nowait:b arguments:F",
    ),
    ("exchange.declare-ok", 40, 11, ""),
    (
        "exchange.delete",
        40,
        20,
        "ticket:H exchange:s if-unused:b nowait:b",
    ),
    ("exchange.delete-ok", 40, 21, ""),
    (
        "exchange.bind",
        40,
        30,
        "ticket:H destination:s source:s routing-key:s nowait:b arguments:F",
    ),
    ("exchange.bind-ok", 40, 31, ""),
    (
        "exchange.unbind",
        40,
        40,
        "ticket:H destination:s source:s routing-key:s nowait:b arguments:F",
    ),
    ("exchange.unbind-ok", 40, 51, ""),
    (
        "queue.declare",
        50,
        10,
        "ticket:H queue:s passive:b durable:b exclusive:b auto-delete:b nowait:b arguments:F",
    ),
    (
        "queue.declare-ok",
        50,
        11,
        "queue:s message-count:I consumer-count:I",
    ),
    (
        "queue.bind",
        50,
        20,
        "ticket:H queue:s exchange:s routing-key:s nowait:b arguments:F",
    ),
    ("queue.bind-ok", 50, 21, ""),
    ("queue.purge", 50, 30, "ticket:H queue:s nowait:b"),
    ("queue.purge-ok", 50, 31, "message-count:I"),
    (
        "queue.delete",
        50,
        40,
        "ticket:H queue:s if-unused:b if-empty:b nowait:b",
    ),
    ("queue.delete-ok", 50, 41, "message-count:I"),
    (
        "queue.unbind",
        50,
        50,
        "ticket:H queue:s exchange:s routing-key:s arguments:F",
    ),
    ("queue.unbind-ok", 50, 51, ""),
    (
        "basic.qos",
        60,
        10,
        "prefetch-size:I prefetch-count:H global:b",
    ),
    ("basic.qos-ok", 60, 11, ""),
    (
        "basic.consume",
        60,
        20,
        "ticket:H queue:s consumer-tag:s no-local:b no-ack:b exclusive:b nowait:b arguments:F",
    ),
    ("basic.consume-ok", 60, 21, "consumer-tag:s"),
    ("basic.cancel", 60, 30, "consumer-tag:s nowait:b"),
    ("basic.cancel-ok", 60, 31, "consumer-tag:s"),
    (
        "basic.publish",
        60,
        40,
        "ticket:H exchange:s routing-key:s mandatory:b immediate:b",
    ),
    (
        "basic.return",
        60,
        50,
        "reply-code:H reply-text:s exchange:s routing-key:s",
    ),
    (
        "basic.deliver",
        60,
        60,
        "consumer-tag:s delivery-tag:L redelivered:b exchange:s routing-key:s",
    ),
    ("basic.get", 60, 70, "ticket:H queue:s no-ack:b"),
    (
        "basic.get-ok",
        60,
        71,
        "delivery-tag:L redelivered:b exchange:s routing-key:s message-count:I",
    ),
    ("basic.get-empty", 60, 72, "cluster-id:s"),
    ("basic.ack", 60, 80, "delivery-tag:L multiple:b"),
    ("basic.reject", 60, 90, "delivery-tag:L requeue:b"),
    ("basic.recover-async", 60, 100, "requeue:b"),
    ("basic.recover", 60, 110, "requeue:b"),
    ("basic.recover-ok", 60, 111, ""),
    ("basic.nack", 60, 120, "delivery-tag:L multiple:b requeue:b"),
    ("confirm.select", 85, 10, "nowait:b"),
    ("confirm.select-ok", 85, 11, ""),
    ("tx.select", 90, 10, ""),
    ("tx.select-ok", 90, 11, ""),
    ("tx.commit", 90, 20, ""),
    ("tx.commit-ok", 90, 21, ""),
    ("tx.rollback", 90, 30, ""),
    ("tx.rollback-ok", 90, 31, ""),
];

/// From the highest flag bit downwards.
const PROPERTIES: &[(&str, &str)] = &[
    ("content-type", "s"),
    ("content-encoding", "s"),
    ("headers", "F"),
    ("delivery-mode", "B"),
    ("priority", "B"),
    ("correlation-id", "s"),
    ("reply-to", "s"),
    ("expiration", "s"),
    ("message-id", "s"),
    ("timestamp", "L"),
    ("type", "s"),
    ("user-id", "s"),
    ("app-id", "s"),
    ("cluster-id", "s"),
];

/// One frame as it is on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) channel: u16,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        put_number(out, u64::from(self.channel), 2);
        put_long(out, &self.payload);
        out.push(0xCE);
    }
}

enum Argument {
    Flag,
    Word(Vec<u8>),
    Fields(Table),
}

struct Arguments(Vec<(Vec<u8>, Argument)>);

impl Arguments {
    fn read(cursor: &mut Cursor<'_>) -> Self {
        let mut arguments = Vec::new();
        cursor.skip_blanks();
        while !cursor.is_empty() {
            let key = cursor.key();
            let argument = match cursor.eat('=') {
                false => Argument::Flag,
                true if cursor.0.starts_with('{') => Argument::Fields(read_table(cursor)),
                true => Argument::Word(cursor.word()),
            };
            arguments.push((key, argument));
            cursor.skip_blanks();
        }
        Self(arguments)
    }

    fn take(&mut self, name: &str) -> Option<Argument> {
        let index = self.0.iter().position(|(key, _)| key == name.as_bytes())?;
        Some(self.0.remove(index).1)
    }
}

fn put_argument(out: &mut Vec<u8>, kind: &str, argument: Option<Argument>) {
    let word = match argument {
        Some(Argument::Fields(table)) => return put_table(out, &table),
        Some(Argument::Word(word)) => word,
        Some(Argument::Flag) | None => Vec::new(),
    };
    let number = || {
        if word.is_empty() {
            0
        } else {
            String::from_utf8_lossy(&word).parse().unwrap()
        }
    };
    match kind {
        "B" => put_number(out, number(), 1),
        "H" => put_number(out, number(), 2),
        "I" => put_number(out, number(), 4),
        "L" => put_number(out, number(), 8),
        "s" => put_short(out, &word),
        _ => put_long(out, &word),
    }
}

fn put_fields(out: &mut Vec<u8>, fields: &str, arguments: &mut Arguments) {
    let mut bits = 0;
    for field in fields.split_whitespace() {
        let (name, kind) = field.split_once(':').unwrap();
        if kind != "b" {
            bits = 0;
            put_argument(out, kind, arguments.take(name));
            continue;
        }
        if bits % 8 == 0 {
            out.push(0);
        }
        if arguments.take(name).is_some() {
            *out.last_mut().unwrap() |= 1 << (bits % 8);
        }
        bits += 1;
    }
}

fn put_properties(out: &mut Vec<u8>, arguments: &mut Arguments) {
    let flags_at = out.len();
    let mut flags: u16 = 0;
    put_number(out, 0, 2);
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if let Some(argument) = arguments.take(name) {
            flags |= 1 << (15 - index);
            put_argument(out, kind, Some(argument));
        }
    }
    out[flags_at..flags_at + 2].copy_from_slice(&flags.to_be_bytes());
}

pub(super) fn has_content(class: u16, method: u16) -> bool {
    class == 60 && matches!(method, 40 | 50 | 60 | 71)
}

/// The frames of a line, with bodies cut to `frame_max`.
pub(super) fn frames(channel: u16, line: &str, frame_max: usize) -> Vec<Frame> {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (_, class, method, fields) = METHODS
        .iter()
        .find(|signature| signature.0 == name)
        .unwrap_or_else(|| panic!("no method '{name}'"));
    let mut arguments = Arguments::read(&mut Cursor(rest));
    let mut payload = Vec::new();
    put_number(&mut payload, u64::from(*class), 2);
    put_number(&mut payload, u64::from(*method), 2);
    put_fields(&mut payload, fields, &mut arguments);
    let mut frames = vec![Frame {
        kind: METHOD,
        channel,
        payload,
    }];
    if has_content(*class, *method) {
        let body = match arguments.take("body") {
            Some(Argument::Word(word)) => read_body(&word),
            _ => Vec::new(),
        };
        let mut header = Vec::new();
        put_number(&mut header, u64::from(*class), 2);
        put_number(&mut header, 0, 2);
        put_number(&mut header, body.len() as u64, 8);
        put_properties(&mut header, &mut arguments);
        frames.push(Frame {
            kind: HEADER,
            channel,
            payload: header,
        });
        let pieces = body.chunks(frame_max - 8);
        frames.extend(pieces.map(|piece| Frame {
            kind: BODY,
            channel,
            payload: piece.to_vec(),
        }));
    }
    let unknown: Vec<_> = arguments
        .0
        .iter()
        .map(|(key, _)| String::from_utf8_lossy(key))
        .collect();
    assert!(unknown.is_empty(), "'{name}' has no field {unknown:?}");
    frames
}

fn write_field(out: &mut String, name: &str, kind: &str, reader: &mut Reader<'_>) -> Option<()> {
    let number = match kind {
        "s" | "S" => {
            let word = if kind == "s" {
                reader.short()?
            } else {
                reader.long()?
            };
            if !word.is_empty() {
                out.push_str(&format!(" {name}={}", quote(word)));
            }
            return Some(());
        }
        "F" => {
            let table = reader.table()?;
            if !table.is_empty() {
                out.push_str(&format!(" {name}="));
                write_table(out, &table);
            }
            return Some(());
        }
        "B" => reader.number(1)?,
        "H" => reader.number(2)?,
        "I" => reader.number(4)?,
        _ => reader.number(8)?,
    };
    out.push_str(&format!(" {name}={number}"));
    Some(())
}

/// A method's class, id and line; a payload that is not a whole method is an error that shows it.
pub(super) fn method_line(payload: &[u8]) -> Result<(u16, u16, String), String> {
    let parse = || {
        let mut reader = Reader(payload);
        let class = u16::try_from(reader.number(2)?).ok()?;
        let method = u16::try_from(reader.number(2)?).ok()?;
        let signature = METHODS
            .iter()
            .find(|signature| (signature.1, signature.2) == (class, method))?;
        let mut line = signature.0.to_owned();
        let mut bits = (0, 0);
        for field in signature.3.split_whitespace() {
            let (name, kind) = field.split_once(':')?;
            if kind != "b" {
                bits.0 = 0;
                write_field(&mut line, name, kind, &mut reader)?;
                continue;
            }
            if bits.0 % 8 == 0 {
                bits.1 = reader.number(1)?;
            }
            if bits.1 >> (bits.0 % 8) & 1 == 1 {
                line.push_str(&format!(" {name}"));
            }
            bits.0 += 1;
        }
        reader.0.is_empty().then_some((class, method, line))
    };
    parse().ok_or_else(|| format!("not a method: {payload:02x?}"))
}

/// The body size that a content header announces.
pub(super) fn body_size(header: &[u8]) -> u64 {
    Reader(&header[4..]).number(8).unwrap()
}

/// ` property=… body=…` of a whole content.
pub(super) fn content_line(header: &[u8], body: &[u8]) -> String {
    let mut reader = Reader(&header[12..]);
    let flags = reader.number(2).unwrap();
    let mut line = String::new();
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags >> (15 - index) & 1 == 1 {
            write_field(&mut line, name, kind, &mut reader)
                .unwrap_or_else(|| panic!("property '{name}': {header:?}"));
        }
    }
    assert!(
        reader.0.is_empty(),
        "octets behind the properties: {header:02x?}"
    );
    line.push_str(&format!(" body={}", quote_body(body)));
    line
}

/// The word of one field of a line.
pub(super) fn field(line: &str, name: &str) -> String {
    let mut arguments = Arguments::read(&mut Cursor(line.split_once(' ').unwrap_or_default().1));
    match arguments.take(name) {
        Some(Argument::Word(word)) => String::from_utf8(word).unwrap(),
        _ => String::new(),
    }
}
