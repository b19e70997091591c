use http::HeaderValue;

use super::*;

/// 21 October 2026, 07:28:00 UTC.
const NOW: Timestamp = Timestamp(1_792_567_680_000);

#[track_caller]
fn check(status: u16, expected: &str) {
    let status_code = StatusCode::from_u16(status).unwrap();
    let verdict = verdict(status_code, &HeaderMap::new(), NOW);
    let name = match verdict {
        Ok(()) => "taken",
        Err(DeliveryError::Gone) => "gone",
        Err(DeliveryError::Refused(_)) => "refused",
        Err(DeliveryError::Busy { .. }) => "busy",
        Err(_) => "failed",
    };
    assert_eq!(name, expected, "status {status}");
}

#[test]
fn each_status_has_a_meaning() {
    for status in [200, 201, 202, 204, 299] {
        check(status, "taken");
    }
    for status in [400, 413, 415, 422] {
        check(status, "refused");
    }
    for status in [
        301, 302, 307, 308, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504, 599,
    ] {
        check(status, "busy");
    }
    check(410, "gone");
}

#[track_caller]
fn check_wait(value: &'static [u8], expected: Option<Duration>) {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
    let answered = verdict(StatusCode::TOO_MANY_REQUESTS, &headers, NOW);
    let Err(DeliveryError::Busy { wait, .. }) = answered else {
        panic!("429 is not busy");
    };
    assert_eq!(wait, expected, "{}", value.escape_ascii());
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    check_wait(b"7", seconds(7));
    check_wait(b" 7 ", seconds(7));
    check_wait(b"18446744073709551615", seconds(u64::MAX));
    check_wait(b"18446744073709551616", Some(Duration::MAX));
    check_wait(b"99999999999999999999999999999999", Some(Duration::MAX));
    // IMF-fixdate, and the two obsolete forms that a recipient must accept.
    check_wait(b"Wed, 21 Oct 2026 07:28:10 GMT", seconds(10));
    check_wait(b"Wednesday, 21-Oct-26 07:28:10 GMT", seconds(10));
    check_wait(b"Wed Oct 21 07:28:10 2026", seconds(10));
    check_wait(b"Wed, 21 Oct 2026 07:27:00 GMT", seconds(0));
    check_wait(b"Fri, 31 Dec 9999 23:59:59 GMT", seconds(251_609_733_119));
    for wrong in [
        b"-1".as_slice(),
        b"1.5",
        b"soon",
        b"\xff",
        b"",
        b"Wed, 21 Oct 2026 07:28:10",
        b"Wed, 99 Oct 2026 07:28:10 GMT",
    ] {
        check_wait(wrong, None);
    }
}
