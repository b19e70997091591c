use super::pairs;

#[test]
fn pairs_are_decoded_in_their_order() {
    #[track_caller]
    fn check(query: &str, expected: &[(&str, &str)]) {
        let pairs: Vec<_> = pairs(query).collect();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        assert_eq!(pairs, expected);
    }
    check("", &[]);
    check("&&", &[]);
    check("limit=3&limmit=4", &[("limit", "3"), ("limmit", "4")]);
    check("metadata.a=b+c", &[("metadata.a", "b c")]);
    check("%6cimit=%31", &[("limit", "1")]);
    check("Limit&a=1&a=2", &[("Limit", ""), ("a", "1"), ("a", "2")]);
    check("%ff==", &[("\u{fffd}", "=")]);
}
