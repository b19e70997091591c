//! For tests: another implementation of the same protocol to agree with, and random values.

use amq_protocol::{
    frame::{AMQPFrame, WriteContext, gen_frame, parse_frame},
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable},
};
use bytes::Bytes;
use proptest::{collection, prelude::*};

use super::{
    ArrayRef, ShortStr, Table, TableRef, ValueRef, table::ArrayBuilder, table::TableBuilder,
};

/// What the oracle reads from exactly one frame.
#[track_caller]
pub(super) fn read(bytes: &[u8]) -> AMQPFrame {
    let (rest, frame) = parse_frame(bytes).expect("the oracle reads it");
    assert_eq!(rest, b"", "the oracle reads all of it");
    frame
}

/// What the oracle writes.
pub(super) fn write(frame: &AMQPFrame) -> Vec<u8> {
    let written = gen_frame(frame)(WriteContext::from(Vec::new())).expect("a vector grows");
    written.into_inner().0
}

/// Any short string, mostly text.
pub(super) fn short() -> impl Strategy<Value = ShortStr> {
    let text = "[a-z.*#_ ]{0,12}".prop_map(|text| ShortStr::try_from(text).expect("short"));
    let bytes = collection::vec(any::<u8>(), 0..=255);
    prop_oneof![8 => text, 1 => bytes.prop_map(|bytes| ShortStr::copied(&bytes).expect("short"))]
}

/// Any field value of the oracle's, nested a few levels.
pub(super) fn value() -> impl Strategy<Value = AMQPValue> {
    let octets = || collection::vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<(u8, u32)>()
            .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        octets().prop_map(|octets| AMQPValue::LongString(octets.into())),
        octets().prop_map(|octets| AMQPValue::ByteArray(octets.into())),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..6)
                .prop_map(|values| AMQPValue::FieldArray(values.into())),
            fields(inner).prop_map(AMQPValue::FieldTable),
        ]
    })
}

/// Any field table of the oracle's.
pub(super) fn table() -> impl Strategy<Value = FieldTable> {
    fields(value())
}

fn fields(value: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
    collection::btree_map("[a-zA-Z0-9-]{0,10}", value, 0..6).prop_map(|map| {
        let named = map.into_iter().map(|(name, value)| (name.into(), value));
        FieldTable::from(named.collect::<std::collections::BTreeMap<_, _>>())
    })
}

/// Our table in the oracle's terms.
pub(super) fn from_ours(table: TableRef<'_>) -> FieldTable {
    let mut all = FieldTable::default();
    for (name, value) in table {
        let name = std::str::from_utf8(name).expect("the names made here are text");
        all.insert(name.into(), value_from_ours(value));
    }
    all
}

fn array_from_ours(array: ArrayRef<'_>) -> FieldArray {
    array.iter().map(value_from_ours).collect::<Vec<_>>().into()
}

fn value_from_ours(value: ValueRef<'_>) -> AMQPValue {
    match value {
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
        ValueRef::Str(bytes) => AMQPValue::LongString(bytes.to_vec().into()),
        ValueRef::Bytes(bytes) => AMQPValue::ByteArray(bytes.to_vec().into()),
        ValueRef::Array(array) => AMQPValue::FieldArray(array_from_ours(array)),
        ValueRef::Table(table) => AMQPValue::FieldTable(from_ours(table)),
        ValueRef::Timestamp(seconds) => AMQPValue::Timestamp(seconds),
        ValueRef::Void => AMQPValue::Void,
    }
}

/// The oracle's table, built with our builder in the oracle's order.
pub(super) fn to_ours(table: &FieldTable) -> Table {
    let mut builder = TableBuilder::new();
    for (name, value) in table {
        with_ours(value, &mut |value| {
            builder.put(name.as_str(), value);
        });
    }
    builder.build()
}

fn with_ours(value: &AMQPValue, then: &mut dyn FnMut(ValueRef<'_>)) {
    match value {
        AMQPValue::Boolean(value) => then(ValueRef::Bool(*value)),
        AMQPValue::ShortShortInt(value) => then(ValueRef::I8(*value)),
        AMQPValue::ShortShortUInt(value) => then(ValueRef::U8(*value)),
        AMQPValue::ShortInt(value) => then(ValueRef::I16(*value)),
        AMQPValue::ShortUInt(value) => then(ValueRef::U16(*value)),
        AMQPValue::LongInt(value) => then(ValueRef::I32(*value)),
        AMQPValue::LongUInt(value) => then(ValueRef::U32(*value)),
        AMQPValue::LongLongInt(value) => then(ValueRef::I64(*value)),
        AMQPValue::Float(value) => then(ValueRef::F32(*value)),
        AMQPValue::Double(value) => then(ValueRef::F64(*value)),
        AMQPValue::DecimalValue(DecimalValue { scale, value }) => {
            then(ValueRef::Decimal {
                scale: *scale,
                value: *value,
            });
        }
        AMQPValue::ShortString(_) => unreachable!("has no tag"),
        AMQPValue::LongString(text) => then(ValueRef::Str(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => then(ValueRef::Bytes(bytes.as_slice())),
        AMQPValue::FieldArray(array) => {
            let mut builder = ArrayBuilder::new();
            for value in array.as_slice() {
                with_ours(value, &mut |value| {
                    builder.push(value);
                });
            }
            then(ValueRef::Array(builder.view()));
        }
        AMQPValue::FieldTable(table) => then(ValueRef::Table(to_ours(table).view())),
        AMQPValue::Timestamp(seconds) => then(ValueRef::Timestamp(*seconds)),
        AMQPValue::Void => then(ValueRef::Void),
    }
}

/// Any of our tables.
pub(super) fn our_table() -> impl Strategy<Value = Table> {
    table().prop_map(|table| to_ours(&table))
}

/// Any long string.
pub(super) fn long() -> impl Strategy<Value = Bytes> {
    collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}
