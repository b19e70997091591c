use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::basic::AMQPProperties,
};
use bytes::{Bytes, BytesMut};
use proptest::{collection, option, prelude::*};

use super::{Properties, PropertyList};
use crate::broker::wire::{
    ReplyCode, ShortStr, Table, WireError, content, oracle,
    table::{TableBuilder, TableError},
};

fn text() -> impl Strategy<Value = Option<ShortStr>> {
    option::of("[a-z0-9/]{0,20}".prop_map(|text| ShortStr::try_from(text).expect("short")))
}

prop_compose! {
    fn list()(
        (content_type, content_encoding, correlation_id, reply_to) in (text(), text(), text(), text()),
        (expiration, message_id, kind, user_id) in (text(), text(), text(), text()),
        (app_id, cluster_id) in (text(), text()),
        headers in option::of(oracle::our_table()),
        delivery_mode in any::<Option<u8>>(),
        priority in any::<Option<u8>>(),
        timestamp in any::<Option<u64>>(),
    ) -> PropertyList {
        PropertyList {
            content_type, content_encoding, headers, delivery_mode, priority, correlation_id,
            reply_to, expiration, message_id, timestamp, kind, user_id, app_id, cluster_id,
        }
    }
}

/// Our properties in the oracle's terms, every one by its name.
fn to_oracle(list: &PropertyList) -> AMQPProperties {
    type Set = fn(AMQPProperties, amq_protocol::types::ShortString) -> AMQPProperties;
    let texts: [(&Option<ShortStr>, Set); 10] = [
        (&list.content_type, AMQPProperties::with_content_type),
        (
            &list.content_encoding,
            AMQPProperties::with_content_encoding,
        ),
        (&list.correlation_id, AMQPProperties::with_correlation_id),
        (&list.reply_to, AMQPProperties::with_reply_to),
        (&list.expiration, AMQPProperties::with_expiration),
        (&list.message_id, AMQPProperties::with_message_id),
        (&list.kind, AMQPProperties::with_type),
        (&list.user_id, AMQPProperties::with_user_id),
        (&list.app_id, AMQPProperties::with_app_id),
        (&list.cluster_id, AMQPProperties::with_cluster_id),
    ];
    let mut theirs = AMQPProperties::default();
    for (value, set) in texts {
        if let Some(value) = value {
            theirs = set(theirs, value.to_string().into());
        }
    }
    if let Some(headers) = &list.headers {
        theirs = theirs.with_headers(oracle::from_ours(headers.view()));
    }
    if let Some(mode) = list.delivery_mode {
        theirs = theirs.with_delivery_mode(mode);
    }
    if let Some(priority) = list.priority {
        theirs = theirs.with_priority(priority);
    }
    if let Some(timestamp) = list.timestamp {
        theirs = theirs.with_timestamp(timestamp);
    }
    theirs
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(list in list(), body_size: u64, channel: u16) {
        let theirs = oracle::write(&AMQPFrame::Header(
            channel,
            AMQPContentHeader { class_id: 60, body_size, properties: to_oracle(&list) },
        ));
        let mut ours = BytesMut::new();
        content::put_header(&mut ours, channel, body_size, &list.build());
        prop_assert_eq!(&ours[..], &theirs[..]);

        let payload = Bytes::copy_from_slice(&theirs[7..theirs.len() - 1]);
        let header = content::ContentHeader::decode(&payload).expect("well-formed");
        prop_assert_eq!(header.body_size, body_size);
        prop_assert_eq!(header.properties.to_list(), list);
    }

    #[test]
    fn a_change_leaves_the_rest(list in list(), headers in oracle::our_table(), reply_to in oracle::short()) {
        let properties = list.build();
        let changed = PropertyList { headers: Some(headers.clone()), ..list.clone() };
        prop_assert_eq!(properties.with_headers(&headers), changed.build());
        let changed = PropertyList { headers: None, ..list.clone() };
        prop_assert_eq!(properties.without_headers(), changed.build());
        let changed = PropertyList { reply_to: Some(reply_to.clone()), ..list.clone() };
        prop_assert_eq!(properties.with_reply_to(&reply_to), changed.build());
        let changed = PropertyList { expiration: None, ..list };
        prop_assert_eq!(properties.without_expiration(), changed.build());
    }

    #[test]
    fn a_list_cut_short_or_longer_is_refused(list in list()) {
        let whole = list.build();
        for len in 0..whole.as_bytes().len() {
            let cut = Properties::decode(Bytes::copy_from_slice(&whole.as_bytes()[..len]));
            prop_assert!(cut.is_err(), "cut at {}", len);
        }
        let longer = [whole.as_bytes(), b"\0"].concat();
        prop_assert!(Properties::decode(Bytes::from(longer)).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read(
        flags in prop_oneof![any::<u16>(), Just(1 << 13), Just(1 << 12 | 1 << 6)],
        rest in collection::vec(any::<u8>(), 0..60),
    ) {
        let raw = Bytes::from([&flags.to_be_bytes()[..], &rest].concat());
        if let Ok(properties) = Properties::decode(raw) {
            prop_assert_eq!(&properties.to_list().build(), &properties);
            let shown = format!("{properties:?}");
            prop_assert!(!shown.is_empty());
        }
    }
}

#[test]
fn malformed_properties_are_a_syntax_error() {
    let refused = |raw: &'static [u8]| {
        let error = Properties::decode(Bytes::from_static(raw)).expect_err("malformed");
        assert_eq!(error.code(), ReplyCode::SyntaxError);
        error
    };
    refused(b"");
    refused(b"\0\x01");
    refused(b"\0\x02");
    refused(b"\x80\0\x05ab");
    refused(b"\0\0\0");
    let unknown = refused(b"\x20\0\0\0\0\x03\x01k?");
    assert!(matches!(
        unknown,
        WireError::Table {
            error: TableError::UnknownTag(b'?'),
            ..
        }
    ));
}

#[test]
fn only_mode_two_is_persistent() {
    for (mode, persistent) in [
        (None, false),
        (Some(0), false),
        (Some(1), false),
        (Some(2), true),
        (Some(3), false),
    ] {
        let list = PropertyList {
            delivery_mode: mode,
            ..PropertyList::default()
        };
        assert_eq!(list.build().is_persistent(), persistent, "{mode:?}");
    }
}

#[test]
fn headers_keep_their_bytes() {
    // `L` is read like `l` but must go out as it came.
    let raw = b"\x20\0\0\0\0\x0b\x01aL\0\0\0\0\0\0\0\x01";
    let properties = Properties::decode(Bytes::from_static(raw)).expect("well-formed");
    assert_eq!(properties.as_bytes(), raw);
    let mut headers = TableBuilder::new();
    for (name, value) in properties.headers().expect("present") {
        headers.put(name, value);
    }
    assert_eq!(
        properties
            .with_headers(&headers.build())
            .headers_table()
            .as_ref()
            .and_then(|table: &Table| table.field(b"a")?.as_integer()),
        Some(1)
    );
}
