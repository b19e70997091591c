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
fn an_out_of_range_timestamp_does_not_panic() {
    assert!(!Timestamp(i64::MAX).to_string().is_empty());
    assert!(!Timestamp(i64::MIN).to_string().is_empty());
}

#[test]
fn spans_are_read_and_written() {
    check("5s", 5_000, "5s");
    check("500ms", 500, "500ms");
    check("1.5s", 1_500, "1500ms");
    check("5m", 300_000, "300s");
    check("1h", 3_600_000, "3600s");
    check("1d", 86_400_000, "86400s");
    check("30", 30_000, "30s");
    check(" 30 s ", 30_000, "30s");
    check("0", 0, "0s");

    #[track_caller]
    fn check(text: &str, millis: u128, written: &str) {
        let span: super::Span = text.parse().unwrap();
        assert_eq!(span.0.as_millis(), millis);
        assert_eq!(span.to_string(), written);
    }
}

#[test]
fn invalid_durations_are_refused() {
    for text in ["", "s", "-1s", "5 fortnights", "1e9", "NaN", "inf", "1..2s"] {
        assert!(text.parse::<super::Span>().is_err(), "{text:?}");
    }
}
