use super::parse_expiration;

#[test]
fn expirations_are_read_as_rabbitmq_reads_them() {
    check("0", Ok(0));
    check("60000", Ok(60_000));
    check("+5", Ok(5));
    check("-0", Ok(0));
    check("99999999999", Ok(99_999_999_999));
    check("315360000000", Ok(315_360_000_000));
    check("315360000001", Err("{value_too_large,315360000001}"));
    check(
        "99999999999999999999999",
        Err("{value_too_large,99999999999999999999999}"),
    );
    check("", Err("no_integer"));
    check("-", Err("no_integer"));
    check("abc", Err("no_integer"));
    check("-5", Err("{value_negative,-5}"));
    check("10s", Err("{leftover_string,\"s\"}"));
    check("-5x", Err("{leftover_string,\"x\"}"));

    #[track_caller]
    fn check(text: &str, expected: Result<u64, &str>) {
        let expected = expected.map_err(|why| format!("invalid expiration '{text}': {why}"));
        let parsed = parse_expiration(text.as_bytes()).map_err(|refused| refused.explanation);
        assert_eq!(parsed, expected);
    }
}
