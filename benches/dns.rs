//! A queries over UDP on loopback: musterd, bind9's `named` and dnsmasq with the same names, in turn.
//!
//! `cargo bench --bench dns -- [seconds] [sockets] [window]`: each client socket has `window` queries under way. The
//! table has answers per second, lost queries, and the time of an answer.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "a bench prints, and measures with the system's clock"
)]

use std::{
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread::scope,
    time::{Duration, Instant},
};

/// Services with three addresses each.
const SERVICES: u16 = 100;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let mut numbers = env::args().skip(1).filter_map(|text| text.parse().ok());
    let seconds: u64 = numbers.next().unwrap_or(5);
    let sockets: usize = numbers
        .next()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(4);
    let window: usize = numbers
        .next()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(16);
    let folder = tempfile::tempdir().expect("a folder");
    println!(
        "{seconds} s each, {sockets} sockets with {window} queries under way, {SERVICES} services of 3 instances"
    );
    println!("| server | answers/s | lost | p50 | p99 |\n|---|---|---|---|---|");
    let servers: [(&str, StartServer); 3] =
        [("musterd", musterd), ("named", named), ("dnsmasq", dnsmasq)];
    for (name, start) in servers {
        let Some(server) = start(folder.path()) else {
            println!("| {name} | not installed (tests/setup) | | | |");
            continue;
        };
        let load = Load {
            server: server.dns,
            seconds,
            window,
        };
        // Caches and branch predictors.
        Load { seconds: 1, ..load }.run(sockets);
        let measured = load.run(sockets);
        let rate = measured.latencies.len() as u64 / seconds;
        let at = |share: usize| {
            let place = measured.latencies.len() * share / 100;
            measured.latencies.get(place).copied().unwrap_or_default()
        };
        println!(
            "| {name} | {rate} | {} | {:?} | {:?} |",
            measured.lost,
            at(50),
            at(99)
        );
    }
}

/// Starts a server; none when it is not installed.
type StartServer = fn(&Path) -> Option<Server>;

/// A server that is killed when it goes out of scope.
struct Server {
    child: Child,
    dns: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Waits until it answers.
    fn answering(child: Child, dns: SocketAddr) -> Self {
        let server = Self { child, dns };
        let deadline = Instant::now() + PATIENCE;
        let socket = client(dns);
        let mut answer = [0; 512];
        loop {
            let _ = socket.send(&query(0, 0));
            match socket.recv(&mut answer) {
                // Three records.
                Ok(length) if length > 12 && answer[6..8] == [0, 3] => return server,
                _ => assert!(Instant::now() < deadline, "no answer from {dns}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn free() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address")
}

fn addresses(service: u16) -> [Ipv4Addr; 3] {
    let [high, low] = service.to_be_bytes();
    [1, 2, 3].map(|number| Ipv4Addr::new(10, high, low, number))
}

fn musterd(_: &Path) -> Option<Server> {
    let (dns, http) = (free(), free());
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
    for key in [
        format!("dns.listen={dns}"),
        format!("http.listen={http}"),
        "broker.listen=".to_owned(),
        "consul.listen=".to_owned(),
        "store.path=".to_owned(),
        "log.level=warn".to_owned(),
    ] {
        command.args(["--set", &key]);
    }
    let child = command.spawn().expect("musterd starts");
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(http) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    for service in 0..SERVICES {
        for address in addresses(service) {
            let body = format!(
                r#"{{"service_id":"{address}","service_name":"s{service}","host":"{address}","port":80,"lease":"none"}}"#
            );
            let request = format!(
                "POST /services/register HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).expect("a request");
            let mut answer = [0; 4096];
            let length = stream.read(&mut answer).expect("an answer");
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
        }
    }
    Some(Server::answering(child, dns))
}

fn spawn(mut command: Command, dns: SocketAddr) -> Option<Server> {
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = quiet.spawn().ok()?;
    Some(Server::answering(child, dns))
}

fn named(folder: &Path) -> Option<Server> {
    let dns = free();
    let zone = folder.join("zone");
    let mut text = "$TTL 0\n@ SOA ns.musterd. hostmaster.musterd. 1 3600 600 86400 0\n@ NS ns\nns A 127.0.0.1\n".to_owned();
    for service in 0..SERVICES {
        for address in addresses(service) {
            text.push_str(&format!("s{service}.service A {address}\n"));
        }
    }
    fs::write(&zone, text).expect("a zone");
    let config = folder.join("named.conf");
    let text = format!(
        "options {{ directory \"{0}\"; listen-on port {1} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; \
         pid-file none; session-keyfile none; managed-keys-directory \"{0}\"; }};\n\
         controls {{ }};\nzone \"musterd\" {{ type master; file \"{2}\"; }};\n",
        folder.display(),
        dns.port(),
        zone.display()
    );
    fs::write(&config, text).expect("a configuration");
    let mut command = Command::new("named");
    command.arg("-g").arg("-c").arg(&config);
    spawn(command, dns)
}

fn dnsmasq(folder: &Path) -> Option<Server> {
    let dns = free();
    let hosts = folder.join("hosts");
    let lines = (0..SERVICES).flat_map(|service| {
        addresses(service).map(|address| format!("{address} s{service}.service.musterd\n"))
    });
    fs::write(&hosts, lines.collect::<String>()).expect("hosts");
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
    ]);
    command.args([
        "--listen-address=127.0.0.1",
        "--local=/musterd/",
        "--pid-file=",
        "--user=",
    ]);
    command.arg(format!("--port={}", dns.port()));
    command.arg(format!("--addn-hosts={}", hosts.display()));
    spawn(command, dns)
}

/// A query for the addresses of a service.
fn query(id: u16, service: u16) -> Vec<u8> {
    let name = format!("s{service}");
    let mut query = id.to_be_bytes().to_vec();
    query.extend(b"\x01\0\0\x01\0\0\0\0\0\0");
    for label in [name.as_str(), "service", "musterd"] {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend(label.as_bytes());
    }
    query.extend(b"\0\0\x01\0\x01");
    query
}

fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(server).expect("an address");
    let patience = Some(Duration::from_millis(200));
    socket.set_read_timeout(patience).expect("a timeout");
    socket
}

#[derive(Clone, Copy)]
struct Load {
    server: SocketAddr,
    seconds: u64,
    window: usize,
}

#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    lost: usize,
}

impl Load {
    fn run(self, sockets: usize) -> Measured {
        let mut all = Measured::default();
        scope(|scope| {
            let threads: Vec<_> = (0..sockets)
                .map(|_| scope.spawn(move || self.one()))
                .collect();
            for thread in threads {
                let one = thread.join().expect("a client");
                all.latencies.extend(one.latencies);
                all.lost += one.lost;
            }
        });
        all.latencies.sort_unstable();
        all
    }

    /// One socket: the id of a query is its place in the window.
    fn one(self) -> Measured {
        let socket = client(self.server);
        let mut measured = Measured::default();
        let mut sent = vec![Instant::now(); self.window];
        let mut turn = 0_u16;
        let mut ask = |place: usize, sent: &mut [Instant]| {
            turn = (turn + 1) % SERVICES;
            sent[place] = Instant::now();
            let id = u16::try_from(place).expect("a small window");
            let _ = socket.send(&query(id, turn));
        };
        for place in 0..self.window {
            ask(place, &mut sent);
        }
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let mut answer = [0; 512];
        while Instant::now() < end {
            if socket.recv(&mut answer).is_err() {
                // Everything that was under way is lost.
                measured.lost += self.window;
                for place in 0..self.window {
                    ask(place, &mut sent);
                }
                continue;
            }
            assert_eq!(answer[6..8], [0, 3], "three addresses");
            let place = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
            if let Some(at) = sent.get(place) {
                measured.latencies.push(at.elapsed());
                ask(place, &mut sent);
            }
        }
        measured
    }
}
