use super::Query;

const KNOWN: &[&str] = &["limit", "metadata."];

#[test]
fn each_parameter_is_read_or_named_in_a_warning() {
    #[track_caller]
    fn check(query: &str, read: &[(&str, &str)], warned: &[&str]) {
        let query = Query::new(Some(query), KNOWN);
        let pairs: Vec<_> = query.pairs().collect();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        assert_eq!(pairs, read);
        let warnings = query.warnings();
        let named: Vec<_> = warnings.sentences().collect();
        assert_eq!(named.len(), warned.len(), "{named:?}");
        for (sentence, name) in named.iter().zip(warned) {
            assert!(sentence.contains(&format!("\"{name}\"")), "{sentence}");
        }
    }
    check("", &[], &[]);
    check("&&", &[], &[]);
    check("limit=3", &[("limit", "3")], &[]);
    check("limit=3&limmit=4", &[("limit", "3")], &["limmit"]);
    check(
        "metadata.a=b+c&metadat.a=1",
        &[("metadata.a", "b c")],
        &["metadat.a"],
    );
    check("%6cimit=%31", &[("limit", "1")], &[]);
    check("Limit", &[], &["Limit"]);
    check("a=1&a=2", &[], &["a"]);
}

#[test]
fn the_first_of_several_values_counts() {
    let query = Query::new(Some("limit=1&limit=2&x=3"), KNOWN);
    assert_eq!(query.first("limit").as_deref(), Some("1"));
    assert_eq!(query.first("offset"), None);
    assert_eq!(Query::new(None, KNOWN).first("limit"), None);
}

#[test]
fn warnings_fit_in_a_header_whatever_the_client_sent() {
    let query = Query::new(Some("r%C3%B6ute=1&%0d%0ax-evil:%201=2"), KNOWN);
    let header = query.warnings().to_header().expect("warnings");
    let text = header.to_str().expect("visible ASCII");
    assert!(text.contains("r\\u{f6}ute"), "{text}");
    assert!(text.contains("\\r\\nx-evil: 1"), "{text}");
    assert!(
        Query::new(Some("limit=1"), KNOWN)
            .warnings()
            .to_header()
            .is_none()
    );
    let many: String = (0..10_000).map(|n| format!("key{n}=1&")).collect();
    let header = Query::new(Some(&many), KNOWN).warnings().to_header();
    assert!(header.expect("warnings").len() < 4096);
}
