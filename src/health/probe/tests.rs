use std::time::Duration;

use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::{ProbeLimits, Response, failure, in_one_line, request, served, words};
use crate::{
    health::{Config, Outcome},
    model::HttpCheck,
    outbound::{OutboundError, RequestStep, Serving},
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

fn limits(keep_body: bool) -> ProbeLimits {
    ProbeLimits::of(&Config {
        keep_body,
        ..Config::default()
    })
}

#[test]
fn the_targets_answer_is_kept_only_with_keep_body() {
    let answer = Response {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headers: HeaderMap::new(),
        body: b" the disk is \xff full\n".as_slice().into(),
        truncated: false,
        latency: Duration::ZERO,
    };
    assert_eq!(failure(&answer, limits(false)), "503 Service Unavailable");
    let kept = failure(&answer, limits(true));
    assert_eq!(kept, "503 Service Unavailable the disk is \u{fffd} full");
    let status = |code| OutboundError::Grpc {
        code,
        message: "secret".into(),
    };
    let words = |code, keep| words(&status(code), Duration::ZERO, limits(keep));
    assert_eq!(words(14, false), "gRPC status 14 (UNAVAILABLE)");
    assert_eq!(words(99, false), "gRPC status 99 (unknown code)");
    assert_eq!(words(14, true), "gRPC status 14: secret");
}

#[test]
fn a_timeout_says_how_long_it_was() {
    let error = OutboundError::Deadline(RequestStep::Connecting);
    let text = words(&error, Duration::from_millis(1500), limits(false));
    assert_eq!(text, "no connection within the timeout (1500ms)");
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
fn an_invalid_request_is_refused() {
    let good = HttpCheck {
        url: "http://a/".into(),
        method: "PROPFIND".into(),
        headers: [("x".into(), "y".into())].into(),
        expected: [200..=299].into(),
        tls_skip_verify: true,
        redirects: 0,
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
