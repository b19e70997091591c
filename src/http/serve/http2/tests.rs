use http_body_util::BodyExt;

use super::*;

fn tracked(body: Body, activity: &Arc<StreamActivity>) -> TrackedBody {
    TrackedBody {
        body,
        rest: Bytes::new(),
        active: ActiveStream::begin(activity),
    }
}

#[tokio::test]
async fn a_large_answer_is_given_in_pieces_and_counts_until_its_end() {
    let activity = Arc::new(StreamActivity::default());
    let bytes = Bytes::from(vec![7; 3 * SEND_BUFFER + 1]);
    let mut body = tracked(Body::from(bytes.clone()), &activity);
    assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
    let mut got = Vec::new();
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() <= SEND_BUFFER);
        got.extend_from_slice(&piece);
        assert_eq!(activity.open.load(Ordering::Relaxed), 1);
        assert_eq!(activity.waiting.load(Ordering::Relaxed), 1);
    }
    assert_eq!(got, bytes);
    assert!(body.is_end_stream());
    assert_eq!(activity.waiting.load(Ordering::Relaxed), 0);
    drop(body);
    assert_eq!(activity.open.load(Ordering::Relaxed), 0);
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    write: Duration::from_secs(30),
};

/// After how many seconds the client is too slow; none when it is not within ten minutes.
async fn overdue(activity: &StreamActivity) -> Option<u64> {
    let began = Instant::now();
    let waited = tokio::time::timeout(Duration::from_secs(600), activity.overdue(PATIENCE));
    waited.await.ok().map(|()| began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_only_with_something_to_do() {
    let activity = Arc::new(StreamActivity::default());
    let first = overdue(&activity).await.expect("no request at all");
    assert!((10..=15).contains(&first), "{first}");
    let mut body = tracked(Body::from("answer"), &activity);
    assert_eq!(overdue(&activity).await, None, "a request is under way");
    body.frame().await.unwrap().unwrap();
    let unread = overdue(&activity).await.expect("it takes nothing");
    assert!((30..=40).contains(&unread), "{unread}");
    drop(body);
    let idle = overdue(&activity).await.expect("no further request");
    assert!((75..=85).contains(&idle), "{idle}");
}
