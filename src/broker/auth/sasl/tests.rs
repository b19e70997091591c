use bytes::Bytes;
use proptest::{collection, prelude::*};

use super::{CHALLENGE, Credentials, Mechanism, Opening, SaslError, answer, opening};
use crate::broker::wire::table::TableBuilder;

#[track_caller]
fn check(mechanism: Mechanism, response: &[u8], expected: Result<(&str, &[u8]), SaslError>) {
    let expected = expected.map(|(user, password)| Credentials {
        user: user.to_owned(),
        password: Bytes::copy_from_slice(password),
    });
    assert_eq!(
        opening(mechanism, &Bytes::copy_from_slice(response)),
        expected.map(Opening::Credentials)
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
fn external_has_no_password() {
    check(
        Mechanism::External,
        b"\0guest\0guest",
        Err(SaslError::NoCertificate),
    );
}

#[test]
fn the_demonstration_takes_two_steps() {
    let malformed = SaslError::Malformed(Mechanism::CrDemo);
    let first = |response: &'static [u8]| opening(Mechanism::CrDemo, &response.into());
    assert_eq!(first(b"guest"), Ok(Opening::User("guest".to_owned())));
    assert_eq!(first(b""), Ok(Opening::User(String::new())));
    assert_eq!(first(b"\xff"), Err(malformed));
    assert_eq!(CHALLENGE, b"Please tell me your password");
    let second = |response: &[u8]| answer("guest".to_owned(), response).map(|login| login.password);
    for password in [&b"guest"[..], b"", b" two words ", b"\0\xff"] {
        let response = [b"My password is ", password].concat();
        assert_eq!(second(&response), Ok(Bytes::copy_from_slice(password)));
    }
    for response in [
        &b""[..],
        b"guest",
        b"My password is",
        b"my password is guest",
    ] {
        assert_eq!(second(response), Err(malformed), "{response:?}");
    }
    assert_eq!(
        malformed.to_string(),
        "response to RABBIT-CR-DEMO is malformed"
    );
}

#[test]
fn names() {
    for mechanism in Mechanism::ALL {
        let name = mechanism.name();
        assert_eq!(Mechanism::named(name.as_bytes()), Some(mechanism));
        assert_eq!(Mechanism::try_from(name.to_owned()), Ok(mechanism));
    }
    assert_eq!(Mechanism::named(b"plain"), None);
    assert_eq!(
        Mechanism::try_from("CRAM-MD5".to_owned()),
        Err("\"CRAM-MD5\" is not one of EXTERNAL, PLAIN, AMQPLAIN, RABBIT-CR-DEMO".to_owned())
    );
}

#[test]
fn listed_mechanisms_are_offered() {
    use Mechanism::{AmqPlain, CrDemo, External, Plain};
    let check = |list: &[Mechanism], to_all: &str, to_certified: &str| {
        assert_eq!(Mechanism::offered(list, false), to_all);
        assert_eq!(Mechanism::offered(list, true), to_certified);
    };
    let default = crate::broker::Config::default().auth_mechanisms;
    check(&default, "PLAIN AMQPLAIN", "EXTERNAL PLAIN AMQPLAIN");
    check(&[External], "", "EXTERNAL");
    check(&[AmqPlain], "AMQPLAIN", "AMQPLAIN");
    let demo = "PLAIN RABBIT-CR-DEMO";
    check(&[CrDemo, Plain, CrDemo], demo, demo);
    check(&[], "", "");
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
        let expected = Ok(Opening::Credentials(Credentials { user, password: password.into() }));
        prop_assert_eq!(&opening(Mechanism::Plain, &plain.into()), &expected);
        prop_assert_eq!(&opening(Mechanism::AmqPlain, &table), &expected);
    }

    #[test]
    fn arbitrary_responses_never_panic(response in collection::vec(any::<u8>(), 0..60)) {
        let response = Bytes::from(response);
        for mechanism in Mechanism::ALL {
            drop(opening(mechanism, &response));
        }
        drop(answer(String::new(), &response));
    }
}
