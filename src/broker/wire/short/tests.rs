use std::collections::HashMap;

use bytes::Bytes;

use super::{ShortStr, TooLong};

#[test]
fn the_length_of_a_name_is_checked() {
    assert_eq!(
        ShortStr::try_from(Bytes::from(vec![b'a'; 256])),
        Err(TooLong(256))
    );
    assert!(ShortStr::try_from(Bytes::from(vec![b'a'; 255])).is_ok());
    assert_eq!(ShortStr::copied(&[0; 256]), None);
    assert_eq!(ShortStr::truncated(&"é".repeat(200)).len(), 254);
}

#[test]
fn a_map_is_searched_with_a_slice() {
    let map = HashMap::from([(ShortStr::from_static("orders"), 1)]);
    assert_eq!(map.get(b"orders".as_slice()), Some(&1));
}

#[test]
fn invalid_utf8_is_shown_with_replacements() {
    let odd = ShortStr::copied(b"a\xffb").expect("short");
    assert_eq!(odd.to_string(), "a\u{fffd}b");
    assert_eq!(format!("{odd:?}"), r#""a\xffb""#);
    assert_eq!(odd.as_str(), None);
}

#[test]
fn every_length_reads_back() {
    let text = vec![b'x'; ShortStr::MAX_LEN];
    for len in 0..=ShortStr::MAX_LEN {
        let copied = ShortStr::copied(&text[..len]).expect("short");
        assert_eq!(copied.as_bytes(), &text[..len]);
        assert_eq!(copied.detached(), copied);
        assert_eq!(ShortStr::try_from(copied.clone().into_bytes()), Ok(copied));
    }
    assert_eq!(size_of::<ShortStr>(), 40);
}
