//! The release daemon as a process of its own, so that /proc tells what it spends.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::client::Client;

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
        Self::start(amqp, &format!("broker.listen={amqp}"))
    }

    /// With a broker elsewhere, all channels direct.
    pub(crate) fn on(broker: SocketAddr) -> Self {
        let url = format!("transport.amqp_url=amqp://guest:guest@{broker}/%2f");
        Self::start(broker, &url)
    }

    fn start(amqp: SocketAddr, broker: &str) -> Self {
        let http = free_address();
        let embedded = broker.starts_with("broker.");
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        for key in [
            &*format!("http.listen={http}"),
            broker,
            "consul.listen=",
            "dns.listen=",
            "store.path=",
            "transport.mode=direct",
            "registry.log_entries_max=131072",
            "registry.log_bytes_max=256MiB",
            "log.level=warn",
        ] {
            command.args(["--set", key]);
        }
        if !embedded {
            command.args(["--set", "broker.listen="]);
        }
        let child = command.spawn().expect("musterd starts");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(http).is_err() {
            assert!(Instant::now() < deadline, "nothing listens at {http}");
            sleep(Duration::from_millis(5));
        }
        Self { child, http, amqp }
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
        let told: Value =
            serde_json::from_slice(client.ask("GET", "/transport", b"")).expect("a report in JSON");
        told["channels"]["events"]["lag"].as_u64().expect("a lag")
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
        cpu_us(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// CPU time a process has used so far, in µs; the kernel counts in steps of 10 ms.
pub(crate) fn cpu_us(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields
        .map(|ticks| ticks.parse::<f64>().expect("a number of ticks") * 10_000.0)
        .sum()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
