//! A client comes in: TLS if it has to be, the handshake, then its connection.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    connection::Connection,
    door::Encryption,
    handshake::{Client, shake},
    link,
    registry::Place,
    wire::{Ended, Wire},
};
use crate::broker::{config::bytes, peer::Peer, tls, wire::FrameReader};

/// A client that has just come in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) encryption: Option<Encryption>,
    pub(super) place: Place,
}

/// Serves one client until it or we have enough.
pub(super) async fn run(shared: Arc<Shared>, arrival: Arrival, stop: CancellationToken) {
    let Arrival {
        socket,
        address,
        encryption,
        place,
    } = arrival;
    // Without it small answers wait for the client's acknowledgements; with it they just go.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!("no TCP_NODELAY for {address}: {error}");
    }
    let handshake = tokio::time::timeout(
        shared.config.limits.handshake.get(),
        arrive(&shared, socket, address, encryption),
    );
    let arrived = tokio::select! {
        () = stop.cancelled() => return,
        arrived = handshake => arrived.unwrap_or(Err(Ended::Slow)),
    };
    match arrived {
        Ok(connection) => connection.serve(stop).await,
        Err(ended) => log_refused(&shared, address, &ended),
    }
    drop(place);
}

/// TLS if it has to be, then the AMQP handshake.
async fn arrive(
    shared: &Arc<Shared>,
    socket: TcpStream,
    address: SocketAddr,
    encryption: Option<Encryption>,
) -> Result<Box<Connection>, Ended> {
    let id = shared.next_connection();
    let room = bytes(shared.config.limits.outbox_per_connection.get());
    let (peer, reader, writer, certified) = match encryption {
        None => {
            let socket = Arc::new(socket);
            let (reader, writer) = link::plain(&socket);
            (Peer::on_socket(id, room, socket), reader, writer, None)
        }
        Some(encryption) => {
            let stream = encryption
                .acceptor
                .accept(socket)
                .await
                .map_err(Ended::Socket)?;
            let chain = stream.get_ref().1.peer_certificates();
            let certified = tls::user_of(chain, encryption.user_from);
            let (reader, writer) = link::tls(stream);
            (Peer::detached(id, room), reader, writer, certified)
        }
    };
    let mut wire = Wire {
        peer: Arc::new(peer),
        frames: FrameReader::default(),
        reader,
        writer,
    };
    let client = Client { address, certified };
    let agreed = match shake(shared, &mut wire, &client).await {
        Ok(agreed) => agreed,
        Err(ended) => {
            if !matches!(ended, Ended::Socket(_)) {
                wire.leave().await;
            }
            return Err(ended);
        }
    };
    Ok(Box::new(Connection::new(
        Arc::clone(shared),
        wire,
        agreed,
        address,
    )))
}

fn log_refused(shared: &Shared, address: SocketAddr, ended: &Ended) {
    let refusals = &shared.refusals;
    match ended {
        Ended::Socket(error) => tracing::debug!("{address} left before it had logged in: {error}"),
        Ended::Protocol => refusals.warn(format_args!("{address} does not speak AMQP 0-9-1")),
        Ended::Refused(why) => refusals.warn(format_args!("refused {address}: {why}")),
        Ended::Slow => refusals.warn(format_args!("{address} took too long to log in")),
    }
}
