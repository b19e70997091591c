//! Probes below HTTP: a datagram that must not be refused, and a ping of HTTP/2 (RFC 9113, section 6.7).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::{Instant, timeout, timeout_at},
};

use super::{
    client::Client,
    error::{OutboundError, RequestStep},
    stream::Stream,
    target::HostPort,
    tls::Protocol,
};

/// What a client of HTTP/2 sends first, with empty settings, and a ping.
const PING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x08\x06\x00\x00\x00\x00\x00musterd!";
/// The answer to the settings of the peer.
const SETTINGS_ACK: &[u8] = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00";
const HEAD_BYTES: usize = 9;
const SETTINGS: u8 = 4;
const PING_TYPE: u8 = 6;
const GO_AWAY: u8 = 7;
const ACK: u8 = 1;
/// The largest frame without another setting, and the most frames before the answer.
const FRAME_BYTES_MAX: usize = 16 * 1024;
const FRAMES_MAX: usize = 64;
/// How long a refusal of a datagram is waited for, at most.
const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(1);

/// Where to send a ping of HTTP/2.
#[derive(Clone, Debug)]
pub struct PingTarget {
    /// Name or address, without brackets.
    pub host: Box<str>,
    /// 1-65535.
    pub port: u16,
    /// Over TLS.
    pub tls: bool,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
}

impl Client {
    /// Sends a datagram and waits a little for its refusal or an answer. UDP confirms nothing: silence is a success.
    ///
    /// # Errors
    /// It is refused, or cannot be sent.
    pub async fn send_datagram(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(), OutboundError> {
        let addresses = self.dialer().addresses(host, port, deadline).await?;
        let Some(at) = addresses.first().copied() else {
            return Err(OutboundError::Deadline(RequestStep::Connecting));
        };
        let failed = |source: io::Error| OutboundError::Connect { at, source };
        let own: SocketAddr = match at {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own).await.map_err(failed)?;
        socket.connect(at).await.map_err(failed)?;
        socket.send(b"musterd").await.map_err(failed)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut answer = [0; 1];
        match timeout((left / 2).min(REFUSAL_WAIT_MAX), socket.recv(&mut answer)).await {
            Ok(Err(source)) => Err(failed(source)),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// Opens a connection of HTTP/2 and waits for the answer to a ping.
    ///
    /// # Errors
    /// There is no connection, or no answer.
    pub async fn ping_http2(
        &self,
        target: &PingTarget,
        deadline: Instant,
    ) -> Result<(), OutboundError> {
        let at = HostPort {
            host: target.host.clone(),
            port: target.port,
            tls: target.tls,
        };
        let stream = self
            .fresh(&at, target.tls_skip_verify, Protocol::Http2, deadline)
            .await?;
        timeout_at(deadline, ping(stream))
            .await
            .map_err(|_| OutboundError::Deadline(RequestStep::Answer))?
    }
}

async fn ping(mut stream: Stream) -> Result<(), OutboundError> {
    let broken = |error: io::Error| OutboundError::Broken(error.to_string().into());
    stream.write_all(PING).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut payload = Vec::new();
    for _ in 0..FRAMES_MAX {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head).await.map_err(broken)?;
        let [a, b, c, kind, flags, ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if length > FRAME_BYTES_MAX {
            return Err(OutboundError::Garbage("it is not HTTP/2".into()));
        }
        payload.resize(length, 0);
        stream.read_exact(&mut payload).await.map_err(broken)?;
        match (kind, flags & ACK != 0) {
            (PING_TYPE, true) if payload == b"musterd!" => return Ok(()),
            (SETTINGS, false) => {
                stream.write_all(SETTINGS_ACK).await.map_err(broken)?;
                stream.flush().await.map_err(broken)?;
            }
            (GO_AWAY, _) => return Err(OutboundError::Broken("the server goes away".into())),
            _ => (),
        }
    }
    Err(OutboundError::Garbage("no answer to the ping".into()))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use http_body_util::Full;
    use hyper::{Response, server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::{
        net::{TcpListener, UdpSocket},
        time::Instant,
    };

    use super::{Client, PingTarget};
    use crate::{outbound::Config, telemetry::Metrics};

    fn client() -> Client {
        Client::new(&Config::default(), &Metrics::default()).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_datagram_is_refused_only_where_nothing_listens() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let client = client();
        let sent = client.send_datagram("127.0.0.1", port, Instant::now() + Duration::from_secs(1));
        sent.await.unwrap();
        drop(socket);
        let refused = client.send_datagram("127.0.0.1", port, soon()).await;
        assert!(refused.unwrap_err().to_string().contains("refused"));
    }

    #[tokio::test]
    async fn a_server_of_http_2_answers_a_ping_and_another_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = PingTarget {
            host: "127.0.0.1".into(),
            port,
            tls: false,
            tls_skip_verify: false,
        };
        let answer =
            |_| async { Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::new()))) };
        let client = client();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let served = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            let _ = served.await;
            // The next one speaks something else.
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            drop(stream);
        };
        let ask = async {
            client.ping_http2(&target, soon()).await.unwrap();
            assert!(client.ping_http2(&target, soon()).await.is_err());
        };
        futures_util::join!(serve, ask);
        drop(listener);
        assert!(client.ping_http2(&target, soon()).await.is_err());
    }
}
