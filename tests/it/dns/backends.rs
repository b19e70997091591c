//! Servers of one service, which answer with their names; they come and go.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::DnsDaemon;

/// The servers that run, by name.
#[derive(Default)]
pub(super) struct Backends {
    tasks: Mutex<HashMap<String, JoinSet<()>>>,
}

impl Backends {
    /// Starts a server and registers it.
    pub(super) async fn start(&self, daemon: &DnsDaemon, name: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, name.to_owned()));
        self.tasks.lock().insert(name.to_owned(), tasks);
        daemon.register(name, "web", "127.0.0.1", port).await;
    }

    /// Takes a server out of service; it still answers.
    pub(super) async fn drain(&self, daemon: &DnsDaemon, name: &str) {
        let body = json!({"status": "stopping"});
        let path = format!("/services/{name}/override");
        daemon.send("PUT", &path, &body).await;
    }

    /// Stops a server for good.
    pub(super) async fn stop(&self, daemon: &DnsDaemon, name: &str) {
        let path = format!("/services/{name}");
        daemon.send("DELETE", &path, &serde_json::Value::Null).await;
        drop(self.tasks.lock().remove(name));
    }
}

async fn serve(listener: TcpListener, name: String) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(respond(stream, name.clone()));
    }
}

/// Answers each request with the name, then closes: proxies can't keep a connection to a server that leaves.
async fn respond(mut stream: TcpStream, name: String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let length = name.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Requests through a proxy, one after the other, and who answered them.
pub(super) struct Load {
    /// Which servers have answered since the last look, with counts.
    seen: Arc<Mutex<HashMap<String, usize>>>,
    failures: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Load {
    pub(super) fn start(proxy: SocketAddr) -> Self {
        let (seen, failures) = (
            Arc::<Mutex<HashMap<_, _>>>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let sent = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        let (found, failed, count) = (Arc::clone(&seen), Arc::clone(&failures), Arc::clone(&sent));
        task.spawn(async move {
            let client = reqwest::Client::new();
            loop {
                let answer = client.get(format!("http://{proxy}/")).send().await;
                count.fetch_add(1, Ordering::Relaxed);
                match answer {
                    Ok(answer) if answer.status() == 200 => {
                        let name = answer.text().await.unwrap_or_default();
                        *found.lock().entry(name).or_insert(0_usize) += 1;
                    }
                    Ok(answer) => failed.lock().push(answer.status().to_string()),
                    Err(error) => failed.lock().push(error.to_string()),
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        });
        Self {
            seen,
            failures,
            sent,
            _task: task,
        }
    }

    /// The servers that have answered since the last call.
    pub(super) fn seen(&self) -> Vec<String> {
        let mut names: Vec<_> = std::mem::take(&mut *self.seen.lock()).into_keys().collect();
        names.sort();
        names
    }

    /// Requests that failed since the last call.
    pub(super) fn failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.failures.lock())
    }

    /// All requests.
    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}
