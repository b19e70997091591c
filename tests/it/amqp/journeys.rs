//! Every method, argument and exception, as transcripts.

use super::transcript::play;

#[test]
fn handshake() {
    play("handshake.amqp");
}

#[test]
fn channels() {
    play("channels.amqp");
}

#[test]
fn exchanges() {
    play("exchanges.amqp");
}

#[test]
fn queues() {
    play("queues.amqp");
}

#[test]
fn arguments() {
    play("arguments.amqp");
}

#[test]
fn routing() {
    play("routing.amqp");
}

#[test]
fn publish() {
    play("publish.amqp");
}

#[test]
fn consume() {
    play("consume.amqp");
}

#[test]
fn acks() {
    play("acks.amqp");
}

#[test]
fn limits() {
    play("limits.amqp");
}

#[test]
fn deadletter() {
    play("deadletter.amqp");
}

#[test]
fn confirms() {
    play("confirms.amqp");
}

#[test]
fn replyto() {
    play("replyto.amqp");
}

#[test]
fn quorum() {
    play("quorum.amqp");
}

#[test]
fn permissions() {
    play("permissions.amqp");
}

#[test]
fn frames() {
    play("frames.amqp");
}

#[test]
fn order() {
    play("order.amqp");
}
