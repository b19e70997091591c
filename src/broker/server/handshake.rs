//! From the first byte to an open vhost.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Shared,
    clock::VhostCell,
    connections::ConnectionPermit,
    login::log_in,
    wire::{HandshakeError, Wire},
};
use crate::broker::{
    auth::Mechanism,
    exception::Exception,
    session::SessionIdentity,
    wire::{
        Method, MethodId, ProtocolHeader, Table,
        frame::MIN_FRAME_MAX,
        method::{MethodSpec, connection},
        table::TableBuilder,
    },
};

/// The version of RabbitMQ whose dialect is spoken.
pub(in crate::broker) const DIALECT: &str = "3.10.8";
/// How long a client that failed to log in has before the socket is closed.
const REFUSED_GRACE: Duration = Duration::from_secs(2);

/// The properties of a client before it has sent anything.
#[derive(Debug)]
pub(super) struct ClientOrigin {
    pub(super) address: SocketAddr,
    /// The user that its certificate names.
    pub(super) certified: Option<String>,
}

/// The values that client and server have agreed on.
#[derive(Debug)]
pub(super) struct Negotiated {
    pub(super) permit: ConnectionPermit,
    /// The version of the users and permissions that let it in.
    pub(super) access_version: u64,
    pub(super) identity: SessionIdentity,
    pub(super) vhost: Arc<VhostCell>,
    pub(super) vhost_name: String,
    pub(super) client: Table,
    pub(super) blocked_notify: bool,
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat_s: u16,
}

/// Carries out the handshake. When it fails, the client has already received the reason.
pub(super) async fn handshake(
    shared: &Shared,
    wire: &mut Wire,
    from: &ClientOrigin,
) -> Result<Negotiated, HandshakeError> {
    protocol_header(wire).await?;
    let access = shared.access.load_full();
    wire.send(&start(&access.mechanisms, from)).await?;
    let start_ok = match next_method(wire).await? {
        Method::ConnectionStartOk(start_ok) => start_ok,
        other => return refuse(wire, unexpected(&other)).await,
    };
    let client = start_ok.client_properties.detached();
    let capabilities = client
        .field(b"capabilities")
        .and_then(|value| value.as_table());
    let can = |name: &[u8]| {
        capabilities
            .and_then(|table| table.field(name))
            .and_then(|value| value.as_bool())
            .unwrap_or(false)
    };
    wire.peer
        .cancel_notify
        .store(can(b"consumer_cancel_notify"), Relaxed);
    let user = log_in(&access, wire, from, &start_ok).await?;
    let (channel_max, frame_max, heartbeat_s) = tune(shared, wire).await?;
    let open = match next_method(wire).await? {
        Method::ConnectionOpen(open) => open,
        other => return refuse(wire, unexpected(&other)).await,
    };
    let name = open.vhost.to_string();
    let Some(vhost) = shared.vhosts.get(&name).cloned() else {
        let exception = Exception::not_allowed(format!("vhost {name} not found"));
        return refuse(wire, exception.at(connection::Open::ID)).await;
    };
    let grant = match user.grant(&name) {
        Ok(grant) => grant,
        Err(denied) => {
            let exception = Exception::not_allowed(denied.to_string());
            return refuse(wire, exception.at(connection::Open::ID)).await;
        }
    };
    let Some(permit) = shared.connections.permit() else {
        let limit = shared.connections.limit();
        let text = format!("connection refused: connection limit ({limit}) is reached");
        let exception = Exception::not_allowed(text);
        return refuse(wire, exception.at(connection::Open::ID)).await;
    };
    wire.send(&connection::OpenOk {}).await?;
    Ok(Negotiated {
        permit,
        access_version: access.version,
        identity: SessionIdentity {
            connection: wire.peer.id,
            grant,
        },
        vhost,
        vhost_name: name,
        blocked_notify: can(b"connection.blocked"),
        client,
        channel_max,
        frame_max,
        heartbeat_s,
    })
}

async fn protocol_header(wire: &mut Wire) -> Result<(), HandshakeError> {
    loop {
        match wire.frames.protocol_header() {
            Some(ProtocolHeader::V0_9_1 | ProtocolHeader::V0_9) => return Ok(()),
            Some(ProtocolHeader::Unsupported) => {
                let ours = ProtocolHeader::V0_9_1_OCTETS;
                wire.peer.outbox.write(|out| out.extend_from_slice(&ours));
                let sent = protocol_of(wire.frames.input());
                wire.drain().await?;
                return Err(HandshakeError::Protocol(sent));
            }
            None => wire.fill().await?,
        }
    }
}

pub(super) async fn next_method(wire: &mut Wire) -> Result<Method, HandshakeError> {
    loop {
        match wire.frames.next(MIN_FRAME_MAX) {
            Ok(Some(frame)) if frame.channel == 0 && frame.payload.is_empty() => {}
            Ok(Some(frame)) => match Method::decode(frame.payload) {
                Ok(method) => return Ok(method),
                Err(error) => return refuse(wire, error.into()).await,
            },
            Ok(None) => wire.fill().await?,
            Err(error) => return refuse(wire, error.into()).await,
        }
    }
}

pub(super) fn unexpected(method: &Method) -> Exception {
    let mut exception = Exception::channel_error("unexpected method in connection state opening");
    exception.hard = true;
    exception.at(method.id())
}

/// Closes the connection with this exception and waits for the client's answer, for a while.
pub(super) async fn refuse<T>(wire: &mut Wire, exception: Exception) -> Result<T, HandshakeError> {
    let method = exception.method.unwrap_or(MethodId::NONE);
    let close = connection::Close {
        reply_code: exception.code.code(),
        reply_text: exception.text(),
        class_id: method.class,
        method_id: method.method,
    };
    wire.send(&close).await?;
    let answered = async {
        loop {
            match wire.frames.next(MIN_FRAME_MAX) {
                Ok(Some(frame)) => {
                    if let Ok(Method::ConnectionCloseOk(_)) = Method::decode(frame.payload) {
                        return;
                    }
                }
                Ok(None) => {
                    if wire.fill().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    // The connection is closed whether or not the client answers.
    let _answered = tokio::time::timeout(REFUSED_GRACE, answered).await;
    Err(HandshakeError::Refused(exception.to_string()))
}

/// The protocol of a client that begins with these bytes, for the log.
pub(super) fn protocol_of(bytes: &[u8]) -> String {
    const HTTP: [&[u8]; 7] = [
        b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PRI ",
    ];
    match bytes {
        [b'A', b'M', b'Q', b'P', id, major, minor, revision, ..] => {
            format!("AMQP {major}.{minor}.{revision} with protocol id {id}")
        }
        [b'A', b'M', ..] => "AMQP".to_owned(),
        [0x16, 3, ..] => "TLS".to_owned(),
        _ if HTTP.iter().any(|word| bytes.starts_with(word)) => "HTTP".to_owned(),
        _ => "an unknown protocol".to_owned(),
    }
}

fn start(listed: &[Mechanism], from: &ClientOrigin) -> connection::Start {
    let mut capabilities = TableBuilder::new();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        capabilities.put_bool(name, true);
    }
    let mut properties = TableBuilder::new();
    properties.put_table("capabilities", &capabilities.build());
    properties.put_str("cluster_name", "musterd");
    properties.put_str("copyright", "Copyright (c) the musterd authors");
    let information = concat!(
        "musterd ",
        env!("CARGO_PKG_VERSION"),
        ", Apache License 2.0"
    );
    properties.put_str("information", information);
    properties.put_str("platform", "Rust");
    // Clients look here for the dialect they are to speak.
    properties.put_str("product", "RabbitMQ");
    properties.put_str("version", DIALECT);
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties.build(),
        mechanisms: Mechanism::offered(listed, from.certified.is_some()).into(),
        locales: Bytes::from_static(b"en_US"),
    }
}

async fn tune(shared: &Shared, wire: &mut Wire) -> Result<(u16, u32, u16), HandshakeError> {
    let limits = &shared.config.limits;
    let ours = connection::Tune {
        channel_max: limits.channels_per_connection.get(),
        frame_max: limits.frame_max(),
        heartbeat: shared.access.load().heartbeat_s,
    };
    wire.send(&ours).await?;
    let theirs = match next_method(wire).await? {
        Method::ConnectionTuneOk(tune_ok) => tune_ok,
        other => return refuse(wire, unexpected(&other)).await,
    };
    let checks = [
        ("frame_max", theirs.frame_max, ours.frame_max, MIN_FRAME_MAX),
        (
            "channel_max",
            theirs.channel_max.into(),
            ours.channel_max.into(),
            1,
        ),
    ];
    for (name, theirs, ours, least) in checks {
        if let Err(text) = check_tuned(name, theirs, ours, least) {
            return refuse(
                wire,
                Exception::not_allowed(text).at(connection::TuneOk::ID),
            )
            .await;
        }
    }
    wire.peer.frame_max.store(theirs.frame_max, Relaxed);
    Ok((theirs.channel_max, theirs.frame_max, theirs.heartbeat))
}

/// The client's choice must be within the proposal; 0 means no limit, which is more.
fn check_tuned(name: &str, theirs: u32, ours: u32, least: u32) -> Result<(), String> {
    if theirs != 0 && theirs < least {
        return Err(format!(
            "negotiated {name} = {theirs} is lower than the minimum allowed value ({least})"
        ));
    }
    if theirs == 0 || theirs > ours {
        return Err(format!(
            "negotiated {name} = {theirs} is higher than the maximum allowed value ({ours})"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
