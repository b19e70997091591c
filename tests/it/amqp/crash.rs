//! What a kill leaves that comes between two steps: a delivery and its record, a dead letter and the end of its queue.

use super::restart::{Restarted, contents, publish_confirmed, script};

#[test]
fn after_a_kill_what_was_never_delivered_is_redelivered_and_what_comes_later_is_not() {
    let mut broker = Restarted::start();
    let mut client = broker.confirming_client("q");
    script(
        &mut client,
        &[
            "queue.declare queue=quorum durable arguments={x-queue-type=Squorum} => queue.declare-ok",
        ],
    );
    publish_confirmed(&mut client, 1..=3);
    client.send(
        1,
        "basic.publish routing-key=quorum delivery-mode=2 body=quorum",
    );
    client.all_acked(1);
    broker.kill();
    publish_confirmed(&mut broker.confirming_client("q"), 4..=5);
    // The mark of the crash is kept across clean stops.
    broker.restart();
    broker.restart();
    let expected = ["again 1", "again 2", "again 3", "4", "5"];
    assert_eq!(contents(&broker, "q"), expected);
    assert_eq!(contents(&broker, "quorum"), ["quorum"], "as in RabbitMQ");
}

#[test]
fn dead_letters_of_a_queue_that_is_deleted_survive_a_kill() {
    for _ in 0..3 {
        let mut broker = Restarted::start();
        let mut client = broker.client();
        let dead = "x-dead-letter-exchange=S'',x-dead-letter-routing-key=Sdead";
        let declare = format!("queue.declare queue=q durable arguments={{{dead}}}");
        script(
            &mut client,
            &[
                "queue.declare queue=dead durable => queue.declare-ok",
                &format!("{declare} => queue.declare-ok"),
                "confirm.select => confirm.select-ok",
                "basic.qos prefetch-count=2000 => basic.qos-ok",
            ],
        );
        publish_confirmed(&mut client, 0..2000);
        script(
            &mut client,
            &["basic.consume queue=q consumer-tag=c => basic.consume-ok"],
        );
        for number in 0..2000 {
            let got = client.receive(1);
            assert!(got.ends_with(&format!(" body={number}")), "{number}: {got}");
        }
        // Without a pause: the letters are still on their way when their queue is deleted.
        client.send(1, "basic.nack delivery-tag=2000 multiple");
        client.send(1, "queue.delete queue=q");
        let cancelled = client.receive(1);
        assert!(cancelled.starts_with("basic.cancel"), "{cancelled}");
        assert_eq!(client.receive(1), "queue.delete-ok message-count=0");
        broker.kill();
        let mut client = broker.client();
        let got = client.call(1, "queue.declare queue=dead passive");
        assert!(got.contains("message-count=2000"), "{got}");
        let got = client.call(1, "queue.declare queue=q passive");
        assert!(got.contains("NOT_FOUND"), "{got}");
    }
}
