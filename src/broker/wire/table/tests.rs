use amq_protocol::{
    frame::AMQPFrame,
    protocol::{AMQPClass, queue},
    types::FieldTable,
};
use bytes::Bytes;
use proptest::{collection, prelude::*};

use super::{ArrayBuilder, MAX_DEPTH, Table, TableBuilder, TableError, ValueRef};
use crate::broker::wire::oracle;

/// The table's fields as the oracle writes them.
fn written_by_oracle(table: &FieldTable) -> Bytes {
    let frame = oracle::write(&AMQPFrame::Method(
        1,
        AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: "".into(),
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: table.clone(),
        })),
    ));
    // head 7, ids 4, ticket 2, empty name 1, bits 1, length 4; one octet of end
    Bytes::copy_from_slice(&frame[19..frame.len() - 1])
}

#[track_caller]
fn check(raw: &[u8], expected: Result<(), TableError>) {
    assert_eq!(
        Table::decode(Bytes::copy_from_slice(raw)).map(drop),
        expected
    );
}

#[test]
fn malformed_input_is_refused() {
    check(b"", Ok(()));
    check(b"\x01kV", Ok(()));
    check(b"\x01k", Err(TableError::Truncated));
    check(b"\x05k", Err(TableError::Truncated));
    check(b"\x01kI\0\0\0", Err(TableError::Truncated));
    check(b"\x01kS\0\0\0\x02a", Err(TableError::Truncated));
    check(b"\x01kS\xff\xff\xff\xffa", Err(TableError::Truncated));
    check(b"\x01kU\0\0", Err(TableError::UnknownTag(b'U')));
    check(b"\x01k\0", Err(TableError::UnknownTag(0)));
    // A malformed field inside a table or an array that is itself of the right length.
    check(b"\x01kF\0\0\0\x03\x01k?", Err(TableError::UnknownTag(b'?')));
    check(b"\x01kA\0\0\0\x02I\0", Err(TableError::Truncated));
}

/// `levels` tables within each other, the outermost counted.
fn nested(levels: usize) -> Table {
    (1..levels).fold(Table::EMPTY, |inner, _| {
        let mut builder = TableBuilder::new();
        builder.put_table("t", &inner);
        builder.build()
    })
}

#[test]
fn nesting_has_a_limit() {
    let decode = |levels| Table::decode(Bytes::copy_from_slice(nested(levels).as_bytes()));
    assert!(decode(MAX_DEPTH).is_ok());
    assert_eq!(decode(MAX_DEPTH + 1), Err(TableError::TooDeep));
    assert_eq!(decode(1000), Err(TableError::TooDeep));
}

#[test]
fn arrays_count_as_levels() {
    let raw = (0..1000).fold(Vec::new(), |inner, _| {
        let mut array = vec![b'A'];
        array.extend_from_slice(&u32::try_from(inner.len()).expect("small").to_be_bytes());
        array.extend_from_slice(&inner);
        array
    });
    check(
        &[b"\x01k".as_slice(), &raw].concat(),
        Err(TableError::TooDeep),
    );
}

#[test]
fn order_and_duplicates_stay() {
    let mut builder = TableBuilder::new();
    builder
        .put_str("z", "1")
        .put_long("a", 2)
        .put_bool("z", true);
    let table = Table::decode(builder.build().0).expect("well-formed");
    let names: Vec<_> = table.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [b"z", b"a", b"z"]);
    assert_eq!(table.field(b"z"), Some(ValueRef::Str(b"1")));
    assert_eq!(table.field(b"q"), None);
}

#[test]
fn long_names_are_cut() {
    let mut builder = TableBuilder::new();
    builder.put_long("n".repeat(300), 1);
    let table = Table::decode(builder.build().0).expect("well-formed");
    assert_eq!(table.iter().next().map(|(name, _)| name.len()), Some(255));
}

#[test]
fn integers_of_every_width_are_numbers() {
    let mut array = ArrayBuilder::new();
    array
        .push(ValueRef::I8(-1))
        .push(ValueRef::U8(255))
        .push(ValueRef::I16(-2))
        .push(ValueRef::U16(65535))
        .push(ValueRef::I32(-3))
        .push(ValueRef::U32(u32::MAX))
        .push(ValueRef::I64(i64::MIN));
    let numbers: Vec<_> = array
        .view()
        .iter()
        .filter_map(ValueRef::as_integer)
        .collect();
    assert_eq!(numbers, [-1, 255, -2, 65535, -3, 4_294_967_295, i64::MIN]);
    assert_eq!(ValueRef::Str(b"1").as_integer(), None);
    assert_eq!(ValueRef::Timestamp(1).as_integer(), None);
}

#[test]
fn both_tags_of_long_are_signed() {
    let table = Table::decode(Bytes::from_static(
        b"\x01aL\xff\xff\xff\xff\xff\xff\xff\xff",
    ));
    assert_eq!(
        table.expect("well-formed").field(b"a"),
        Some(ValueRef::I64(-1))
    );
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(table in oracle::table()) {
        let theirs = written_by_oracle(&table);
        let ours = Table::decode(theirs.clone()).expect("well-formed");
        prop_assert_eq!(&oracle::from_ours(ours.view()), &table);
        let built = oracle::to_ours(&table);
        prop_assert_eq!(built.as_bytes(), theirs);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_to_the_end(raw in collection::vec(any::<u8>(), 0..200)) {
        if let Ok(table) = Table::decode(Bytes::from(raw)) {
            let mut again = TableBuilder::new();
            for (name, value) in &table {
                again.put(name, value);
            }
            prop_assert_eq!(again.build().as_bytes().len(), table.as_bytes().len());
        }
    }

    #[test]
    fn a_table_cut_short_is_refused_or_ends_between_two_fields(table in oracle::our_table()) {
        let ends: Vec<usize> = table
            .iter()
            .map(|(name, _)| name.as_ptr().addr() - 1 - table.as_bytes().as_ptr().addr())
            .collect();
        for len in 0..table.as_bytes().len() {
            let cut = Table::decode(Bytes::copy_from_slice(&table.as_bytes()[..len]));
            prop_assert_eq!(cut.is_ok(), ends.contains(&len), "cut at {}", len);
        }
    }
}
