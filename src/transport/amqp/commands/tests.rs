use std::future::ready;

use super::*;
use crate::{
    catalog::{Operation, take_judged},
    model::Modes,
    registry::{Config, Registry},
};

/// Answers nothing.
#[derive(Debug)]
struct NoAnswers;

impl DirectAnswers for NoAnswers {
    fn discover<'a>(&'a self, _: &'a str, _: &'a Discover) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(ready(None))
    }

    fn instance<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(ready(None))
    }
}

fn answering(queue: &'static str, catalog: &Catalog, own: &OwnRequests) -> Answering {
    let modes = Modes::all(Mode::Queue);
    let (_, flag) = watch::channel(FlagState { modes, version: 0 });
    Answering {
        queue,
        context: CommandContext {
            catalog: catalog.clone(),
            defaults: Arc::new(Defaults::default()),
            broker: None,
            direct: Arc::new(NoAnswers),
            identities: Identities::default(),
            stamped: Arc::default(),
            user_header: "x-musterd-user".into(),
        },
        counts: ComparisonCounts::default(),
        flag,
        dead_letters: DeadLetters::default(),
        own: own.clone(),
    }
}

fn command(body: &'static str, correlation_id: &str) -> Delivery {
    let properties = PropertyList {
        correlation_id: ShortStr::copied(correlation_id.as_bytes()),
        ..PropertyList::default()
    };
    Delivery {
        tag: 1,
        key: ShortStr::from_static("any"),
        properties: properties.build(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

#[tokio::test]
async fn each_write_of_a_command_queue_is_judged_once() {
    const INSTANCE: &str = r#"{"service_id":"a-1","service_name":"a","host":"h","port":80}"#;
    const ID: &str = r#"{"service_id":"a-1"}"#;
    const NAME: &str = r#"{"service_name":"a"}"#;
    let catalog = Catalog::new(Registry::new(Config::default()));
    let own = OwnRequests::default();
    let canary = own.begin();
    let mut seen = 0;
    for (correlation_id, door) in [("a client's", Door::Amqp), (&canary.id, Door::Canary)] {
        for (queue, body, expected) in [
            (names::REGISTER, INSTANCE, Some(Operation::Register)),
            (names::HEARTBEAT, ID, Some(Operation::Heartbeat)),
            (names::DISCOVER, NAME, None),
            (names::DEREGISTER, ID, Some(Operation::Deregister)),
        ] {
            seen += 1;
            take_judged();
            let answering = answering(queue, &catalog, &own);
            let answered = answering.answer_to(&command(body, correlation_id)).await;
            assert!(!answered.is_problem, "{queue}: {:?}", answered.body);
            let expected: Vec<_> = expected.map(|one| (door, one)).into_iter().collect();
            assert_eq!(take_judged(), expected, "{queue} by {door:?}");
        }
    }
    assert_eq!(seen, 2 * names::COMMANDS.len(), "a queue without a case");
}
