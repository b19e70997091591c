use super::Timestamp;

#[test]
fn rfc_3339_in_utc_with_milliseconds() {
    check(0, "1970-01-01T00:00:00.000Z");
    check(1_795_444_740_123, "2026-11-23T14:39:00.123Z");
    check(-1, "1969-12-31T23:59:59.999Z");

    #[track_caller]
    fn check(millis: i64, expected: &str) {
        assert_eq!(Timestamp(millis).to_string(), expected);
        let mut out = Vec::new();
        Timestamp(millis).append_to(&mut out);
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn a_time_no_calendar_has_does_not_panic() {
    assert!(!Timestamp(i64::MAX).to_string().is_empty());
    assert!(!Timestamp(i64::MIN).to_string().is_empty());
}
