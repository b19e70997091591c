use super::{Cors, CorsPolicy};

#[test]
fn an_invalid_cors_policy_is_refused() {
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
            origins: vec!["*".to_owned()],
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
        "https://a:b",
        "https://u@a",
        "http://*:*",
        "1http://a",
        "",
    ] {
        let cors = Cors {
            origins: vec![origin.to_owned()],
            ..Cors::default()
        };
        assert!(CorsPolicy::new(&cors).is_err(), "{origin}");
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
        let found = CorsPolicy::new(cors).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), fault);
    }
}

#[test]
fn an_origin_is_listed_by_its_text_or_with_any_port() {
    let lists = |listed: &[&str], origin: &str| {
        let origins = listed.iter().map(|&text| text.to_owned()).collect();
        let cors = Cors {
            origins,
            ..Cors::default()
        };
        CorsPolicy::new(&cors).unwrap().lists(origin)
    };
    for (listed, origin, expected) in [
        ("https://a.example", "https://a.example", true),
        ("https://A.example", "https://a.example", true),
        ("https://a.example", "http://a.example", false),
        ("https://a.example", "https://a.example:8443", false),
        ("https://a.example", "https://a.example.evil", false),
        ("http://localhost:*", "http://localhost", true),
        ("http://localhost:*", "http://localhost:3000", true),
        ("http://localhost:*", "https://localhost:3000", false),
        ("http://localhost:*", "http://localhost.evil:3000", false),
        ("http://localhost:*", "http://localhost:", false),
        ("http://localhost:*", "http://localhost:3000.evil", false),
        ("http://[::1]:*", "http://[::1]:3000", true),
        ("https://a.example", "null", false),
        ("*", "null", true),
    ] {
        assert_eq!(lists(&[listed], origin), expected, "{listed} {origin}");
    }
    assert!(!lists(&[], "http://localhost"));
}
