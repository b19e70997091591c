use std::cell::Cell;

use futures_util::{FutureExt, future::pending};
use tokio::{sync::Notify, task::yield_now};

use super::OnRequest;

#[tokio::test]
async fn requests_for_one_instance_share_a_run() {
    let on_request = OnRequest::new(1);
    let (runs, end) = (Cell::new(0), Notify::new());
    let run = || {
        on_request.once("i", async || {
            runs.set(runs.get() + 1);
            end.notified().await;
        })
    };
    let others = on_request.once("other", async || runs.set(runs.get() + 10));
    tokio::join!(run(), run(), run(), others, async {
        yield_now().await;
        assert_eq!(runs.get(), 11, "one run of each instance");
        end.notify_one();
    });
    assert_eq!(runs.get(), 11, "a waiting caller does not run a probe");
    end.notify_one();
    run().await;
    assert_eq!(runs.get(), 12, "a later request probes again");
}

#[tokio::test]
async fn a_cancelled_run_is_restarted_by_a_waiting_request() {
    let on_request = OnRequest::new(1);
    let mut first = Box::pin(on_request.once("i", pending));
    assert!(first.as_mut().now_or_never().is_none());
    let ran = Cell::new(false);
    let mut second = Box::pin(on_request.once("i", async || ran.set(true)));
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    second.await;
    assert!(ran.get());
}
