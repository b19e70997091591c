use super::{NameError, RouteId, ServiceId, ServiceName};

#[test]
fn ids() {
    check("billing-1", Ok(()));
    check("a/b c", Ok(()));
    check("zürich", Ok(()));
    check(&"x".repeat(200), Ok(()));
    check(&"x".repeat(201), Err(NameError::TooLong(201)));
    check(&"ü".repeat(101), Err(NameError::TooLong(202)));
    check("", Err(NameError::Empty));
    check(" a", Err(NameError::Edge));
    check("a\u{a0}", Err(NameError::Edge));
    check("a\nb", Err(NameError::Control('\n')));
    check("a\u{85}b", Err(NameError::Control('\u{85}')));
    check("discover", Err(NameError::Reserved("discover")));
    check("Discover", Ok(()));

    #[track_caller]
    fn check(text: &str, expected: Result<(), NameError>) {
        assert_eq!(ServiceId::parse(text).map(|_| ()), expected, "{text:?}");
    }
}

#[test]
fn service_names_have_no_slash_and_may_be_called_like_a_path() {
    assert_eq!(ServiceName::parse("a/b"), Err(NameError::Slash));
    assert!(ServiceName::parse("discover").is_ok());
    assert!(RouteId::parse("a/b").is_ok());
}
