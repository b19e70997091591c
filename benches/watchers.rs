//! How soon watchers get an event, and what an idle one costs: server-sent events over real sockets, the
//! server in a separate process.
//!
//! `cargo bench --bench watchers [-- --watchers 10000 --rounds 20]`

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use tokio::{io::AsyncReadExt, runtime, task::JoinSet, time::Instant};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok())
            .unwrap_or(default)
    };
    let (watchers, rounds) = (number("--watchers", 10_000), number("--rounds", 20));
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("a limit of open files");
    assert!(
        usize::try_from(files).is_ok_and(|files| files > watchers + 100),
        "only {files} files may be open: raise the hard limit (ulimit -Hn)"
    );
    let server = Server::start();
    register(server.address, 1);
    let before = server.resident_kb();

    let (arrivals, receipts) = sync_channel(watchers);
    let (ready, is_ready) = sync_channel(watchers);
    let address = server.address;
    let client = std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(watch(address, watchers, ready, arrivals));
    });
    for _ in 0..watchers {
        is_ready.recv().expect("every watcher gets its snapshot");
    }
    std::thread::sleep(Duration::from_secs(2));
    let each = (server.resident_kb() - before) as f64 / watchers as f64;
    println!("{watchers} idle watchers: {each:.1} KB resident each, {before} KB before");

    let mut all = Vec::new();
    for round in 0..rounds {
        let port = u16::try_from(round % 60_000).expect("a port") + 2;
        all.extend(change(&server, port, watchers, &receipts));
        // Apart, as changes of one service are.
        std::thread::sleep(Duration::from_millis(200));
    }
    all.sort_unstable();
    println!(
        "received after register's answer, {rounds} changes x {watchers} watchers: \
         p50 {:.1} ms, p99 {:.1} ms, last {:.1} ms",
        millis(&all, 50),
        millis(&all, 99),
        millis(&all, 100)
    );
    drop(server);
    client.join().expect("the client ends with the server");
}

/// From register's answer to the last byte of the event, for each watcher.
fn change(
    server: &Server,
    port: u16,
    watchers: usize,
    receipts: &Receiver<Instant>,
) -> Vec<Duration> {
    let answered = register(server.address, port);
    let at = (0..watchers).map(|_| {
        let arrival = receipts.recv_timeout(Duration::from_secs(30));
        arrival.expect("every watcher gets the event")
    });
    at.map(|at| at.saturating_duration_since(answered))
        .collect()
}

/// The latency that `percent` of the watchers do not exceed.
fn millis(sorted: &[Duration], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted[last * percent / 100].as_secs_f64() * 1e3
}

/// Follows one service from many connections until the server ends them.
async fn watch(
    address: SocketAddr,
    watchers: usize,
    ready: SyncSender<()>,
    arrivals: SyncSender<Instant>,
) {
    let mut tasks = JoinSet::new();
    for _ in 0..watchers {
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("a connection");
        let request = b"GET /watch?service=bench HTTP/1.1\r\nhost: localhost\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request)
            .await
            .expect("a request");
        let (ready, arrivals) = (ready.clone(), arrivals.clone());
        tasks.spawn(async move {
            let (mut buffer, mut text) = ([0; 4096], Vec::new());
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                text.extend_from_slice(&buffer[..n]);
                while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                    let rest = text.split_off(end + 2);
                    let block = std::mem::replace(&mut text, rest);
                    let has = |word: &[u8]| block.windows(word.len()).any(|known| known == word);
                    if has(b"event: event\n") {
                        arrivals
                            .send(Instant::now())
                            .expect("the figures are taken");
                    } else if has(b"event: snapshot\n") {
                        ready.send(()).expect("the figures are taken");
                    }
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Registers the one instance with another port; answers when the 200 was there.
fn register(address: SocketAddr, port: u16) -> Instant {
    let body = format!(
        "{{\"service_id\":\"one\",\"service_name\":\"bench\",\"host\":\"127.0.0.1\",\"port\":{port}}}"
    );
    let mut stream = TcpStream::connect(address).expect("a connection");
    let head =
        "POST /services/register HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).expect("a request");
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer).expect("an answer");
    let answered = Instant::now();
    assert!(buffer[..n].starts_with(b"HTTP/1.1 200"), "not registered");
    answered
}

/// A server that is killed when it goes out of scope.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let settings = [
            format!("http.listen={address}"),
            "http.watch.watchers_per_address_max=16384".to_owned(),
            "broker.listen=".to_owned(),
            "broker.management_listen=".to_owned(),
            "consul.listen=".to_owned(),
            "dns.listen=".to_owned(),
            "store.path=".to_owned(),
            "log.level=warn".to_owned(),
        ];
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let child = Command::new(env!("CARGO_BIN_EXE_musterd"))
            .args(settings)
            .spawn()
            .expect("musterd starts");
        let server = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nothing listens at {address}");
            std::thread::sleep(Duration::from_millis(1));
        }
        server
    }

    fn resident_kb(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kb.and_then(|kb| kb.parse().ok()).expect("a resident size")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that ended by itself needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
