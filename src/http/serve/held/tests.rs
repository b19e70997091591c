use std::sync::atomic::AtomicU64;

use bytesize::ByteSize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::timeout,
};

use super::*;
use crate::{
    http::testing::{
        fixture::registration,
        live::{Live, PATIENCE},
    },
    model::{Metadata, Registration},
    telemetry::Metrics,
};

#[track_caller]
fn check(max: u64, now: u64, pieces: u64, readers: &[(u64, u64)], expected: &[usize]) {
    let held = |(reader, (since, bytes)): (usize, &(u64, u64))| HeldByReader {
        since: *since,
        bytes: *bytes,
        reader,
    };
    let mut readers: Vec<_> = readers.iter().enumerate().map(held).collect();
    let closed = too_slow(max, now, pieces, &mut readers);
    assert_eq!(closed, expected);
}

#[test]
fn the_readers_that_hold_most_are_closed_and_no_others() {
    // Nothing is too much.
    check(100, 1000, 0, &[(950, 0), (NOTHING, 0)], &[]);
    // What was replaced since the oldest two took their state.
    check(100, 1000, 0, &[(950, 0), (300, 0), (899, 0)], &[1, 2]);
    check(100, 1000, 0, &[(900, 0), (300, 0)], &[1]);
    // Large answers, the largest first.
    check(100, 1000, 150, &[(1000, 20), (1000, 90), (1000, 40)], &[1]);
    // One that many share: each of its readers may have to go.
    check(100, 1000, 101, &[(1000, 50), (1000, 51)], &[1]);
    // Both that hold something, and none that holds nothing.
    check(100, 1000, 90, &[(950, 90), (NOTHING, 0)], &[0]);
    check(10, 1000, 50, &[(NOTHING, 0), (NOTHING, 0)], &[]);
}

fn answers(max: u64) -> (Arc<HeldAnswers>, Arc<AtomicU64>) {
    let replaced = Arc::new(AtomicU64::new(0));
    let source = Arc::clone(&replaced);
    let metrics = ServeMetrics::new(&Metrics::default());
    let held = HeldAnswers::new(max, Box::new(move || source.load(Relaxed)), metrics);
    (held, replaced)
}

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn frame(body: &mut Body) -> Option<Bytes> {
    use http_body_util::BodyExt;
    body.frame()
        .await
        .map(|frame| frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn an_answer_counts_once_however_many_read_it_and_until_the_last_has_it() {
    let (held, _) = answers(1 << 20);
    let answer = Bytes::from(vec![7; 100_000]);
    let watchdog = ConnectionWatchdog::new();
    let mut sent = Vec::new();
    for port in 0..3 {
        let mut body = held.counted(answer.clone().into(), client(port), &watchdog);
        assert_eq!(body.size_hint().exact(), Some(100_000));
        sent.push(frame(&mut body).await.unwrap());
        assert_eq!(held.look().0, 100_000);
    }
    assert!(sent.iter().all(|piece| *piece == answer));
    // A part that is left counts as a whole: it is one allocation.
    let rest = sent[0].slice(99_000..);
    drop(sent);
    assert_eq!(held.look().0, 100_000);
    drop(rest);
    assert_eq!(held.look().0, 0);
    assert!(held.readers.lock().is_empty() && held.pieces.lock().is_empty());
    // Small answers pass as they are.
    let _small = held.counted("small".into(), client(1), &watchdog);
    assert!(held.readers.lock().is_empty());
}

#[tokio::test]
async fn the_oldest_reader_is_cut_off_when_too_much_was_replaced() {
    let (held, replaced) = answers(1000);
    let pieces = || {
        let pieces = ["a", "b"].map(|text| Ok::<_, std::convert::Infallible>(Bytes::from(text)));
        Body::from_stream(futures_util::stream::iter(pieces))
    };
    let watchdogs = [ConnectionWatchdog::new(), ConnectionWatchdog::new()];
    let mut old = held.counted(pieces(), client(1), &watchdogs[0]);
    frame(&mut old).await.unwrap();
    replaced.store(600, Relaxed);
    let _new = held.counted(pieces(), client(2), &watchdogs[1]);
    replaced.store(1000, Relaxed);
    assert_eq!(held.look().0, 1000);
    replaced.store(1001, Relaxed);
    let (bytes, closed) = held.look();
    assert_eq!((bytes, closed.len()), (1001, 1));
    assert!(watchdogs[0].is_cut() && !watchdogs[1].is_cut());
    // It is not counted again.
    assert_eq!(held.look().0, 401);
    drop((old, closed));
    // A stream that waits holds nothing.
    let mut waiting = held.counted(
        Body::from_stream(futures_util::stream::pending::<
            Result<Bytes, std::convert::Infallible>,
        >()),
        client(3),
        &watchdogs[1],
    );
    assert!(futures_util::FutureExt::now_or_never(frame(&mut waiting)).is_none());
    drop(_new);
    replaced.store(5000, Relaxed);
    assert_eq!(held.look().0, 0);
}

/// A client that has asked for this path and reads nothing.
async fn deaf(live: &Live, path: &str) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(live.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn until_closed(live: &Live, count: u64) {
    let closed = async {
        while live.shared.serve.metrics.slow_closed.get() < count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, closed)
        .await
        .expect("it is closed in time");
}

/// Registers an instance of some 60 KB.
fn large(live: &Live, number: usize, port: u16) {
    let metadata = format!("{{\"text\":\"{}\"}}", "x".repeat(60_000));
    let registration = Registration {
        metadata: Metadata::parse(&metadata).unwrap(),
        ..registration(&format!("i{number}"), "web", port)
    };
    live.registry().register(registration, None).unwrap();
}

#[tokio::test]
async fn clients_that_do_not_read_are_closed_and_what_they_held_is_given_back() {
    let live = Live::with(|config| config.held_max = ByteSize::mib(2).into()).await;
    for number in 0..200 {
        large(&live, number, 1);
    }
    // An answer of 12 MB, which no buffer of a socket takes.
    let mut whole = deaf(&live, "/services/discover/web?healthy_only=false").await;
    until_closed(&live, 1).await;
    // A snapshot in pieces, while what it shows is replaced.
    let mut pieces = deaf(&live, "/watch?service=web").await;
    let mut idle = live.get("/watch?service=other").await;
    idle.expect("snapshot").await;
    for number in 0..200 {
        large(&live, number, 2);
        if number % 20 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    until_closed(&live, 2).await;
    for stream in [&mut whole, &mut pieces] {
        let mut text = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut text)).await;
        ended.expect("the connection has ended").ok();
        assert!(text.len() < 12_000_000);
    }
    // Who waits for changes holds nothing.
    live.registry()
        .register(registration("o", "other", 1), None)
        .unwrap();
    idle.expect("event").await;
    assert_eq!(live.shared.serve.metrics.slow_closed.get(), 2);
    assert_eq!(live.shared.serve.held.look().0, 0);
    live.stop().await;
}
