use serde_json::json;

use super::check_of;

#[test]
fn a_check_of_the_command_line_is_one_of_the_contract() {
    let taken = |text| check_of(text).unwrap();
    assert_eq!(taken("tcp"), json!({"type": "tcp"}));
    assert_eq!(taken("grpc"), json!({"type": "grpc"}));
    assert_eq!(taken("ttl"), json!({"type": "ttl"}));
    assert_eq!(
        taken("http:/health"),
        json!({"type": "http", "path": "/health"})
    );
    assert_eq!(
        taken("http://a:1/x"),
        json!({"type": "http", "url": "http://a:1/x"})
    );
    assert_eq!(
        taken("https://a/x"),
        json!({"type": "http", "url": "https://a/x"})
    );
    for wrong in ["", "http", "http:health", "tcp:1", "udp", "https:/x"] {
        assert!(check_of(wrong).is_err(), "{wrong}");
    }
}
