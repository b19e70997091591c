//! HTTP on a real socket, and a client that reads streams, for tests.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    http::{
        Config,
        state::{self, AppState, HttpApp},
        testing::Api,
    },
    registry::{self, Registry},
};

/// The longest that anything on a real socket is waited for.
pub(in crate::http) const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs.
#[derive(Debug)]
pub(in crate::http) struct Live {
    pub(in crate::http) address: SocketAddr,
    pub(in crate::http) shared: AppState,
    stop: CancellationToken,
    served: JoinSet<()>,
}

impl Live {
    pub(in crate::http) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(in crate::http) async fn with(edit: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        edit(&mut config);
        Self::serve(Api::with(config).shared).await
    }

    pub(in crate::http) async fn with_registry(config: registry::Config) -> Self {
        Self::serve(Api::with_registry(Config::default(), config).shared).await
    }

    pub(in crate::http) async fn serve(shared: AppState) -> Self {
        let config = Config {
            listen: "127.0.0.1:0".to_owned(),
            ..shared.config.clone()
        };
        let bound = state::bind(&config).await.unwrap();
        let (address, stop) = (bound.local_addr(), CancellationToken::new());
        let app = HttpApp {
            state: shared.clone(),
        };
        let mut served = JoinSet::new();
        served.spawn(app.clone().follow_routes(stop.clone()));
        served.spawn(app.clone().limit_held(stop.clone()));
        served.spawn(app.serve(vec![bound], stop.clone()));
        Self {
            address,
            shared,
            stop,
            served,
        }
    }

    pub(in crate::http) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    pub(in crate::http) async fn get(&self, path: &str) -> LiveClient {
        LiveClient::send(self.address, path, "").await
    }

    /// How many watch now, by the metric's own word for their kind.
    pub(in crate::http) fn watchers(&self, kind: &str) -> String {
        let text = self.shared.metrics.render();
        let line = format!("musterd_watchers{{kind=\"{kind}\"}} ");
        let mut values = text.lines().filter_map(|known| known.strip_prefix(&line));
        // A kind is counted from its first watcher on.
        values.next().unwrap_or("0").to_owned()
    }

    /// Waits until so many watch.
    pub(in crate::http) async fn until_watchers(&self, kind: &str, count: &str) {
        let reached = async {
            while self.watchers(kind) != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(PATIENCE, reached).await;
        assert!(
            waited.is_ok(),
            "{} {kind}, not {count}",
            self.watchers(kind)
        );
    }

    /// Stops the server and waits until everything in it has ended.
    pub(in crate::http) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = timeout(PATIENCE, self.served.join_next()).await.unwrap() {
            ended.unwrap();
        }
    }
}

/// One message of a stream.
#[derive(Clone, Debug)]
pub(in crate::http) struct LiveMessage {
    pub(in crate::http) event: String,
    pub(in crate::http) id: Option<String>,
    pub(in crate::http) data: Value,
}

/// A connection on which one request was sent.
#[derive(Debug)]
pub(in crate::http) struct LiveClient {
    stream: TcpStream,
    /// What came behind the head.
    raw: Vec<u8>,
    text: String,
    chunked: bool,
    pub(in crate::http) head: String,
}

impl LiveClient {
    pub(in crate::http) async fn send(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self {
            stream,
            raw: Vec::new(),
            text: String::new(),
            chunked: false,
            head: String::new(),
        }
    }

    /// Sends more on the same connection.
    pub(in crate::http) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Shuts this side of the connection, and still reads.
    pub(in crate::http) async fn says_no_more(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(in crate::http) async fn read_head(&mut self) -> &str {
        let end = loop {
            let found = self.raw.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = found {
                break end;
            }
            assert!(self.read().await, "the connection ended before its head");
        };
        let body = self.raw.split_off(end + 4);
        let head = std::mem::replace(&mut self.raw, body);
        self.head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        self.chunked = self.head.contains("transfer-encoding: chunked");
        &self.head
    }

    /// False when the other side has ended the connection.
    async fn read(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await;
        let n = read.expect("something comes in time").unwrap();
        self.raw.extend_from_slice(&buffer[..n]);
        n > 0
    }

    /// More of the body; false at its proper end.
    async fn read_chunk(&mut self) -> bool {
        loop {
            if let Some(line) = self.raw.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.raw[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                let (from, to) = (line + 2, line + 2 + size);
                if self.raw.len() >= to + 2 {
                    self.text += std::str::from_utf8(&self.raw[from..to]).unwrap();
                    self.raw.drain(..to + 2);
                    return size > 0;
                }
            }
            assert!(self.read().await, "the connection was cut");
        }
    }

    /// The next message or comment of the stream; none at its proper end.
    pub(in crate::http) async fn block(&mut self) -> Option<String> {
        if self.head.is_empty() {
            self.read_head().await;
            assert!(self.head.starts_with("http/1.1 200"), "{}", self.head);
            assert!(self.head.contains("content-type: text/event-stream"));
        }
        let mut searched = 0;
        loop {
            if let Some(end) = self.text[searched..].find("\n\n") {
                let rest = self.text.split_off(searched + end + 2);
                let mut block = std::mem::replace(&mut self.text, rest);
                block.truncate(searched + end);
                return Some(block);
            }
            // The two may come apart.
            searched = self.text.len().saturating_sub(1);
            while !self.text.is_char_boundary(searched) {
                searched -= 1;
            }
            if !self.read_chunk().await {
                assert_eq!(self.text, "", "a stream ends behind a message");
                return None;
            }
        }
    }

    /// The next message of the stream, comments and bare ids passed over; none at its proper end.
    pub(in crate::http) async fn next(&mut self) -> Option<LiveMessage> {
        loop {
            let block = self.block().await?;
            if !block.contains("data: ") {
                continue;
            }
            let find = |name: &str| {
                let prefix = format!("{name}: ");
                let mut lines = block.lines().filter_map(|line| line.strip_prefix(&prefix));
                lines.next().map(str::to_owned)
            };
            return Some(LiveMessage {
                event: find("event").unwrap(),
                id: find("id"),
                data: serde_json::from_str(&find("data").unwrap()).unwrap(),
            });
        }
    }

    /// The next message, which must be of this kind.
    pub(in crate::http) async fn expect(&mut self, event: &str) -> LiveMessage {
        let message = self.next().await.expect("another message");
        assert_eq!(message.event, event, "{message:?}");
        message
    }

    /// The next message of a gateway, with so many endpoints of the first route.
    pub(in crate::http) async fn expect_snapshot_with(&mut self, endpoints: usize) {
        let data = self.expect("snapshot").await.data;
        let list = data["routes"][0]["endpoints"].as_array().unwrap();
        assert_eq!(list.len(), endpoints, "{data}");
    }

    /// The whole body of an answer that is JSON.
    pub(in crate::http) async fn json(&mut self) -> Value {
        self.read_head().await;
        if self.chunked {
            while self.read_chunk().await {}
            return serde_json::from_str(&self.text).unwrap();
        }
        let length: usize = self.header("content-length").parse().unwrap();
        while self.raw.len() < length {
            assert!(self.read().await, "the connection was cut");
        }
        serde_json::from_slice(&self.raw[..length]).unwrap()
    }

    /// The same connection, to read what comes behind an answer of known length.
    pub(in crate::http) fn next_answer(mut self) -> Self {
        let length: usize = self.header("content-length").parse().unwrap();
        self.raw.drain(..length);
        self.head.clear();
        self
    }

    pub(in crate::http) fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let mut values = self
            .head
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix));
        values.next().unwrap_or("")
    }

    /// True when nothing comes for a while.
    pub(in crate::http) async fn is_silent(&self) -> bool {
        let mut byte = [0];
        let read = timeout(Duration::from_millis(150), self.stream.peek(&mut byte));
        self.raw.is_empty() && read.await.is_err()
    }
}
