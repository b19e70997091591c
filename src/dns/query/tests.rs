use hickory_proto::{
    op::{Edns as OtherEdns, Message, MessageType, OpCode, Query},
    rr::{DNSClass, Name, RecordType},
};
use proptest::prelude::*;

use super::{DnsQuery, Edns, ResponseCode, Unusable};

proptest! {
    #[test]
    fn queries_of_another_implementation_are_read(
        id: u16,
        labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..8),
        kind in 1_u16..=40,
        size in proptest::option::of(any::<u16>()),
        recursive: bool,
    ) {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = recursive;
        let name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap();
        message.add_query(Query::query(name.clone(), RecordType::from(kind)));
        if let Some(size) = size {
            let mut edns = OtherEdns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        let bytes = message.to_vec().unwrap();
        let read = DnsQuery::read(&bytes).unwrap();
        prop_assert_eq!((read.id, read.kind, read.class), (id, kind, DNSClass::IN.into()));
        prop_assert_eq!(read.wants_recursion(), recursive);
        let own: Vec<_> = read.name.labels().map(<[u8]>::to_vec).collect();
        let other: Vec<_> = name.iter().map(<[u8]>::to_ascii_lowercase).collect();
        prop_assert_eq!(own, other);
        // Sizes below 512 are as good as 512 (RFC 6891, section 6.2.3); the other side raises them itself.
        let expected = size.map(|size| Edns { size: size.max(512), version: 0 });
        prop_assert_eq!(read.edns.map(|edns| Edns { size: edns.size.max(512), ..edns }), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = DnsQuery::read(&message);
    }
}

#[track_caller]
fn check(additional: &[u8], count: u8, expected: Result<Option<Edns>, ResponseCode>) {
    let mut message = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01".to_vec();
    message[11] = count;
    message.extend(additional);
    let read = DnsQuery::read(&message).map(|read| read.edns);
    let read = read.map_err(|unusable| match unusable {
        Unusable::Answer { code, .. } => code,
        Unusable::Silent => panic!("an answer is expected"),
    });
    assert_eq!(read, expected, "{additional:?}");
}

#[test]
fn edns_is_found_among_other_records_and_faults_are_refused() {
    let opt = b"\0\0\x29\x10\0\0\x02\0\0\0\0";
    let other = b"\x01a\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04";
    let edns = Some(Edns {
        size: 4096,
        version: 2,
    });
    let wrong = Err(ResponseCode::FormErr);
    check(b"", 0, Ok(None));
    check(b"trailing", 0, Ok(None));
    check(opt, 1, Ok(edns));
    check(&[&other[..], opt].concat(), 2, Ok(edns));
    check(&[&opt[..], opt].concat(), 2, wrong);
    check(other, 2, wrong);
    check(&opt[..9], 1, wrong);
    check(b"\x01a\0\0\x29\x10\0\0\0\0\0\0\0", 1, wrong);
    check(b"\0\0\x29\x10\0\0\0\0\0\0\x05abc", 1, wrong);
    check(b"\x80\0\x29", 1, wrong);
}
