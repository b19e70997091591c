use http::HeaderValue;

use super::*;

#[track_caller]
fn check(status: u16, expected: &str) {
    let verdict = verdict(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
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
fn check_wait(value: &'static [u8], expected_s: Option<u64>) {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
    let Err(DeliveryError::Busy { wait, .. }) = verdict(StatusCode::TOO_MANY_REQUESTS, &headers)
    else {
        panic!("429 is not busy");
    };
    assert_eq!(wait, expected_s.map(Duration::from_secs));
}

#[test]
fn retry_after_is_heeded_in_seconds_alone() {
    check_wait(b"7", Some(7));
    check_wait(b" 7 ", Some(7));
    check_wait(b"18446744073709551615", Some(u64::MAX));
    check_wait(b"18446744073709551616", None);
    check_wait(b"-1", None);
    check_wait(b"Wed, 21 Oct 2026 07:28:00 GMT", None);
    check_wait(b"\xff", None);
    check_wait(b"", None);
}
