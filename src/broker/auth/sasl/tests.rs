use bytes::Bytes;
use proptest::{collection, prelude::*};

use super::{Credentials, Mechanism, SaslError, credentials};
use crate::broker::wire::table::TableBuilder;

#[track_caller]
fn check(mechanism: Mechanism, response: &[u8], expected: Result<(&str, &[u8]), SaslError>) {
    let expected = expected.map(|(user, password)| Credentials {
        user: user.to_owned(),
        password: Bytes::copy_from_slice(password),
    });
    assert_eq!(
        credentials(mechanism, &Bytes::copy_from_slice(response)),
        expected
    );
}

#[test]
fn plain() {
    let malformed = SaslError::Malformed(Mechanism::Plain);
    check(Mechanism::Plain, b"\0guest\0guest", Ok(("guest", b"guest")));
    check(Mechanism::Plain, b"\0u\0", Ok(("u", b"")));
    check(Mechanism::Plain, b"\0u\0\xff", Ok(("u", b"\xff")));
    check(
        Mechanism::Plain,
        b"bob\0guest\0guest",
        Err(SaslError::AuthorizationIdentity),
    );
    check(Mechanism::Plain, b"", Err(malformed));
    check(Mechanism::Plain, b"\0guest", Err(malformed));
    check(Mechanism::Plain, b"\0guest\0pa\0ss", Err(malformed));
    check(Mechanism::Plain, b"\0\xff\0guest", Err(malformed));
}

#[test]
fn amqplain() {
    let malformed = SaslError::Malformed(Mechanism::AmqPlain);
    let good = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x06secret";
    check(Mechanism::AmqPlain, good, Ok(("guest", b"secret")));
    check(
        Mechanism::AmqPlain,
        b"\x05LOGINS\0\0\0\x05guest",
        Err(malformed),
    );
    check(
        Mechanism::AmqPlain,
        b"\x05LOGINt\x01\x08PASSWORDS\0\0\0\0",
        Err(malformed),
    );
    check(
        Mechanism::AmqPlain,
        b"\x05LOGINS\0\0\0\xffguest",
        Err(malformed),
    );
    check(Mechanism::AmqPlain, b"", Err(malformed));
}

#[test]
fn external_carries_nothing() {
    check(
        Mechanism::External,
        b"\0guest\0guest",
        Err(SaslError::NoCertificate),
    );
}

#[test]
fn names() {
    for mechanism in [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External] {
        assert_eq!(
            Mechanism::named(mechanism.name().as_bytes()),
            Some(mechanism)
        );
        assert!(
            Mechanism::offered(true)
                .split(' ')
                .any(|name| name == mechanism.name())
        );
    }
    assert_eq!(Mechanism::offered(false), "PLAIN AMQPLAIN");
    assert_eq!(Mechanism::named(b"plain"), None);
    assert_eq!(Mechanism::named(b"CRAM-MD5"), None);
}

#[test]
fn a_password_does_not_show() {
    let credentials = Credentials {
        user: "u".to_owned(),
        password: "hunter2".into(),
    };
    assert!(!format!("{credentials:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn both_forms_carry_the_same(user in "[^\0]{0,20}", password in collection::vec(1_u8.., 0..20)) {
        let plain = [b"\0", user.as_bytes(), b"\0", &password].concat();
        let mut table = TableBuilder::new();
        table.put_str("LOGIN", &user).put_str("PASSWORD", &password);
        let table = Bytes::copy_from_slice(table.build().as_bytes());
        let expected = Ok(Credentials { user, password: password.into() });
        prop_assert_eq!(&credentials(Mechanism::Plain, &plain.into()), &expected);
        prop_assert_eq!(&credentials(Mechanism::AmqPlain, &table), &expected);
    }

    #[test]
    fn arbitrary_responses_never_panic(response in collection::vec(any::<u8>(), 0..60)) {
        let response = Bytes::from(response);
        for mechanism in [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External] {
            drop(credentials(mechanism, &response));
        }
    }
}
