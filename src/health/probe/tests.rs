use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use proptest::prelude::*;
use tokio::{io::AsyncWriteExt, time::Instant};

use super::{
    Client, HttpRules, ProbeKind, ProbeLimits, Request, Response, failure, http, in_one_line,
    request, run, served, words,
};
use crate::{
    health::{Config, Outcome},
    model::{Check, CheckKind, HttpCheck},
    outbound::{
        self, OutboundError, RequestStep, Serving,
        testing::{self, Target},
    },
    telemetry::Metrics,
};

#[test]
fn kept_messages_fit_in_one_line() {
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

#[tokio::test]
async fn programs_run_only_while_the_key_is_set() {
    let metrics = Metrics::default();
    let client = Client::new(&outbound::Config::default(), &metrics).expect("a client");
    let check = Check {
        name: "script".into(),
        kind: CheckKind::Script {
            args: ["sh", "-c", "echo ran"].map(Into::into).into(),
        },
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(20),
        healthy_after: 1,
        unhealthy_after: 1,
        options: None,
    };
    for (scripts, expected, says) in [
        (true, Outcome::Passed, "ran"),
        (false, Outcome::Denied, "consul.enable_script_checks"),
    ] {
        let limits = ProbeLimits::of(&Config {
            scripts,
            ..Config::default()
        });
        let kind = ProbeKind::Listed(&check);
        let (outcome, text) = run(&client, kind, check.timeout, limits).await;
        assert_eq!(outcome, expected, "{text}");
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn a_check_follows_as_many_redirects_as_it_allows() {
    let end = Target::always(204).await;
    let location = end.url("/");
    // Two redirects to itself, then one to the end.
    let hops = Target::start(move |mut stream, number| {
        let to = if number < 3 { "/again" } else { &location };
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\nconnection: close\r\n");
        async move {
            if testing::request(&mut stream).await.is_some() {
                let answer = format!("{head}content-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await;
    let metrics = Metrics::default();
    let client = Client::new(&outbound::Config::default(), &metrics).expect("a client");
    let deadline = Instant::now() + Duration::from_secs(20);
    let probe = |redirects| {
        let request = Request::new(Method::GET, &hops.url("/"));
        let client = client.clone();
        async move {
            let done = http(
                &client,
                request,
                HttpRules {
                    expected: &[200..=299],
                    redirects,
                    warns: false,
                },
                deadline,
                limits(false),
            );
            done.await.expect("an answer")
        }
    };
    let (outcome, text) = probe(1).await;
    assert_eq!(outcome, Outcome::Failed, "{text}");
    assert!(text.contains("more redirects than the 1"), "{text}");
    // The two connections above are the first two of the target.
    let (outcome, text) = probe(1).await;
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::Passed, "204 No Content")
    );
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
