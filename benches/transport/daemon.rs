//! The release daemon in a separate process, so that /proc has its CPU time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::{client::Client, process::cpu_us, rabbitmq::signal};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon; it is killed when this goes out of scope.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) http: SocketAddr,
    /// Of the embedded broker, where there is one.
    pub(crate) amqp: SocketAddr,
}

impl Daemon {
    /// With its embedded broker, all channels direct.
    pub(crate) fn embedded() -> Self {
        let amqp = free_address();
        Self::start(amqp, &[&format!("broker.listen={amqp}")])
    }

    /// With a broker elsewhere, all channels direct.
    pub(crate) fn on(broker: SocketAddr) -> Self {
        let url = format!("transport.amqp_url=amqp://guest:guest@{broker}/%2f");
        Self::start(broker, &[&url, "broker.listen="])
    }

    fn start(amqp: SocketAddr, broker: &[&str]) -> Self {
        let mut keys = vec![
            "store.path=",
            "registry.log_entries_max=131072",
            "registry.log_bytes_max=256MiB",
        ];
        keys.extend(broker);
        let daemon = Self::spawn(amqp, &keys);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(daemon.http).is_err() {
            assert!(
                Instant::now() < deadline,
                "nothing listens at {}",
                daemon.http
            );
            sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// With its embedded broker and these keys, all channels direct; returns when /ready is 200.
    pub(crate) fn ready(keys: &[&str]) -> Self {
        let amqp = free_address();
        let listen = format!("broker.listen={amqp}");
        let keys: Vec<&str> = keys.iter().copied().chain([&*listen]).collect();
        let daemon = Self::spawn(amqp, &keys);
        let deadline = Instant::now() + PATIENCE;
        while !is_ready(daemon.http) {
            assert!(Instant::now() < deadline, "{} is not ready", daemon.http);
            sleep(Duration::from_millis(1));
        }
        daemon
    }

    fn spawn(amqp: SocketAddr, keys: &[&str]) -> Self {
        let http = free_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        let own = [
            &*format!("http.listen={http}"),
            "broker.management_listen=",
            "consul.listen=",
            "dns.listen=",
            "transport.mode=direct",
            "log.level=warn",
        ];
        for key in own.iter().chain(keys) {
            command.args(["--set", key]);
        }
        let child = command.spawn().expect("musterd starts");
        Self { child, http, amqp }
    }

    /// SIGTERM; returns when it has ended in good order.
    pub(crate) fn stop(mut self) {
        signal("-TERM", &self.pid().to_string());
        let status = self.child.wait().expect("a child of this process");
        assert!(status.success(), "musterd ended with {status}");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Puts every channel into this mode.
    pub(crate) fn set(&self, mode: &str) {
        let body = format!(r#"{{"mode":"{mode}"}}"#);
        Client::open(self.http).ask("PUT", "/transport", body.as_bytes());
    }

    /// Puts every channel into this mode and waits until all that was missed has left.
    pub(crate) fn settle(&self, mode: &str) {
        self.set(mode);
        if mode != "direct" {
            self.drained();
        }
        sleep(Duration::from_millis(200));
    }

    /// How far channel events is behind.
    pub(crate) fn lag(&self, client: &mut Client) -> u64 {
        let state: Value =
            serde_json::from_slice(client.ask("GET", "/transport", b"")).expect("a report in JSON");
        state["channels"]["events"]["lag"].as_u64().expect("a lag")
    }

    /// Waits until no event is left to be sent; how long that took.
    pub(crate) fn drained(&self) -> Duration {
        let mut client = Client::open(self.http);
        let begin = Instant::now();
        while self.lag(&mut client) > 0 {
            assert!(begin.elapsed() < PATIENCE, "events do not leave");
            sleep(Duration::from_millis(2));
        }
        begin.elapsed()
    }

    /// CPU time so far, in µs.
    pub(crate) fn cpu_us(&self) -> f64 {
        cpu_us(self.pid())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Whether GET /ready answers 200.
fn is_ready(http: SocketAddr) -> bool {
    const QUESTION: &[u8] = b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let Ok(mut socket) = TcpStream::connect(http) else {
        return false;
    };
    let mut answer = Vec::new();
    socket.write_all(QUESTION).is_ok()
        && socket.read_to_end(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
