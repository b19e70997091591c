use proptest::{collection, prelude::*};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

use super::{common_name, distinguished_name};

/// A certificate with this subject, in its encoded order.
fn certificate(subject: &[(DnType, DnValue)]) -> Vec<u8> {
    let mut name = DistinguishedName::new();
    for (kind, value) in subject {
        name.push(kind.clone(), value.clone());
    }
    let mut params = CertificateParams::new(vec!["example.test".to_owned()]).expect("names");
    params.distinguished_name = name;
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("signed").der().to_vec()
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

#[track_caller]
fn check(subject: &[(DnType, DnValue)], name: Option<&str>, common: Option<&str>) {
    let certificate = certificate(subject);
    assert_eq!(distinguished_name(&certificate).as_deref(), name);
    assert_eq!(common_name(&certificate).as_deref(), common);
}

#[test]
fn a_name_is_written_from_its_last_part_to_its_first() {
    check(
        &[
            (
                DnType::CountryName,
                DnValue::PrintableString("SE".try_into().expect("printable")),
            ),
            (DnType::OrganizationName, utf8("Example, Inc.")),
            (DnType::CommonName, utf8("orders")),
        ],
        Some("CN=orders,O=Example\\, Inc.,C=SE"),
        Some("orders"),
    );
}

#[test]
fn a_certificate_without_a_name_has_no_user() {
    check(&[], None, None);
    check(
        &[(DnType::OrganizationName, utf8("Example"))],
        Some("O=Example"),
        None,
    );
    check(&[(DnType::CommonName, utf8(""))], Some("CN="), None);
}

#[test]
fn a_name_of_an_unsupported_type_gives_no_user() {
    let odd = DnType::CustomDnType(vec![1, 2, 3, 4]);
    check(
        &[(odd, utf8("x")), (DnType::CommonName, utf8("u"))],
        None,
        Some("u"),
    );
    let wide = DnValue::BmpString("u".try_into().expect("wide"));
    check(&[(DnType::CommonName, wide)], None, None);
}

#[test]
fn special_characters_are_escaped() {
    check(
        &[(DnType::CommonName, utf8(" #a+b\"c\\<>; "))],
        Some("CN=\\ #a\\+b\\\"c\\\\\\<\\>\\;\\ "),
        Some(" #a+b\"c\\<>; "),
    );
    check(
        &[(DnType::CommonName, utf8("#a"))],
        Some("CN=\\#a"),
        Some("#a"),
    );
    // One name cannot look like another.
    check(
        &[(DnType::CommonName, utf8("a,O=Example"))],
        Some("CN=a\\,O=Example"),
        Some("a,O=Example"),
    );
}

#[test]
fn a_truncated_certificate_has_no_user() {
    let whole = certificate(&[(DnType::CommonName, utf8("orders"))]);
    for len in 0..whole.len() {
        assert_eq!(common_name(&whole[..len]), None, "cut at {len}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in collection::vec(any::<u8>(), 0..300)) {
        drop(distinguished_name(&bytes));
        drop(common_name(&bytes));
    }

    #[test]
    fn a_damaged_certificate_never_panics(at in 0_usize..200, byte: u8) {
        let mut damaged = certificate(&[(DnType::CommonName, utf8("orders"))]);
        if let Some(place) = damaged.get_mut(at) {
            *place = byte;
        }
        drop(distinguished_name(&damaged));
        drop(common_name(&damaged));
    }
}
