use super::Authority;

#[test]
fn an_authority_is_a_host_and_a_port() {
    for (text, expected) in [
        ("localhost", Some(("localhost", None, false))),
        ("localhost:8000", Some(("localhost", Some(8000), false))),
        ("localhost:", Some(("localhost", None, false))),
        ("a.example.", Some(("a.example", None, false))),
        ("127.0.0.1:80", Some(("127.0.0.1", Some(80), true))),
        ("[::1]", Some(("::1", None, true))),
        ("[::1]:8000", Some(("::1", Some(8000), true))),
        (
            "[fe80::1%25eth0]:1",
            Some(("fe80::1%25eth0", Some(1), true)),
        ),
        ("1.2.3.4.5", Some(("1.2.3.4.5", None, false))),
        ("", None),
        (":80", None),
        (".", None),
        ("::1", None),
        ("[::1", None),
        ("[a]", None),
        ("[::1]x", None),
        ("a:+1", None),
        ("a:65536", None),
        ("a:b", None),
        ("a b", None),
        ("a/b", None),
        ("user@a", None),
        ("a,b:1:2", None),
        ("ä", None),
    ] {
        let found = Authority::parse(text);
        let found = found.map(|found| (found.host, found.port, found.is_address));
        assert_eq!(found, expected, "{text}");
    }
}
