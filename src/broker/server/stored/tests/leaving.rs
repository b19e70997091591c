//! Queues whose deletion waits for their dead letters.

use super::*;

/// A queue whose messages expire at once, into the queue "dead".
fn dying(name: &str) -> Declare {
    let mut arguments = TableBuilder::new();
    arguments.put("x-message-ttl", ValueRef::I64(0));
    arguments.put_str("x-dead-letter-exchange", &ShortStr::EMPTY);
    arguments.put_str("x-dead-letter-routing-key", short("dead"));
    Declare {
        queue: short(name),
        durable: true,
        arguments: arguments.build(),
        ..Declare::default()
    }
}

#[tokio::test]
async fn a_queue_is_deleted_from_the_store_when_its_dead_letters_are_durable() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    declare(&mut channel, queue("dead", 1000)).await;
    for round in 0..20 {
        declare(&mut channel, dying("q")).await;
        keep(&mut channel, "q").await;
        assert!(broker.delete("/", "q").await.is_some());
        assert_eq!(kept.topology.count(TopologyTable::Queues), 1);
        // As a crash would leave it now.
        let crashed = Kept::new();
        for entry in std::fs::read_dir(kept.folder.path()).unwrap() {
            let entry = entry.unwrap();
            let to = crashed.folder.path().join(entry.file_name());
            std::fs::copy(entry.path(), to).unwrap();
        }
        for table in [TopologyTable::Queues, TopologyTable::DeletedQueues] {
            let rows = kept.topology.rows(table).into_iter();
            let rows = rows.map(|(number, value)| TopologyChange {
                table,
                number,
                value: Some(value),
            });
            crashed.topology.commit(&rows.collect::<Vec<_>>()).unwrap();
        }
        let found = crashed.open().await.unwrap();
        assert_eq!(ready(&found, "dead").await, Some(round + 1), "{round}");
        assert_eq!(ready(&found, "q").await, None);
        close(found).await;
    }
    drop(channel);
    close(broker).await;
}

#[tokio::test]
async fn of_two_queues_of_one_name_the_newer_one_is_put_back() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    declare(&mut channel, queue("q", 10)).await;
    keep(&mut channel, "q").await;
    drop(channel);
    close(broker).await;
    // As a crash leaves it between the declaration of a queue and the deletion of its predecessor.
    let (number, row) = kept.topology.rows(TopologyTable::Queues).remove(0);
    let newer = TopologyChange {
        table: TopologyTable::Queues,
        number: number + 1000,
        value: Some(row),
    };
    kept.topology.commit(&[newer]).unwrap();
    let broker = kept.open().await.unwrap();
    assert_eq!(ready(&broker, "q").await, Some(0));
    close(broker).await;
    assert_eq!(
        kept.topology.rows(TopologyTable::Queues)[0].0,
        number + 1000
    );
    close(kept.open().await.unwrap()).await;
    assert_eq!(kept.topology.count(TopologyTable::Queues), 1);
    assert_eq!(kept.topology.count(TopologyTable::DeletedQueues), 0);
}
