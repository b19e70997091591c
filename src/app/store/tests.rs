use super::*;
use crate::{disk::testing::SimDisk, telemetry::testing::LoggedText};

#[tokio::test]
async fn a_disk_that_does_not_answer_does_not_keep_the_daemon_from_ending() {
    let logged = LoggedText::start();
    let disk = SimDisk::default();
    let store = Store::on_sim(&disk);
    let held = disk.hold_syncs();
    store.commit_until_merging();
    let ended = timeout(
        Duration::from_secs(60),
        end(Some(store), None, Ok(()), Duration::ZERO),
    );
    let ended = ended.await.expect("it ends without the disk");
    assert!(ended.is_ok(), "{ended:?}");
    let text = logged.text();
    assert!(
        text.contains("the store was not closed within 500ms"),
        "{text}"
    );
    drop(held);
}

#[tokio::test]
async fn a_store_that_closes_in_time_is_not_complained_about() {
    let logged = LoggedText::start();
    let store = Store::on_sim(&SimDisk::default());
    let left = Duration::from_secs(60);
    end(Some(store), None, Ok(()), left).await.unwrap();
    assert_eq!(logged.text(), "");
}
