use super::{Cors, Policy};

#[test]
fn what_no_browser_would_follow_is_refused() {
    let named = || Cors {
        origins: vec![
            "https://a.example.com:8443".to_owned(),
            "http://b".to_owned(),
        ],
        ..Cors::default()
    };
    check(&Cors::default(), None);
    check(&named(), None);
    check(
        &Cors {
            credentials: true,
            ..named()
        },
        None,
    );
    check(
        &Cors {
            credentials: true,
            ..Cors::default()
        },
        Some(
            "http.cors.credentials can't be combined with \"*\" in http.cors.origins: name the origins",
        ),
    );
    for origin in [
        "a.example.com",
        "https://a/path",
        "https://",
        "https://*.a",
        "",
    ] {
        let cors = Cors {
            origins: vec![origin.to_owned()],
            ..Cors::default()
        };
        assert!(Policy::new(&cors).is_err(), "{origin}");
    }
    check(
        &Cors {
            methods: vec!["*".to_owned()],
            ..Cors::default()
        },
        Some("http.cors.methods: \"*\" is not a method such as \"GET\"; name each"),
    );
    check(
        &Cors {
            headers: vec!["a b".to_owned()],
            ..Cors::default()
        },
        Some("http.cors.headers: \"a b\" is not a header's name"),
    );

    #[track_caller]
    fn check(cors: &Cors, fault: Option<&str>) {
        let found = Policy::new(cors).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), fault);
    }
}
