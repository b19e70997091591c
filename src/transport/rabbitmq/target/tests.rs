use super::*;

#[track_caller]
fn check(url: &str, shown: &str) {
    let target = RabbitTarget::new(url, None).unwrap();
    assert_eq!(target.shown(), shown);
}

#[test]
fn the_shown_url_has_no_password() {
    check("amqp://me:secret@rabbit", "amqp://rabbit:5672/");
    check("amqp://me:secret@rabbit/", "amqp://rabbit:5672/");
    check("amqp://me:secret@rabbit:5673/%2f", "amqp://rabbit:5673/");
    check(
        "amqps://me:secret@rabbit/orders",
        "amqps://rabbit:5671/orders",
    );
    let target = RabbitTarget::new("amqp://me:secret@127.0.0.1:5", None).unwrap();
    assert_eq!(
        format!("{target:?}"),
        "RabbitTarget(\"amqp://127.0.0.1:5/\")"
    );
}

#[test]
fn an_unusable_url_or_file_is_named() {
    let error = RabbitTarget::new("http://rabbit", None)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("transport.amqp_url: "), "{error}");
    let missing = Path::new("no/such/file.pem");
    let error = RabbitTarget::new("amqps://rabbit", Some(missing))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("transport.amqp.ca_file: no/such/file.pem"),
        "{error}"
    );
}

#[test]
fn no_url_makes_frames_smaller_than_those_of_others() {
    for (query, frame_max) in [
        ("", 131_072),
        ("?frame_max=4096", 131_072),
        ("?frame_max=1000000", 1_000_000),
        ("?frame_max=0", 0),
    ] {
        let target = RabbitTarget::new(&format!("amqp://rabbit/{query}"), None).unwrap();
        assert_eq!(target.uri.query.frame_max, Some(frame_max), "{query}");
    }
}
