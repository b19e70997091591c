//! Datagrams: reads as many as have come, answers each.

use std::{
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::{net::UdpSocket, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    forward::{Forwarder, failure},
    metrics::Carrier,
    resolver::{DnsResolver, Handled},
    response::AnswerBuffer,
};

/// The largest query that is read.
const QUERY_BYTES_MAX: usize = 4096;
/// Datagrams that are handled before others have a turn.
const BATCH: usize = 64;

/// One of the sockets of an address.
#[derive(Debug)]
pub(super) struct DatagramServer {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) resolver: Arc<DnsResolver>,
    pub(super) forwarder: Option<Arc<Forwarder>>,
}

impl DatagramServer {
    /// Serves until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut message = vec![0; QUERY_BYTES_MAX];
        let mut buffer = AnswerBuffer::default();
        let mut forwards = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(_) = forwards.join_next() => (),
                ready = self.socket.readable() => if let Err(error) = ready {
                    tracing::error!(%error, "DNS over UDP ends: {error}");
                    return;
                },
            }
            self.take_batch(&mut message, &mut buffer, &mut forwards);
            tokio::task::yield_now().await;
        }
    }

    fn take_batch(
        &self,
        message: &mut [u8],
        buffer: &mut AnswerBuffer,
        forwards: &mut JoinSet<()>,
    ) {
        // All that are done: one batch may begin many.
        while forwards.try_join_next().is_some() {}
        for _ in 0..BATCH {
            match self.socket.try_recv_from(message) {
                Ok((length, peer)) => self.take(&message[..length], peer, buffer, forwards),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The error of an earlier answer, which its client did not take.
                Err(_) => (),
            }
        }
    }

    fn take(
        &self,
        message: &[u8],
        peer: SocketAddr,
        buffer: &mut AnswerBuffer,
        forwards: &mut JoinSet<()>,
    ) {
        match handle(&self.resolver, message, Carrier::Udp, buffer) {
            Handled::Ignored => (),
            Handled::Answered => send(&self.socket, &self.resolver, &buffer.out, peer),
            handled @ (Handled::Forward | Handled::Alias) => match &self.forwarder {
                Some(forwarder) if forwarder.has_room() => {
                    let forwarder = Arc::clone(forwarder);
                    let (socket, resolver) = (Arc::clone(&self.socket), Arc::clone(&self.resolver));
                    let (message, answer) = (message.to_vec(), buffer.out.clone());
                    forwards.spawn(async move {
                        let completed =
                            forwarder.complete(&resolver, &message, Carrier::Udp, handled, answer);
                        send(&socket, &resolver, &completed.await, peer);
                    });
                }
                // An alias alone is an answer too.
                _ if handled == Handled::Alias => {
                    send(&self.socket, &self.resolver, &buffer.out, peer);
                }
                _ => {
                    let failed = failure(&self.resolver, message, Carrier::Udp);
                    send(&self.socket, &self.resolver, &failed, peer);
                }
            },
        }
    }
}

fn send(socket: &UdpSocket, resolver: &DnsResolver, answer: &[u8], peer: SocketAddr) {
    // A client asks again, as for any datagram that is lost.
    if socket.try_send_to(answer, peer).is_err() {
        resolver.metrics.unsent.inc();
    }
}

/// Handles a message; a panic is an answer to this client alone.
pub(super) fn handle(
    resolver: &DnsResolver,
    message: &[u8],
    over: Carrier,
    buffer: &mut AnswerBuffer,
) -> Handled {
    let handled = catch_unwind(AssertUnwindSafe(|| resolver.handle(message, over, buffer)));
    handled.unwrap_or_else(|_| {
        tracing::error!("a DNS query made the server panic; it is answered with SERVFAIL");
        *buffer = AnswerBuffer::default();
        resolver.fail(message, over, buffer)
    })
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::{
        dns::{
            metrics::DnsMetrics,
            query::FLAG_ANSWER,
            testing::{Fixture, query},
        },
        telemetry::Metrics,
    };

    const BURST: usize = 16;

    async fn socket() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// Gives each question back as its answer.
    async fn recurse(socket: UdpSocket) {
        let mut message = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut message).await.unwrap();
            message[2] |= FLAG_ANSWER.to_be_bytes()[0];
            socket.send_to(&message[..length], peer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn forwarded_queries_that_are_done_take_no_memory() {
        let (recursor, recursor_address) = socket().await;
        let mut others = JoinSet::new();
        others.spawn(recurse(recursor));
        let fixture = Fixture::new(|config| config.recursors = vec![recursor_address]);
        let patience = Duration::from_secs(10);
        let metrics = DnsMetrics::new(&Metrics::default());
        let forwarder = Forwarder::new(vec![recursor_address], patience, 512, metrics);
        let (own, own_address) = socket().await;
        let server = DatagramServer {
            socket: Arc::new(own),
            resolver: Arc::new(fixture.resolver),
            forwarder: Some(Arc::new(forwarder)),
        };
        let (client, _) = socket().await;
        client.connect(own_address).await.unwrap();
        let mut question = query("example.com.", RecordType::A);
        question.metadata.recursion_desired = true;
        let question = question.to_vec().unwrap();
        let mut forwards = JoinSet::new();
        let (mut message, mut buffer) = (vec![0; QUERY_BYTES_MAX], AnswerBuffer::default());
        for _ in 0..8 {
            for _ in 0..BURST {
                client.send(&question).await.unwrap();
            }
            let mut answered = 0;
            while answered < BURST {
                let mut answer = [0; 512];
                tokio::select! {
                    given = client.recv(&mut answer) => {
                        given.unwrap();
                        answered += 1;
                    }
                    ready = server.socket.readable() => {
                        ready.unwrap();
                        server.take_batch(&mut message, &mut buffer, &mut forwards);
                    }
                }
            }
        }
        assert!(forwards.len() <= 2 * BURST, "{}", forwards.len());
    }
}
