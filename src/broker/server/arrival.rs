//! A client connects: TLS where it must be, the handshake, then its connection. A panic in the task of one
//! client is reported and ends that client only.

use std::{any::Any, io, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    connection::Connection,
    handshake::{ClientOrigin, handshake, protocol_of},
    link,
    listener::Encryption,
    log_limiter::cut,
    wire::{HandshakeError, Wire},
};
use crate::broker::{
    config::bytes, outbox::Outbox, peer::Peer, queue::ConnectionId, tls, wire::FrameReader,
};

/// What the first byte of a TLS connection is: the type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client that has just connected.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) id: ConnectionId,
    pub(super) socket: TcpStream,
    pub(super) address: SocketAddr,
    /// Whether it has to speak TLS.
    pub(super) tls: bool,
}

/// Serves one client until either side closes.
pub(super) async fn run(shared: Arc<Shared>, arrival: Arrival, stop: CancellationToken) {
    let (id, address) = (arrival.id, arrival.address);
    let served = AssertUnwindSafe(serve(shared, arrival, stop)).catch_unwind();
    if let Err(panic) = served.await {
        report_panic(
            id,
            &*panic,
            &format!("the task of a client at {address} panicked"),
        );
    }
}

/// Reports a panic in the task of one client.
pub(super) fn report_panic(id: ConnectionId, panic: &(dyn Any + Send), what: &str) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = cut(text.unwrap_or("no message"));
    tracing::error!(connection.id = id, "{what}: {text}");
}

async fn serve(shared: Arc<Shared>, arrival: Arrival, stop: CancellationToken) {
    let address = arrival.address;
    // Without this option small answers wait for the client's TCP acknowledgements.
    if let Err(error) = arrival.socket.set_nodelay(true) {
        tracing::debug!("no TCP_NODELAY for {address}: {error}");
    }
    let waiting = shared.connections.arrive(arrival.id, address.ip());
    let greeting = tokio::time::timeout(
        shared.config.limits.handshake.get(),
        greet(&shared, arrival),
    );
    let greeted = tokio::select! {
        () = stop.cancelled() => return,
        () = waiting.evicted.cancelled() => Err(HandshakeError::Evicted),
        greeted = greeting => greeted.unwrap_or(Err(HandshakeError::Slow)),
    };
    drop(waiting);
    match greeted {
        Ok(connection) => connection.serve(stop).await,
        Err(error) => log_refused(&shared, address, &error),
    }
}

/// TLS where it must be, then the AMQP handshake.
async fn greet(shared: &Arc<Shared>, arrival: Arrival) -> Result<Box<Connection>, HandshakeError> {
    let Arrival {
        id,
        socket,
        address,
        tls,
    } = arrival;
    let room = bytes(shared.config.limits.outbox_per_connection.get());
    let outbox = Outbox::counted(room, shared.memory.charge(0));
    let encryption = shared.access.load().encryption.clone().filter(|_| tls);
    let (peer, reader, writer, certified) = match encryption {
        None => {
            let socket = Arc::new(socket);
            let (reader, writer) = link::plain(&socket);
            (Peer::on_socket(id, outbox, socket), reader, writer, None)
        }
        Some(encryption) => {
            let stream = encrypt(socket, &encryption).await?;
            let chain = stream.get_ref().1.peer_certificates();
            let certified = tls::user_of(chain, encryption.user_from);
            let (reader, writer) = link::tls(stream);
            (Peer::with_outbox(id, outbox), reader, writer, certified)
        }
    };
    let mut wire = Wire {
        peer: Arc::new(peer),
        frames: FrameReader::default(),
        reader,
        writer,
    };
    let client = ClientOrigin { address, certified };
    let negotiated = match handshake(shared, &mut wire, &client).await {
        Ok(negotiated) => negotiated,
        Err(error) => {
            if !matches!(error, HandshakeError::Socket(_)) {
                wire.leave(shared.config.limits.shutdown.get() / 4).await;
            }
            return Err(error);
        }
    };
    Ok(Box::new(Connection::new(
        Arc::clone(shared),
        wire,
        negotiated,
        address,
    )))
}

async fn encrypt(
    socket: TcpStream,
    encryption: &Encryption,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let mut first = [0; 8];
    let count = socket
        .peek(&mut first)
        .await
        .map_err(HandshakeError::Socket)?;
    let first = &first[..count];
    if first.first().is_some_and(|byte| *byte != TLS_HANDSHAKE) {
        let sent = protocol_of(first);
        let sent = format!("{sent} without TLS: broker.tls.listen speaks TLS only");
        return Err(HandshakeError::Protocol(sent));
    }
    let accepted = encryption.acceptor.accept(socket).await;
    accepted.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => HandshakeError::Tls(error),
        _ => HandshakeError::Socket(error),
    })
}

fn log_refused(shared: &Shared, address: SocketAddr, error: &HandshakeError) {
    let refused = &shared.log.refused;
    match error {
        HandshakeError::Socket(error) => {
            tracing::debug!("{address} disconnected before it had logged in: {error}");
        }
        HandshakeError::Protocol(sent) => {
            refused.warn(format_args!("refused {address}: it speaks {sent}"));
        }
        HandshakeError::Tls(error) => {
            refused.warn(format_args!(
                "refused {address}: TLS handshake failed: {error}"
            ));
        }
        HandshakeError::Refused(why) => refused.warn(format_args!("refused {address}: {why}")),
        HandshakeError::Slow => {
            let limit = shared.config.limits.handshake.get();
            refused.warn(format_args!(
                "refused {address}: not logged in within {limit:?} (broker.limits.handshake)"
            ));
        }
        HandshakeError::Evicted => {
            let limit = shared.connections.waiting_limit();
            refused.warn(format_args!(
                "refused {address}: the oldest of more than {limit} clients that have not logged in \
                 (broker.limits.unauthenticated)"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
