use super::*;

fn parse(text: &str) -> Result<Config, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn keys_that_are_not_set_have_their_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
    let config = parse("webhook_timeout = \"250ms\"\nwebhooks_max = 7").unwrap();
    assert_eq!(config.webhook_timeout, Duration::from_millis(250));
    assert_eq!(config.webhooks_max, 7);
    assert_eq!(config.backoff_max, Config::default().backoff_max);
}

#[test]
fn an_unknown_key_is_named() {
    let error = parse("webhook_max = 7").unwrap_err().to_string();
    assert!(error.contains("webhook_max"), "{error}");
}

#[test]
fn the_defaults_have_no_fault_and_faults_name_their_keys() {
    assert_eq!(Config::default().faults(), Vec::<String>::new());
    let wrong = Config {
        backoff_first: Duration::from_secs(11).into(),
        ..Config::default()
    };
    assert_eq!(
        wrong.faults(),
        ["transport.backoff_first must not exceed transport.backoff_max",]
    );
}
