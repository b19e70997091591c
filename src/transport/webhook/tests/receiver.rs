//! A webhook's receiver that misbehaves as a test asks.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

/// What to do with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    Answer(u16),
    Hang,
    Reset,
    Garbage,
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
    /// What was done with it.
    pub(super) manner: Manner,
}

impl Request {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub(super) struct Receiver {
    pub(super) at: SocketAddr,
    pub(super) requests: mpsc::Receiver<Request>,
    manner: Arc<Mutex<Manner>>,
    tx: mpsc::Sender<Request>,
    tasks: JoinSet<()>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tx, requests) = mpsc::channel(10_000);
        let mut receiver = Self {
            at: listener.local_addr().unwrap(),
            requests,
            manner: Arc::new(Mutex::new(Manner::Answer(204))),
            tx,
            tasks: JoinSet::new(),
        };
        receiver.listen(listener);
        receiver
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?key=1", self.at)
    }

    pub(super) fn behave(&self, manner: Manner) {
        *self.manner.lock() = manner;
    }

    /// Closes every socket: the port refuses connections.
    pub(super) async fn die(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Listens at the same port again.
    pub(super) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.at).await.unwrap();
        self.listen(listener);
    }

    fn listen(&mut self, listener: TcpListener) {
        let (manner, tx) = (Arc::clone(&self.manner), self.tx.clone());
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&manner), tx.clone()));
            }
        });
    }
}

/// Answers requests until the peer closes or the receiver's manner ends the connection.
async fn serve(stream: TcpStream, manner: Arc<Mutex<Manner>>, tx: mpsc::Sender<Request>) {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = read(&mut stream).await {
        let manner = *manner.lock();
        request.manner = manner;
        // A full channel means that the test has stopped to look.
        let _ = tx.try_send(request);
        match manner {
            Manner::Answer(status) => {
                let body = if status == 204 {
                    ""
                } else {
                    "content-length: 2\r\n\r\nok"
                };
                let end = if status == 204 { "\r\n" } else { "" };
                let answer = format!("HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\n{body}{end}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Manner::Hang => std::future::pending().await,
            Manner::Reset => {
                let socket = socket2::SockRef::from(stream.get_ref());
                socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
                return;
            }
            Manner::Garbage => {
                let _ = stream.write_all(b"SSH-2.0-not-a-web-server\r\n\r\n").await;
                return;
            }
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let read = stream.read_line(&mut line).await.ok()?;
        match line.trim_end() {
            "" if read == 0 => return None,
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let head = lines.remove(0);
    let headers: HashMap<_, _> = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        head,
        headers,
        body,
        manner: Manner::Hang,
    })
}
