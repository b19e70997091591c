//! Messages and errors, to and from the types of lapin.

use std::time::Duration;

use lapin::{
    BasicProperties, ErrorKind,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString, ShortString},
};

use crate::{
    broker::wire::{
        ArrayRef, Properties, ShortStr, Table, TableRef, ValueRef,
        properties::PropertyList,
        table::{ArrayBuilder, TableBuilder},
    },
    transport::amqp::{AmqpError, broker::Delivery},
};

/// Says what was tried when the broker refused or the library failed.
pub(super) fn at(what: &'static str) -> impl FnOnce(lapin::Error) -> AmqpError {
    move |error| {
        let (code, text) = match error.kind() {
            ErrorKind::ProtocolError(protocol) => {
                (Some(protocol.get_id()), protocol.get_message().to_string())
            }
            _ => (None, error.to_string()),
        };
        AmqpError::Broker {
            what,
            code,
            text: text.into(),
        }
    }
}

/// Waits for an answer, but not longer than `after`.
pub(super) async fn within<T>(
    what: &'static str,
    after: Duration,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, AmqpError> {
    AmqpError::within(what, after, async { answer.await.map_err(at(what)) }).await
}

/// A short string; what is not UTF-8 in it is replaced.
pub(super) fn text(of: &ShortStr) -> ShortString {
    match of.as_str() {
        Some(text) => text.into(),
        None => {
            let text = String::from_utf8_lossy(of);
            ShortStr::truncated(&text)
                .as_str()
                .unwrap_or_default()
                .into()
        }
    }
}

fn short(of: &ShortString) -> ShortStr {
    ShortStr::truncated(of.as_str())
}

/// Properties as lapin sends them.
pub(super) fn properties(of: &PropertyList) -> BasicProperties {
    let mut to = BasicProperties::default();
    type With = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&Option<ShortStr>, With); 10] = [
        (&of.content_type, BasicProperties::with_content_type),
        (&of.content_encoding, BasicProperties::with_content_encoding),
        (&of.correlation_id, BasicProperties::with_correlation_id),
        (&of.reply_to, BasicProperties::with_reply_to),
        (&of.expiration, BasicProperties::with_expiration),
        (&of.message_id, BasicProperties::with_message_id),
        (&of.kind, BasicProperties::with_type),
        (&of.user_id, BasicProperties::with_user_id),
        (&of.app_id, BasicProperties::with_app_id),
        (&of.cluster_id, BasicProperties::with_cluster_id),
    ];
    for (value, with) in texts {
        if let Some(value) = value {
            to = with(to, text(value));
        }
    }
    if let Some(headers) = &of.headers {
        to = to.with_headers(fields(headers.view()));
    }
    if let Some(mode) = of.delivery_mode {
        to = to.with_delivery_mode(mode);
    }
    if let Some(priority) = of.priority {
        to = to.with_priority(priority);
    }
    match of.timestamp {
        Some(timestamp) => to.with_timestamp(timestamp),
        None => to,
    }
}

/// A message as lapin received it.
pub(super) fn delivery(of: lapin::message::Delivery) -> Delivery {
    Delivery {
        tag: of.delivery_tag,
        key: short(&of.routing_key),
        properties: received(&of.properties),
        body: of.data.into(),
    }
}

fn received(of: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(short);
    let list = PropertyList {
        content_type: text(of.content_type()),
        content_encoding: text(of.content_encoding()),
        headers: of.headers().as_ref().map(table),
        delivery_mode: *of.delivery_mode(),
        priority: *of.priority(),
        correlation_id: text(of.correlation_id()),
        reply_to: text(of.reply_to()),
        expiration: text(of.expiration()),
        message_id: text(of.message_id()),
        timestamp: *of.timestamp(),
        kind: text(of.kind()),
        user_id: text(of.user_id()),
        app_id: text(of.app_id()),
        cluster_id: text(of.cluster_id()),
    };
    list.build()
}

/// A table for lapin. A name that is not UTF-8 has its wrong bytes replaced.
fn fields(of: TableRef<'_>) -> FieldTable {
    let mut to = FieldTable::default();
    for (name, value) in of {
        let name = String::from_utf8_lossy(name);
        let name = ShortStr::truncated(&name);
        to.insert(text(&name), value_out(value));
    }
    to
}

fn values(of: ArrayRef<'_>) -> FieldArray {
    of.iter().map(value_out).collect::<Vec<_>>().into()
}

fn value_out(of: ValueRef<'_>) -> AMQPValue {
    match of {
        ValueRef::Bool(value) => AMQPValue::Boolean(value),
        ValueRef::I8(value) => AMQPValue::ShortShortInt(value),
        ValueRef::U8(value) => AMQPValue::ShortShortUInt(value),
        ValueRef::I16(value) => AMQPValue::ShortInt(value),
        ValueRef::U16(value) => AMQPValue::ShortUInt(value),
        ValueRef::I32(value) => AMQPValue::LongInt(value),
        ValueRef::U32(value) => AMQPValue::LongUInt(value),
        ValueRef::I64(value) => AMQPValue::LongLongInt(value),
        ValueRef::F32(value) => AMQPValue::Float(value),
        ValueRef::F64(value) => AMQPValue::Double(value),
        ValueRef::Decimal { scale, value } => {
            AMQPValue::DecimalValue(DecimalValue { scale, value })
        }
        ValueRef::Str(bytes) => AMQPValue::LongString(LongString::from(bytes)),
        ValueRef::Bytes(bytes) => AMQPValue::ByteArray(bytes.to_vec().into()),
        ValueRef::Array(array) => AMQPValue::FieldArray(values(array)),
        ValueRef::Table(table) => AMQPValue::FieldTable(fields(table)),
        ValueRef::Timestamp(seconds) => AMQPValue::Timestamp(seconds),
        ValueRef::Void => AMQPValue::Void,
    }
}

/// A table from lapin.
fn table(of: &FieldTable) -> Table {
    let mut to = TableBuilder::new();
    for (name, value) in of.inner() {
        with_value(value, &mut |value| {
            to.put(name.as_str(), value);
        });
    }
    to.build()
}

/// Passes a value to `put`; arrays and tables live only during that call.
fn with_value(of: &AMQPValue, put: &mut dyn FnMut(ValueRef<'_>)) {
    match of {
        AMQPValue::Boolean(value) => put(ValueRef::Bool(*value)),
        AMQPValue::ShortShortInt(value) => put(ValueRef::I8(*value)),
        AMQPValue::ShortShortUInt(value) => put(ValueRef::U8(*value)),
        AMQPValue::ShortInt(value) => put(ValueRef::I16(*value)),
        AMQPValue::ShortUInt(value) => put(ValueRef::U16(*value)),
        AMQPValue::LongInt(value) => put(ValueRef::I32(*value)),
        AMQPValue::LongUInt(value) => put(ValueRef::U32(*value)),
        AMQPValue::LongLongInt(value) => put(ValueRef::I64(*value)),
        AMQPValue::Float(value) => put(ValueRef::F32(*value)),
        AMQPValue::Double(value) => put(ValueRef::F64(*value)),
        AMQPValue::DecimalValue(decimal) => put(ValueRef::Decimal {
            scale: decimal.scale,
            value: decimal.value,
        }),
        AMQPValue::ShortString(text) => put(ValueRef::Str(text.as_str().as_bytes())),
        AMQPValue::LongString(text) => put(ValueRef::Str(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => put(ValueRef::Bytes(bytes.as_slice())),
        AMQPValue::FieldArray(array) => {
            let mut to = ArrayBuilder::new();
            for value in array.as_slice() {
                with_value(value, &mut |value| {
                    to.push(value);
                });
            }
            put(ValueRef::Array(to.view()));
        }
        AMQPValue::FieldTable(fields) => put(ValueRef::Table(table(fields).view())),
        AMQPValue::Timestamp(seconds) => put(ValueRef::Timestamp(*seconds)),
        AMQPValue::Void => put(ValueRef::Void),
    }
}
