//! From a host to a connection: resolve, check every address, connect to one that passed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    error::{OutboundError, RequestStep},
    networks::Networks,
    resolve::Resolver,
};

/// The most addresses of one name to try.
const ADDRESSES_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) networks: Networks,
    pub(super) resolver: Resolver,
}

impl Dialer {
    /// The allowed addresses of `host`; at least one.
    pub(super) async fn addresses(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, OutboundError> {
        let found = self.resolver.resolve(host, deadline).await?;
        let mut passed = Vec::with_capacity(found.len().min(ADDRESSES_MAX));
        let mut denied = None;
        for address in found.iter() {
            match self.networks.check(*address) {
                Ok(target) if passed.len() < ADDRESSES_MAX => {
                    passed.push(SocketAddr::new(target, port));
                }
                Ok(_) => (),
                Err(reason) => denied = Some(reason),
            }
        }
        match denied {
            Some(denied) if passed.is_empty() => Err(OutboundError::Denied {
                host: host.into(),
                denied,
            }),
            _ => Ok(passed),
        }
    }

    /// Connects to the first address that answers; each gets its share of the time.
    pub(super) async fn connect(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(SocketAddr, TcpStream), OutboundError> {
        let mut last = OutboundError::Deadline(RequestStep::Connecting);
        for (i, at) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - i).unwrap_or(1);
            last = match timeout_at(Instant::now() + share, connect_to(*at)).await {
                Ok(Ok(stream)) => return Ok((*at, stream)),
                Ok(Err(source)) => OutboundError::Connect { at: *at, source },
                Err(_) => OutboundError::Deadline(RequestStep::Connecting),
            };
        }
        Err(last)
    }
}

async fn connect_to(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(at).await?;
    if is_itself(stream.local_addr()?, at) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// True when the system chose the target port as the local port: the connection is to itself, and nothing
/// listens there (simultaneous open, RFC 9293, section 3.5).
fn is_itself(local: SocketAddr, peer: SocketAddr) -> bool {
    let same = |one: IpAddr, other: IpAddr| one.to_canonical() == other.to_canonical();
    local.port() == peer.port() && same(local.ip(), peer.ip())
}
