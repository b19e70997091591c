use std::{net::SocketAddr, time::Duration};

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
    http::watch::{
        fixture::{register, registration},
        live::{Client, Live, PATIENCE},
    },
    model::Metadata,
};

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
async fn who_says_too_much_is_shown_out() {
    let live = Live::start().await;
    let mut socket = connect(live.address, "/watch/ws").await;
    expect(&mut socket, "snapshot").await;
    socket.send(Message::text("x".repeat(5_000))).await.unwrap();
    assert_eq!(expect_close(&mut socket).await, CloseCode::Size);
    live.until_watchers("websocket", "0").await;
    live.stop().await;
}

#[tokio::test]
async fn who_left_without_a_word_is_noticed() {
    let live = Live::start().await;
    let mut socket = connect(live.address, "/watch/ws?service=a").await;
    expect(&mut socket, "snapshot").await;
    live.until_watchers("websocket", "1").await;
    drop(socket);
    live.until_watchers("websocket", "0").await;
    live.stop().await;
}

#[tokio::test]
async fn silence_is_broken_by_pings_and_who_never_answers_is_gone() {
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
async fn sockets_are_told_the_last_event_and_that_the_door_closes() {
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

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let live = Live::with(|config| config.watch.watchers_per_address_max = 1.into()).await;
    let upgrade = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n";
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let check = async |headers: &str, status: u64| {
        let mut client = Client::send(live.address, "/watch/ws", headers).await;
        assert_eq!(client.json().await["status"], status, "{headers}");
    };
    check("", 426).await;
    check(&format!("{upgrade}{key}"), 426).await;
    check(&format!("{upgrade}{key}sec-websocket-version: 8\r\n"), 426).await;
    check(&format!("{upgrade}sec-websocket-version: 13\r\n"), 426).await;
    let whole = format!("{upgrade}{key}sec-websocket-version: 13\r\n");
    let mut client = Client::send(live.address, "/watch/ws", &whole).await;
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
async fn a_close_is_answered_and_a_broken_frame_is_told_of() {
    let live = Live::start().await;
    let mut socket = connect(live.address, "/watch/ws").await;
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    socket.close(Some(normal)).await.unwrap();
    assert_eq!(expect_close(&mut socket).await, CloseCode::Normal);
    for broken in [&[0x81, 0x01, b'x'][..], &[0xc1, 0x80, 0, 0, 0, 0]] {
        let mut socket = connect(live.address, "/watch/ws").await;
        expect(&mut socket, "snapshot").await;
        socket.get_mut().write_all(broken).await.unwrap();
        let code = expect_close(&mut socket).await;
        assert_eq!(code, CloseCode::Protocol, "{broken:?}");
    }
    live.until_watchers("websocket", "0").await;
    live.stop().await;
}
