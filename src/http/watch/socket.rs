//! Watching over a WebSocket (RFC 6455), as JSON texts `{"type","id","data"}`.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        error::ProtocolError,
        handshake::derive_accept_key,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use super::{
    feed::WatchFeed,
    frames::{Form, Piece},
    limit::{Permit, WatcherKind},
    reader::SeenScope,
    stream::{Silence, WatchQuery},
};
use crate::{
    api,
    http::{
        answer::{EndpointResult, HttpProblem},
        problems::{Invalid, TooMany},
        serve::{connection::HttpPeer, guarded},
        state::AppState,
    },
};

/// The longest message that a client may send, in bytes; messages of clients are ignored.
const INCOMING_BYTES_MAX: usize = 4096;
/// The buffers of an idle connection, in bytes.
const BUFFER_BYTES: usize = 1024;
/// So many pings may be unanswered before the client counts as disconnected.
const PINGS_UNANSWERED_MAX: u32 = 3;
/// How long the closing handshake may take.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Follow changes over a WebSocket.
#[utoipa::path(
    get, path = "/watch/ws",
    params(
        ("service" = Option<Vec<String>>, Query, description = "Only the changes of these services; none means all"),
        ("since" = Option<String>, Query, description = "Continue after this cursor"),
        ("canary" = Option<bool>, Query, description = "false leaves out the migration's canary; the cursor still moves"),
        ("token" = Option<String>, Query, description = "The caller's token, for clients that can send no header"),
        ("ticket" = Option<String>, Query, description = "The same with a ticket of POST /auth/ticket"),
    ),
    responses(
        (status = 101, description = "JSON texts {\"type\":\"snapshot|event|resync\",\"id\",\"data\"}; with canary=false also of type \"cursor\", whose data is null"),
        (status = 426, body = api::Problem, content_type = "application/problem+json"),
        Invalid, TooMany,
    )
)]
pub(in crate::http) async fn watch_socket(
    State(shared): State<AppState>,
    peer: HttpPeer,
    mut request: Request,
) -> EndpointResult {
    let accept = match handshake(request.headers()) {
        Ok(accept) => accept,
        Err(refusal) => return Ok(upgrade_required(refusal)),
    };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Ok(upgrade_required("this connection can't be upgraded"));
    };
    let wanted = WatchQuery::read(&shared, request.headers(), request.uri().query())?;
    let shown = wanted.scope.to_string();
    let permit = match shared.enter_watcher(&peer, WatcherKind::Socket, &shown) {
        Ok(permit) => permit,
        Err(refused) => return Ok(refused.into_response()),
    };
    let scope = SeenScope {
        scope: wanted.scope,
        sight: shared.sight(&peer),
    };
    let feed = WatchFeed::new(
        shared.clone(),
        Form::Socket,
        scope,
        wanted.start,
        permit.entry(),
    );
    let client = match peer.socket {
        Some(client) => client.to_string(),
        None => peer.address.to_string(),
    };
    let serving = serve(upgrade, feed, (shared.clone(), peer), permit);
    shared
        .upgraded
        .spawn(guarded("the WebSocket", client, serving));
    Ok(switching(accept))
}

/// Checks the client's side of the handshake (RFC 6455, section 4.2.1). Returns the accept key.
fn handshake(headers: &HeaderMap) -> Result<String, &'static str> {
    let has = |name: header::HeaderName, word: &str| {
        let values = headers.get_all(name).into_iter();
        let mut words = values.flat_map(|value| value.to_str().unwrap_or("").split(','));
        words.any(|known| known.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err("this path is for WebSockets: upgrade the connection, or use /watch");
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err("only version 13 of WebSocket is spoken");
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if key.len() == 24 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err("Sec-WebSocket-Key must be 16 bytes in base64"),
    }
}

fn switching(accept: String) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn upgrade_required(detail: &str) -> Response {
    let mut response = HttpProblem::new(426, detail).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    response
}

async fn serve(
    upgrade: OnUpgrade,
    feed: WatchFeed,
    (shared, peer): (AppState, HttpPeer),
    _permit: Permit,
) {
    let upgraded = tokio::select! {
        upgraded = upgrade => upgraded,
        () = shared.closing.cancelled() => return,
    };
    // The client disconnected before it was answered.
    let Ok(upgraded) = upgraded else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(INCOMING_BYTES_MAX))
        .max_frame_size(Some(INCOMING_BYTES_MAX));
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    #[cfg(test)]
    super::tests::socket::fail_if_asked();
    let end = tokio::select! {
        biased;
        () = peer.revoked() => SocketEnd::Revoked,
        () = peer.cut() => return,
        end = tell(&mut socket, feed, (&shared, &peer)) => end,
    };
    let (code, reason) = match end {
        // The answer to a client's own close waits to be sent.
        SocketEnd::Left => {
            let _ = timeout(CLOSE_TIME_MAX, SinkExt::close(&mut socket)).await;
            return;
        }
        SocketEnd::Broken => (CloseCode::Protocol, "not a frame that a client may send"),
        SocketEnd::NotUtf8 => (CloseCode::Invalid, "a text must be UTF-8"),
        SocketEnd::Revoked => (CloseCode::Policy, "the token is not valid any more"),
        SocketEnd::Stopped => (CloseCode::Away, "musterd stops"),
        SocketEnd::TooLong => (CloseCode::Size, "the message is too long"),
    };
    let close = CloseFrame {
        code,
        reason: reason.into(),
    };
    // The connection ends, whether the client gets the close frame or not.
    let _ = timeout(CLOSE_TIME_MAX, socket.close(Some(close))).await;
}

/// Why a socket ends.
enum SocketEnd {
    /// The client closed it, is not there any more or does not read.
    Left,
    /// What the client was recognised by is no longer valid.
    Revoked,
    Stopped,
    TooLong,
    Broken,
    NotUtf8,
}

/// Look, act, wait; at a stop it sends what has happened and ends.
async fn tell(
    socket: &mut Socket,
    mut feed: WatchFeed,
    (shared, peer): (&AppState, &HttpPeer),
) -> SocketEnd {
    let reader = peer.reader(&shared.serve.held);
    let mut silence = Silence::new(shared.config.watch.keep_alive.get());
    let mut unanswered = 0;
    loop {
        while let Some(piece) = feed.next() {
            if let Some(reader) = &reader {
                reader.holds();
            }
            if send(socket, frame(piece), shared).await.is_err() {
                return SocketEnd::Left;
            }
            while let Some(heard) = socket.next().now_or_never() {
                match ended(heard) {
                    Some(end) => return end,
                    None => unanswered = 0,
                }
            }
        }
        if let Some(reader) = &reader {
            reader.holds_nothing();
        }
        if feed.is_closed() {
            return SocketEnd::Stopped;
        }
        tokio::select! {
            () = feed.changed() => {}
            () = shared.closing.cancelled() => feed.close(),
            heard = socket.next() => match ended(heard) {
                Some(end) => return end,
                None => unanswered = 0,
            },
            () = silence.tick() => {
                if unanswered == PINGS_UNANSWERED_MAX {
                    return SocketEnd::Left;
                }
                for message in keep_alive(&mut feed) {
                    if send(socket, message, shared).await.is_err() {
                        return SocketEnd::Left;
                    }
                }
                unanswered += 1;
            }
        }
    }
}

/// A ping, behind the cursor where it has moved without an event.
fn keep_alive(feed: &mut WatchFeed) -> impl Iterator<Item = Message> + use<> {
    let cursor = feed.silent_cursor();
    let cursor = cursor.map(|cursor| Form::Socket.frame("cursor", Some(cursor), b"null"));
    let cursor = cursor.map(|bytes| frame(Piece::whole(bytes)));
    let ping = Message::Ping(Default::default());
    cursor.into_iter().chain(std::iter::once(ping))
}

/// Whatever a client sends is ignored; when it closes or breaks the protocol, that is the end.
fn ended(heard: Option<Result<Message, tungstenite::Error>>) -> Option<SocketEnd> {
    match heard {
        Some(Ok(Message::Close(_))) | None => Some(SocketEnd::Left),
        Some(Ok(_)) => None,
        Some(Err(tungstenite::Error::Capacity(_))) => Some(SocketEnd::TooLong),
        Some(Err(tungstenite::Error::Utf8(_))) => Some(SocketEnd::NotUtf8),
        Some(Err(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
            Some(SocketEnd::Left)
        }
        Some(Err(tungstenite::Error::Protocol(_))) => Some(SocketEnd::Broken),
        Some(Err(_)) => Some(SocketEnd::Left),
    }
}

/// Sends a message, for as long as a client may leave it unread.
async fn send(socket: &mut Socket, message: Message, shared: &AppState) -> Result<(), ()> {
    let sent = timeout(shared.config.write_timeout.get(), socket.send(message));
    tokio::select! {
        sent = sent => match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        },
        () = stuck(shared) => Err(()),
    }
}

/// Returns some time after the server began to stop: a client that does not read by then is not waited for.
async fn stuck(shared: &AppState) {
    shared.closing.cancelled().await;
    tokio::time::sleep(CLOSE_TIME_MAX).await;
}

/// A message in pieces is a fragmented one (RFC 6455, section 5.4).
fn frame(piece: Piece) -> Message {
    let kind = if piece.first {
        Data::Text
    } else {
        Data::Continue
    };
    Message::Frame(Frame::message(piece.bytes, OpCode::Data(kind), piece.last))
}
