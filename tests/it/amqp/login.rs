//! The ways to log in that are listed, one of which asks for the password; on a broker of the test's own.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use musterd::broker::Config;
use musterd::broker::auth::Mechanism::{self, CrDemo, External, Plain};
use serde_json::Value;
use tokio::time::timeout;

use super::client::{Client, PATIENCE};
use super::operation::Own;
use super::target::{Kind, target};
use crate::daemon::Daemon;
use crate::rabbitmq::Rabbit;

/// A broker of the kind under test that lists these.
fn own(list: &[Mechanism]) -> Own {
    if target().kind == Kind::RabbitMq {
        let rabbit = Rabbit::private();
        let names: Vec<_> = list.iter().map(|one| format!("'{}'", one.name())).collect();
        let names = names.join(",");
        let set = format!("application:set_env(rabbit, auth_mechanisms, [{names}]).");
        rabbit.ctl(&["eval", &set]);
        return Own::RabbitMq(rabbit);
    }
    Own::embedded(configuration(list))
}

fn configuration(list: &[Mechanism]) -> Config {
    Config {
        auth_mechanisms: list.to_vec(),
        ..Config::default()
    }
}

/// What the broker says to this start-ok.
fn begin(addr: SocketAddr, mechanism: Mechanism, response: &str) -> (Client, String) {
    let mut client = Client::connect(addr);
    client.write(b"AMQP\0\0\x09\x01");
    client.receive(0);
    let answer = client.call(
        0,
        &format!(
            "connection.start-ok client-properties={{capabilities=F{{authentication_failure_close=t1}}}} \
             mechanism={} response='{response}' locale=en_US",
            mechanism.name()
        ),
    );
    (client, answer)
}

/// What the broker says to guest when it answers the challenge with this.
fn answered(addr: SocketAddr, method: &str) -> (Client, String) {
    let (mut client, secure) = begin(addr, CrDemo, "guest");
    assert_eq!(
        secure,
        "connection.secure challenge='Please tell me your password'"
    );
    let answer = client.call(0, method);
    (client, answer)
}

fn password(password: &str) -> String {
    format!("connection.secure-ok response='My password is {password}'")
}

/// RabbitMQ ends the connection without a reason; musterd sends one.
#[track_caller]
fn ended(answer: &str, reason: &str) {
    match target().kind {
        Kind::RabbitMq => assert_eq!(answer, "eof"),
        Kind::Musterd => assert_eq!(answer, format!("connection.close reply-code={reason}")),
    }
}

const UNKNOWN: &str =
    "403 reply-text='ACCESS_REFUSED - Login was refused: unknown authentication mechanism";

#[test]
fn the_challenge_is_answered_with_the_password() {
    let own = own(&[Plain, CrDemo]);
    let (mut client, tune) = answered(own.addr(), &password("guest"));
    assert!(tune.starts_with("connection.tune "), "{tune}");
    client.send(
        0,
        "connection.tune-ok channel-max=10 frame-max=4096 heartbeat=0",
    );
    let open = client.call(0, "connection.open virtual-host=/");
    assert_eq!(open, "connection.open-ok");
    assert_eq!(client.call(1, "channel.open"), "channel.open-ok");
    client.close();

    for (method, reason) in [
        (
            "connection.secure-ok response=guest",
            "502 reply-text='SYNTAX_ERROR - response to RABBIT-CR-DEMO is malformed' class-id=10 method-id=21",
        ),
        (
            "connection.tune-ok channel-max=10 frame-max=4096 heartbeat=0",
            "504 reply-text='CHANNEL_ERROR - unexpected method in connection state opening' class-id=10 method-id=31",
        ),
        (
            "connection.open virtual-host=/",
            "504 reply-text='CHANNEL_ERROR - unexpected method in connection state opening' class-id=10 method-id=40",
        ),
    ] {
        let (mut client, answer) = answered(own.addr(), method);
        ended(&answer, reason);
        assert_eq!(client.receive(0), "eof");
    }
    let refused = "connection.close reply-code=403 reply-text='ACCESS_REFUSED - Login was refused using \
                   authentication mechanism RABBIT-CR-DEMO. For details see the broker logfile.' \
                   class-id=0 method-id=0";
    let (_, answer) = answered(own.addr(), &password("wrong"));
    assert_eq!(answer, refused);
    let (mut nobody, secure) = begin(own.addr(), CrDemo, "nobody at all");
    assert!(secure.starts_with("connection.secure "), "{secure}");
    assert_eq!(nobody.call(0, &password("guest")), refused);
    let (_, answer) = begin(own.addr(), Mechanism::AmqPlain, "");
    ended(
        &answer,
        &format!("{UNKNOWN} \\'AMQPLAIN\\'' class-id=0 method-id=0"),
    );
}

#[test]
fn lapin_answers_the_challenge() {
    let own = own(&[CrDemo]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connect = |password: &str| {
        let query = "auth_mechanism=rabbit-cr-demo";
        let url = format!("amqp://guest:{password}@{}/%2f?{query}", own.addr());
        let properties = ConnectionProperties::default();
        runtime.block_on(async { Connection::connect(&url, properties).await })
    };
    let connection = connect("guest").unwrap();
    let channel = runtime.block_on(connection.create_channel()).unwrap();
    assert!(channel.status().connected());
    let error = connect("wrong").unwrap_err().to_string();
    assert!(error.contains("ACCESS_REFUSED"), "{error}");
}

#[test]
fn a_challenge_has_a_timeout_and_a_wrong_answer_counts_as_a_failure() {
    let mut config = configuration(&[Plain, CrDemo]);
    config.limits.handshake = Duration::from_millis(500).into();
    config.auth.failures_per_address = 2.into();
    let own = Own::embedded(config);
    let (mut silent, secure) = begin(own.addr(), CrDemo, "guest");
    assert!(secure.starts_with("connection.secure "), "{secure}");
    assert_eq!(silent.receive(0), "eof");
    // Neither that nor what is no answer at all is a guess.
    for _ in 0..3 {
        answered(own.addr(), "connection.secure-ok response=guest");
    }
    for _ in 0..2 {
        let (_, answer) = answered(own.addr(), &password("wrong"));
        assert!(answer.contains(" For details see "), "{answer}");
    }
    let (_, answer) = answered(own.addr(), &password("guest"));
    assert!(
        answer.contains("RABBIT-CR-DEMO: too many failed logins"),
        "{answer}"
    );
    let (_, answer) = begin(own.addr(), Plain, "\\x00guest\\x00guest");
    assert!(answer.contains("PLAIN: too many failed logins"), "{answer}");
}

#[test]
fn without_plain_no_client_can_use_it() {
    for list in [&[External][..], &[CrDemo], &[]] {
        let own = Own::embedded(configuration(list));
        let Own::Embedded { addr, .. } = &own else {
            unreachable!("it is the embedded one");
        };
        let refused =
            format!("connection.close reply-code={UNKNOWN} \\'PLAIN\\'' class-id=0 method-id=0");
        for response in ["\\x00guest\\x00guest", "\\x00nobody\\x00x", "guest", ""] {
            assert_eq!(
                begin(*addr, Plain, response).1,
                refused,
                "{list:?} {response}"
            );
        }
    }
}

#[tokio::test]
async fn a_daemon_that_lists_no_plain_still_uses_its_broker() {
    let daemon = Daemon::start(&["--set", "broker.auth_mechanisms=EXTERNAL"]);
    let up = async {
        loop {
            let report = reqwest::get(format!("{}/transport", daemon.url)).await;
            let report: Value = report.unwrap().json().await.unwrap();
            assert_eq!(report["broker"]["kind"], "embedded", "{report}");
            if report["broker"]["state"] == "up" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, up)
        .await
        .expect("it is connected in time");
}
