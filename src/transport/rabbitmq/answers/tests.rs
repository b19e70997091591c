use super::is_malformed;

#[track_caller]
fn check(malformed: bool, reply_to: &str) {
    assert_eq!(is_malformed(reply_to), malformed, "{reply_to}");
}

#[test]
fn reply_addresses_of_brokers_are_accepted() {
    // RabbitMQ 3.10 and later, earlier ones, another broker of ours, and queues.
    check(
        false,
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA2ODc4MTMzNAAAcEoAAAAAaS8eQg==.1JtS0FgDvAvKk0lpXbOIiw==",
    );
    check(
        false,
        "amq.rabbitmq.reply-to.g1hkAA1yYWJiaXRAcmFiYml0AAAYWgAAAABhQvvp.eJ25dqT5uKq8oYSKMbPvvw==",
    );
    check(
        false,
        "amq.rabbitmq.reply-to.g2dkABByYWJiaXRAbG9jYWxob3N0AAAB0QAAAAAB.TS+bFMfnEmmdM0vaQKqCkA==",
    );
    check(
        false,
        "amq.rabbitmq.reply-to.00000001000000020123456789abcdef0123456789abcdef",
    );
    check(false, "amq.gen-JzTY20BRgKO-HjmUJj0wLg");
    check(false, "answers.of.web");
    check(false, "");
}

#[test]
fn made_up_reply_addresses_are_malformed() {
    for rest in [
        "garbage.key",
        ".garbage.key",
        "garbage.",
        "g1h2AA==.",
        "g1h2A.key",
        "g1h2===.key",
        "g1h2A!==.key",
        "QUJD.key",
    ] {
        check(true, &format!("amq.rabbitmq.reply-to.{rest}"));
    }
}
