//! Asks other servers for names outside of the own domains. The client's message goes there as it came, but for its
//! id, and the answer comes back the same way.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use super::{
    metrics::{Carrier, DnsMetrics},
    query::{FLAG_ANSWER, HEADER_BYTES, number},
    resolver::{DnsResolver, Handled},
    response::{AnswerBuffer, STREAM_BYTES_MAX},
};

/// The servers to ask, in order.
#[derive(Debug)]
pub(super) struct Forwarder {
    recursors: Vec<SocketAddr>,
    patience: Duration,
    places: Semaphore,
    metrics: DnsMetrics,
}

impl Forwarder {
    pub(super) fn new(
        recursors: Vec<SocketAddr>,
        patience: Duration,
        places: usize,
        metrics: DnsMetrics,
    ) -> Self {
        Self {
            recursors,
            patience,
            places: Semaphore::new(places),
            metrics,
        }
    }

    /// Whether another query may wait.
    pub(super) fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    /// The answer to a message that the resolver did not answer alone. `answer` is what it has written.
    pub(super) async fn complete(
        &self,
        resolver: &DnsResolver,
        message: &[u8],
        over: Carrier,
        handled: Handled,
        mut answer: Vec<u8>,
    ) -> Vec<u8> {
        if handled != Handled::Alias {
            let found = self.ask(message, over).await;
            return found.unwrap_or_else(|| failure(resolver, message, over));
        }
        if let Some(question) = DnsResolver::alias_question(message, &answer)
            && let Some(found) = self.ask(&question, over).await
        {
            resolver.add_found(message, over, &found, &mut answer);
        }
        answer
    }

    /// The answer of the first server that has one.
    pub(super) async fn ask(&self, message: &[u8], over: Carrier) -> Option<Vec<u8>> {
        let _place = self.places.try_acquire().ok()?;
        self.metrics.forwarded.inc();
        let id = message.get(..2)?;
        let mut question = message.to_vec();
        for server in &self.recursors {
            question[..2].copy_from_slice(&fastrand::u16(..).to_be_bytes());
            let asked = async {
                match over {
                    Carrier::Udp => datagram(&question, *server).await,
                    Carrier::Tcp => stream(&question, *server).await,
                }
            };
            match timeout(self.patience, asked).await {
                Ok(Ok(mut answer)) => {
                    answer[..2].copy_from_slice(id);
                    return Some(answer);
                }
                Ok(Err(error)) => {
                    tracing::warn!("{server} of dns.recursors cannot be asked: {error}");
                }
                Err(_) => tracing::warn!(
                    "{server} of dns.recursors did not answer within dns.recursor_timeout"
                ),
            }
        }
        None
    }
}

/// The answer when no recursor could be asked.
pub(super) fn failure(resolver: &DnsResolver, message: &[u8], over: Carrier) -> Vec<u8> {
    let mut buffer = AnswerBuffer::default();
    resolver.fail(message, over, &mut buffer);
    buffer.out
}

async fn datagram(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A new port for each question: who guesses the id does not know it.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; STREAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answers(&answer[..length], question) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn stream(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    let message = [&length.to_be_bytes(), question].concat();
    stream.write_all(&message).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    match answers(&answer, question) {
        true => Ok(answer),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whether a message is the answer to a question: with its id, and its name if it has one.
fn answers(message: &[u8], question: &[u8]) -> bool {
    let is_answer = number(message, 2).is_some_and(|flags| flags & FLAG_ANSWER != 0);
    if !is_answer || message.get(..2) != question.get(..2) {
        return false;
    }
    if number(message, 4) == Some(0) {
        return message.len() >= HEADER_BYTES;
    }
    let name = |bytes: &[u8]| {
        let (name, length) = super::name::DnsName::read(bytes.get(HEADER_BYTES..)?).ok()?;
        Some((name, number(bytes, HEADER_BYTES + length)?))
    };
    name(message).is_some() && name(message) == name(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expected: bool) {
        let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www\0\0\x01\0\x01";
        assert_eq!(answers(message, question), expected, "{message:?}");
    }

    #[test]
    fn only_the_answer_to_a_question_counts() {
        check(b"\0\x07\x81\0\0\x01\0\0\0\0\0\0\x03WWW\0\0\x01\0\x01", true);
        check(b"\0\x07\x81\x05\0\0\0\0\0\0\0\0", true);
        check(
            b"\0\x08\x81\0\0\x01\0\0\0\0\0\0\x03www\0\0\x01\0\x01",
            false,
        );
        check(
            b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www\0\0\x01\0\x01",
            false,
        );
        check(
            b"\0\x07\x81\0\0\x01\0\0\0\0\0\0\x03wwx\0\0\x01\0\x01",
            false,
        );
        check(
            b"\0\x07\x81\0\0\x01\0\0\0\0\0\0\x03www\0\0\x1c\0\x01",
            false,
        );
        check(b"\0\x07\x81\0\0\x01\0\0\0\0\0\0\xc0", false);
        check(b"\0\x07\x81", false);
        check(b"", false);
    }
}
