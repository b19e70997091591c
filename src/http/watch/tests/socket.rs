use std::{cell::Cell, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{
    http::testing::{
        fixture::{register, registration},
        live::{Live, LiveClient, PATIENCE},
    },
    model::{CANARY, Metadata},
    telemetry::testing::LoggedText,
};

thread_local! {
    static FAILS: Cell<bool> = const { Cell::new(false) };
}

/// Panics in the task of the next WebSocket of this thread, where a test asks for it.
pub(in crate::http::watch) fn fail_if_asked() {
    assert!(!FAILS.take(), "a fault in the task of a WebSocket");
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(address: SocketAddr, path: &str) -> Socket {
    let (socket, _) = connect_async(format!("ws://{address}{path}"))
        .await
        .unwrap();
    socket
}

async fn next(socket: &mut Socket) -> Message {
    let next = timeout(PATIENCE, socket.next()).await;
    next.expect("something comes in time").unwrap().unwrap()
}

/// The next text, pings passed over, which must be of this type.
async fn expect(socket: &mut Socket, kind: &str) -> Value {
    loop {
        if let Message::Text(text) = next(socket).await {
            let message: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(message["type"], kind, "{message}");
            return message;
        }
    }
}

async fn expect_close(socket: &mut Socket) -> CloseCode {
    loop {
        if let Message::Close(frame) = next(socket).await {
            return frame.unwrap().code;
        }
    }
}

#[tokio::test]
async fn a_snapshot_then_events_and_a_way_back() {
    let live = Live::start().await;
    register(live.registry(), "one", "a", 1);
    let mut socket = connect(live.address, "/watch/ws?service=a").await;
    let snapshot = expect(&mut socket, "snapshot").await;
    assert_eq!(snapshot["data"]["services"]["a"][0]["service_id"], "one");
    assert_eq!(snapshot["data"]["cursor"], snapshot["id"]);
    // Whatever a client says is ignored.
    socket.send(Message::text("hello")).await.unwrap();
    socket.send(Message::binary(vec![0xff; 100])).await.unwrap();
    register(live.registry(), "other", "b", 1);
    register(live.registry(), "one", "a", 2);
    let event = expect(&mut socket, "event").await;
    assert_eq!(event["data"]["event"], "updated");
    assert_eq!(event["data"]["revision"], 3);
    assert_eq!(event["id"], format!("{}-3", live.registry().epoch()));
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = timeout(PATIENCE, socket.next()).await.unwrap() {}
    live.until_watchers("websocket", "0").await;

    register(live.registry(), "one", "a", 3);
    let back = format!(
        "/watch/ws?service=a&since={}",
        event["id"].as_str().unwrap()
    );
    let mut socket = connect(live.address, &back).await;
    assert_eq!(expect(&mut socket, "event").await["data"]["revision"], 4);
    let mut lost = connect(live.address, "/watch/ws?since=1-1").await;
    assert_eq!(expect(&mut lost, "resync").await["id"], Value::Null);
    expect(&mut lost, "snapshot").await;
    live.stop().await;
}

#[tokio::test]
async fn large_messages_come_whole() {
    let live = Live::start().await;
    for at in 0..1_000_u16 {
        register(
            live.registry(),
            &format!("i{at}"),
            &format!("s{}", at % 3),
            at + 1,
        );
    }
    let mut socket = connect(live.address, "/watch/ws").await;
    let snapshot = expect(&mut socket, "snapshot").await;
    assert_eq!(snapshot["data"]["services"].as_object().unwrap().len(), 3);
    let mut said = registration("large", "a", 1);
    let text = "é".repeat(30_000);
    said.metadata = Metadata::parse(&format!("{{\"x\":\"{text}\"}}")).unwrap();
    live.registry().register(said, None).unwrap();
    let event = expect(&mut socket, "event").await;
    assert_eq!(event["data"]["instance"]["metadata"]["x"], text);
    live.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_socket() {
    let live = Live::start().await;
    let mut socket = connect(live.address, "/watch/ws").await;
    expect(&mut socket, "snapshot").await;
    socket.send(Message::text("x".repeat(5_000))).await.unwrap();
    assert_eq!(expect_close(&mut socket).await, CloseCode::Size);
    live.until_watchers("websocket", "0").await;
    live.stop().await;
}

#[tokio::test]
async fn a_disconnected_client_is_noticed() {
    let live = Live::start().await;
    let mut socket = connect(live.address, "/watch/ws?service=a").await;
    expect(&mut socket, "snapshot").await;
    live.until_watchers("websocket", "1").await;
    drop(socket);
    live.until_watchers("websocket", "0").await;
    live.stop().await;
}

#[tokio::test]
async fn pings_are_sent_and_a_client_that_never_answers_is_dropped() {
    let live =
        Live::with(|config| config.watch.keep_alive = Duration::from_millis(30).into()).await;
    let mut lively = connect(live.address, "/watch/ws").await;
    let mute = connect(live.address, "/watch/ws").await;
    live.until_watchers("websocket", "2").await;
    expect(&mut lively, "snapshot").await;
    let mut pings = 0;
    while live.watchers("websocket") != "1" || pings < 5 {
        // Reading answers the ping.
        assert!(matches!(next(&mut lively).await, Message::Ping(_)));
        pings += 1;
    }
    drop(mute);
    live.stop().await;
}

#[tokio::test]
async fn at_a_stop_sockets_get_the_last_event_and_a_close() {
    let live = Live::start().await;
    let mut socket = connect(live.address, "/watch/ws").await;
    expect(&mut socket, "snapshot").await;
    register(live.registry(), "one", "a", 1);
    let (code, ()) = tokio::join!(
        async {
            expect(&mut socket, "event").await;
            expect_close(&mut socket).await
        },
        live.stop()
    );
    assert_eq!(code, CloseCode::Away);
}

/// The cursor of a socket that leaves the canary out moves all the same.
#[tokio::test]
async fn a_socket_without_the_canary_gets_the_cursor_instead() {
    let live =
        Live::with(|config| config.watch.keep_alive = Duration::from_millis(30).into()).await;
    register(live.registry(), "one", "a", 1);
    register(live.registry(), "c", CANARY, 1);
    let mut socket = connect(live.address, "/watch/ws?canary=false").await;
    let snapshot = expect(&mut socket, "snapshot").await;
    assert_eq!(snapshot["data"]["services"].as_object().unwrap().len(), 1);
    register(live.registry(), "c", CANARY, 2);
    let cursor = expect(&mut socket, "cursor").await;
    assert_eq!(cursor["id"], format!("{}-3", live.registry().epoch()));
    assert_eq!(cursor["data"], Value::Null);
    register(live.registry(), "one", "a", 2);
    assert_eq!(expect(&mut socket, "event").await["data"]["revision"], 4);
    live.stop().await;
}

#[tokio::test]
async fn an_invalid_handshake_is_refused() {
    let live = Live::with(|config| config.watch.watchers_per_address_max = 1.into()).await;
    let upgrade = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n";
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let check = async |headers: &str, status: u64| {
        let mut client = LiveClient::send(live.address, "/watch/ws", headers).await;
        assert_eq!(client.json().await["status"], status, "{headers}");
    };
    check("", 426).await;
    check(&format!("{upgrade}{key}"), 426).await;
    check(&format!("{upgrade}{key}sec-websocket-version: 8\r\n"), 426).await;
    check(&format!("{upgrade}sec-websocket-version: 13\r\n"), 426).await;
    let whole = format!("{upgrade}{key}sec-websocket-version: 13\r\n");
    let mut client = LiveClient::send(live.address, "/watch/ws", &whole).await;
    let head = client.read_head().await.to_owned();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    // The example of RFC 6455, section 1.3.
    assert_eq!(
        client.header("sec-websocket-accept"),
        "s3pplmbitxaq9kygzzhzrbk+xoo="
    );

    let request = format!("ws://{}/watch/ws", live.address);
    let refused = connect_async(request.into_client_request().unwrap()).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(response)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(response.status().as_u16(), 429);
    live.stop().await;
}

#[tokio::test]
async fn a_close_is_answered_and_a_broken_frame_has_its_code() {
    let live = Live::start().await;
    let mut socket = connect(live.address, "/watch/ws").await;
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    socket.close(Some(normal)).await.unwrap();
    assert_eq!(expect_close(&mut socket).await, CloseCode::Normal);
    for (frame, expected) in [
        // Not masked.
        (&[0x81, 0x01, b'x'][..], CloseCode::Protocol),
        // A reserved bit, and reserved opcodes.
        (&[0xc1, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (&[0x83, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (&[0x8b, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        // A fragmented ping, and a continuation of nothing.
        (&[0x09, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (&[0x80, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        // A text that is not UTF-8, also over two fragments.
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xff], CloseCode::Invalid),
        (
            &[0x01, 0x81, 0, 0, 0, 0, 0xc3, 0x80, 0x81, 0, 0, 0, 0, b'x'],
            CloseCode::Invalid,
        ),
        // A close frame of one byte, and one with a reserved code.
        (&[0x88, 0x81, 0, 0, 0, 0, 0x03], CloseCode::Protocol),
        (&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed], CloseCode::Protocol),
        // A close frame, which is answered with its own code.
        (
            &[0x88, 0x82, 0, 0, 0, 0, 0x0f, 0xa0],
            CloseCode::Library(4000),
        ),
    ] {
        let mut socket = connect(live.address, "/watch/ws").await;
        expect(&mut socket, "snapshot").await;
        socket.get_mut().write_all(frame).await.unwrap();
        let code = expect_close(&mut socket).await;
        assert_eq!(code, expected, "{frame:x?}");
    }
    live.until_watchers("websocket", "0").await;
    live.stop().await;
}

#[tokio::test]
async fn a_socket_whose_task_panics_is_named_and_closed_alone() {
    let logged = LoggedText::start();
    let live = Live::start().await;
    let mut other = connect(live.address, "/watch/ws").await;
    expect(&mut other, "snapshot").await;
    FAILS.set(true);
    let mut socket = connect(live.address, "/watch/ws").await;
    let ended = timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");
    let MaybeTlsStream::Plain(stream) = socket.get_ref() else {
        panic!("without TLS");
    };
    let client = stream.local_addr().unwrap();
    let text = logged.text();
    let named = format!("the WebSocket of {client} is closed: its task panicked");
    assert!(text.contains(&named), "{text}");
    live.until_watchers("websocket", "1").await;
    register(live.registry(), "one", "a", 1);
    expect(&mut other, "event").await;
    live.stop().await;
}
