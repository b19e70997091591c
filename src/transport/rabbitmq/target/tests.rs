use super::*;

#[track_caller]
fn check(url: &str, shown: &str) {
    let target = RabbitTarget::new(url, &AmqpConfig::default()).unwrap();
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
    let target = RabbitTarget::new("amqp://me:secret@127.0.0.1:5", &AmqpConfig::default()).unwrap();
    assert_eq!(
        format!("{target:?}"),
        "RabbitTarget(\"amqp://127.0.0.1:5/\")"
    );
}

#[test]
fn an_unusable_url_or_file_is_named() {
    let error = RabbitTarget::new("http://rabbit", &AmqpConfig::default())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("transport.amqp_url: "), "{error}");
    let missing = || Some("no/such/file.pem".into());
    let refused = |edit: &dyn Fn(&mut AmqpConfig), expected: &str| {
        let mut config = AmqpConfig::default();
        edit(&mut config);
        let error = RabbitTarget::new("amqps://rabbit", &config).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    refused(
        &|config| config.ca_file = missing(),
        "transport.amqp.ca_file: no/such/file.pem",
    );
    refused(
        &|config| config.certificate = missing(),
        "transport.amqp.certificate: needs transport.amqp.key",
    );
    refused(
        &|config| config.key = missing(),
        "transport.amqp.key: needs transport.amqp.certificate",
    );
    refused(
        &|config| (config.certificate, config.key) = (missing(), missing()),
        "transport.amqp.certificate: no/such/file.pem",
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
        let target =
            RabbitTarget::new(&format!("amqp://rabbit/{query}"), &AmqpConfig::default()).unwrap();
        assert_eq!(target.uri.query.frame_max, Some(frame_max), "{query}");
    }
}
