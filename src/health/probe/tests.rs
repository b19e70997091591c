use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::{Answer, in_one_line, request, served, told};
use crate::{
    model::{CheckOutcome as Outcome, HttpCheck},
    outbound::Serving,
};

#[test]
fn what_is_kept_fits_in_one_line() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(&*in_one_line(text, 10), expected);
    }
    check("a\r\n\tb\u{1b}[1m", "a   b [1m");
    check("12345678901234", "1234567890");
    check("äöüäöüäöüäöü", "äöüäöüäöüä");
    check("", "");
}

#[test]
fn a_failure_shows_the_beginning_of_the_body() {
    let answer = Answer {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headers: HeaderMap::new(),
        body: b" the disk is \xff full\n".as_slice().into(),
        truncated: false,
        latency: std::time::Duration::ZERO,
    };
    let (outcome, text) = told(&answer, false);
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(text, "503 Service Unavailable the disk is \u{fffd} full");
    assert_eq!(told(&answer, true).1, "503 Service Unavailable");
}

#[test]
fn only_serving_passes() {
    for (serving, expected) in [
        (Serving::Serving, Outcome::Passed),
        (Serving::NotServing, Outcome::Failed),
        (Serving::ServiceUnknown, Outcome::Failed),
        (Serving::Unknown, Outcome::Failed),
        (Serving::Other(7), Outcome::Failed),
    ] {
        assert_eq!(served(serving).0, expected, "{serving:?}");
    }
}

#[test]
fn what_can_not_be_sent_is_refused() {
    let good = HttpCheck {
        url: "http://a/".into(),
        method: "PROPFIND".into(),
        headers: [("x".into(), "y".into())].into(),
        expected: [200..=299].into(),
        tls_skip_verify: true,
    };
    let sent = request(&good).expect("a request");
    assert_eq!(
        (sent.method.as_str(), &*sent.url),
        ("PROPFIND", "http://a/")
    );
    assert!(sent.tls_skip_verify && sent.headers["x"] == "y");
    let spaced = HttpCheck {
        method: "G ET".into(),
        ..good.clone()
    };
    request(&spaced).expect_err("a method with a space");
    let split = HttpCheck {
        headers: [("x".into(), "a\r\nb".into())].into(),
        ..good
    };
    request(&split).expect_err("a header of two lines");
}

proptest! {
    #[test]
    fn lines_are_short_and_clean(text in "\\PC{0,300}|[\\x00-\\x1f]{0,300}", max in 0_usize..300) {
        let line = in_one_line(&text, max);
        prop_assert!(line.chars().count() <= max);
        prop_assert!(!line.chars().any(char::is_control));
    }
}
