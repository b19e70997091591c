//! REST under load: musterd against a bare axum server that answers the same bytes, and against
//! r-nacos where its binary is at hand. Needs wrk.
//!
//! `cargo bench --bench http [-- --pairs 5 --seconds 4 --bare-threads N]`; `RNACOS=/path/to/rnacos` names the
//! rival.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use musterd::config::{Threads, cores};
use tokio::time::Instant;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--bare") {
        let threads = arguments[at + 3].parse().expect("a number of threads");
        return bare(&arguments[at + 1], &arguments[at + 2], threads);
    }
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok())
            .unwrap_or(default)
    };
    let plan = Plan {
        pairs: number("--pairs", 5),
        seconds: number("--seconds", 4),
        bare_threads: number("--bare-threads", Threads::default().http(cores())),
        folder: tempfile::tempdir().expect("a temporary folder"),
    };
    starts(&plan);
    compare(&plan);
    encrypted(&plan);
    flat(&plan);
    memory(&plan);
}

struct Plan {
    pairs: usize,
    seconds: usize,
    /// As many as musterd has for HTTP, unless `--bare-threads` says otherwise.
    bare_threads: usize,
    folder: tempfile::TempDir,
}

/// A server that is killed when it goes out of scope.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn musterd() -> Self {
        Self::musterd_with(&[])
    }

    /// With these keys besides.
    fn musterd_with(keys: &[String]) -> Self {
        let address = free_address();
        let child = Command::new(env!("CARGO_BIN_EXE_musterd"))
            .args(["--set", &format!("http.listen={address}")])
            .args([
                "--set",
                "broker.listen=",
                "--set",
                "consul.listen=",
                "--set",
                "dns.listen=",
                "--set",
                "store.path=",
            ])
            .args(["--set", "log.level=warn"])
            .args(keys.iter().flat_map(|key| ["--set", key]))
            .spawn()
            .expect("musterd starts");
        Self::answering(child, address)
    }

    fn bare(plan: &Plan) -> Self {
        let address = free_address();
        let child = Command::new(env::current_exe().expect("this binary"))
            .args([
                "--bare",
                &address.to_string(),
                &plan.folder.path().display().to_string(),
                &plan.bare_threads.to_string(),
            ])
            .spawn()
            .expect("the bare server starts");
        Self::answering(child, address)
    }

    fn rnacos(folder: &Path) -> Option<Self> {
        let binary = env::var_os("RNACOS").map(PathBuf::from)?;
        let address = free_address();
        let child = Command::new(binary)
            .env("RNACOS_HTTP_PORT", address.port().to_string())
            .env("RNACOS_GRPC_PORT", free_address().port().to_string())
            .env(
                "RNACOS_HTTP_CONSOLE_PORT",
                free_address().port().to_string(),
            )
            .env("RNACOS_CONFIG_DB_DIR", folder.join("rnacos"))
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self::answering(child, address);
        std::thread::sleep(Duration::from_secs(3));
        Some(server)
    }

    fn answering(child: Child, address: SocketAddr) -> Self {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nothing listens at {address}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { child, address }
    }

    fn resident_kb(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .expect("VmRSS");
        line.split_whitespace()
            .nth(1)
            .and_then(|kb| kb.parse().ok())
            .expect("a number")
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// One request on a separate connection; returns the body.
fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connects");
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .expect("writes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("reads");
    let at = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head")
        + 4;
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    answer.split_off(at)
}

/// Many registrations over one connection.
fn register_many(address: SocketAddr, service: impl Fn(usize) -> String, count: usize) {
    let mut stream = TcpStream::connect(address).expect("connects");
    let mut reader = stream.try_clone().expect("a second handle");
    let counter = std::thread::spawn(move || {
        let (mut seen, mut buffer, mut tail) = (0, vec![0; 65_536], Vec::new());
        while seen < count {
            let read = reader.read(&mut buffer).expect("reads");
            assert!(read > 0, "the server hung up after {seen} answers");
            tail.extend_from_slice(&buffer[..read]);
            seen += tail
                .windows(12)
                .filter(|part| part == b"HTTP/1.1 200")
                .count();
            let keep = tail.len().saturating_sub(11);
            tail.drain(..keep);
        }
    });
    for n in 0..count {
        let body = registration(&service(n), n);
        let length = body.len();
        let head = format!(
            "POST /services/register HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .expect("writes");
    }
    counter
        .join()
        .expect("every registration is answered with 200");
}

fn registration(service: &str, n: usize) -> String {
    format!(
        r#"{{"service_id":"{service}-{n}","service_name":"{service}","host":"10.0.{}.{}","port":8080,"metadata":{{"region":"eu-1","build":"2026.11.{n}"}},"tags":["v2","http"],"version":"2.1.0","ttl":"10m"}}"#,
        n / 250 % 250,
        n % 250
    )
}

/// Requests per second and the 99th percentile in milliseconds.
#[derive(Clone, Copy)]
struct Load {
    rate: f64,
    p99_ms: f64,
}

fn wrk(plan: &Plan, url: &str, script: Option<&Path>) -> Load {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c16", "--latency", &format!("-d{}s", plan.seconds)]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let output = command
        .arg(url)
        .output()
        .expect("wrk runs: apt-get install wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{url}: {text}");
    let after = |word: &str| {
        let rest = text
            .split(word)
            .nth(1)
            .unwrap_or_else(|| panic!("no \"{word}\" in {text}"));
        rest.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let p99 = after(" 99%");
    let (number, unit) = p99.split_at(p99.find(|c: char| c.is_alphabetic()).unwrap_or(p99.len()));
    let scale = match unit {
        "us" => 0.001,
        "s" => 1000.0,
        _ => 1.0,
    };
    Load {
        rate: after("Requests/sec:").parse().expect("a rate"),
        p99_ms: number
            .parse::<f64>()
            .unwrap_or_else(|error| panic!("{error}: no latency \"{p99}\" in {text}"))
            * scale,
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// One case: what is asked of musterd and the bare server, and what of r-nacos.
struct Case {
    name: &'static str,
    path: String,
    script: Option<PathBuf>,
    rival: Option<(String, Option<PathBuf>)>,
    /// Of the bare server's rate.
    target: f64,
}

fn lua(plan: &Plan, name: &str, text: &str) -> PathBuf {
    let path = plan.folder.path().join(name);
    fs::write(&path, text).expect("a script");
    path
}

fn cases(plan: &Plan) -> Vec<Case> {
    let register = lua(
        plan,
        "register.lua",
        r#"local n = 0
function request()
  n = (n + 1) % 1000
  local body = string.format('{"service_id":"load-%d","service_name":"load-%d","host":"10.0.0.1","port":8080,"metadata":{"region":"eu-1"},"tags":["v2"],"version":"2.1.0"}', n, n % 20)
  return wrk.format("POST", "/services/register", {["content-type"]="application/json"}, body)
end"#,
    );
    let rival_register = lua(
        plan,
        "rnacos.lua",
        r#"local n = 0
function request()
  n = (n + 1) % 1000
  local body = string.format("serviceName=load-%d&ip=10.0.0.%d&port=%d&ephemeral=true", n % 20, n % 250, 8000 + n)
  return wrk.format("POST", "/nacos/v1/ns/instance", {["content-type"]="application/x-www-form-urlencoded"}, body)
end"#,
    );
    let beat = lua(plan, "beat.lua", "wrk.method = \"POST\"\n");
    let rival_list = |name: &str| {
        Some((
            format!("/nacos/v1/ns/instance/list?serviceName={name}"),
            None,
        ))
    };
    vec![
        Case {
            name: "discover, 1 instance",
            path: "/services/discover/one?healthy_only=true".to_owned(),
            script: None,
            rival: rival_list("one"),
            target: 0.9,
        },
        Case {
            name: "discover, 50 instances",
            path: "/services/discover/fifty?healthy_only=true".to_owned(),
            script: None,
            rival: rival_list("fifty"),
            target: 0.9,
        },
        Case {
            name: "register",
            path: "/services/register".to_owned(),
            script: Some(register),
            rival: Some(("/nacos/v1/ns/instance".to_owned(), Some(rival_register))),
            target: 0.8,
        },
        Case {
            name: "heartbeat",
            path: "/services/one-0/heartbeat".to_owned(),
            script: Some(beat),
            rival: None,
            target: 0.9,
        },
    ]
}

/// Two services, of 1 and of 50 instances, and what the bare server is to answer.
fn prepare(plan: &Plan, musterd: &Server, rival: Option<&Server>) {
    register_many(musterd.address, |_| "one".to_owned(), 1);
    register_many(musterd.address, |_| "fifty".to_owned(), 50);
    let save =
        |name: &str, bytes: &[u8]| fs::write(plan.folder.path().join(name), bytes).expect("a file");
    let get = |path: &str| request(musterd.address, "GET", path, "");
    save("one", &get("/services/discover/one?healthy_only=true"));
    save("fifty", &get("/services/discover/fifty?healthy_only=true"));
    let body = registration("one", 0);
    save(
        "register",
        &request(musterd.address, "POST", "/services/register", &body),
    );
    save(
        "beat",
        &request(musterd.address, "POST", "/services/one-0/heartbeat", ""),
    );
    if let Some(rival) = rival {
        let names = std::iter::once(("one", 0)).chain((0..50).map(|n| ("fifty", n)));
        for (name, n) in names {
            let path = format!(
                "/nacos/v1/ns/instance?serviceName={name}&ip=10.0.0.{n}&port=8080&ephemeral=false"
            );
            request(rival.address, "POST", &path, "");
        }
    }
}

fn compare(plan: &Plan) {
    let musterd = Server::musterd();
    let rival = Server::rnacos(plan.folder.path());
    prepare(plan, &musterd, rival.as_ref());
    let bare = Server::bare(plan);
    println!(
        "\n{} pairs of {} s each, wrk -t1 -c16; medians of the ratios",
        plan.pairs, plan.seconds
    );
    println!(
        "| case | musterd/s | bare/s | ratio (wanted) | r-nacos/s | ratio (wanted) | p99 ms: musterd, bare, r-nacos |"
    );
    println!("|---|---|---|---|---|---|---|");
    for case in cases(plan) {
        let (mut own, mut floor, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.pairs {
            let script = case.script.as_deref();
            own.push(wrk(
                plan,
                &format!("http://{}{}", musterd.address, case.path),
                script,
            ));
            floor.push(wrk(
                plan,
                &format!("http://{}{}", bare.address, case.path),
                script,
            ));
            if let (Some(rival), Some((path, script))) = (&rival, &case.rival) {
                other.push(wrk(
                    plan,
                    &format!("http://{}{path}", rival.address),
                    script.as_deref(),
                ));
            }
        }
        report(&case, &own, &floor, &other);
    }
    println!("resident after the load: {} KB", musterd.resident_kb());
}

fn report(case: &Case, own: &[Load], floor: &[Load], other: &[Load]) {
    let rate = |loads: &[Load]| median(loads.iter().map(|load| load.rate).collect());
    let p99 = |loads: &[Load]| median(loads.iter().map(|load| load.p99_ms).collect());
    let ratio = |loads: &[Load]| {
        median(
            own.iter()
                .zip(loads)
                .map(|(own, load)| own.rate / load.rate)
                .collect(),
        )
    };
    let rival = if other.is_empty() {
        ("-".to_owned(), "-".to_owned(), "-".to_owned())
    } else {
        (
            format!("{:.0}", rate(other)),
            format!("{:.2} (2)", ratio(other)),
            format!("{:.2}", p99(other)),
        )
    };
    println!(
        "| {} | {:.0} | {:.0} | {:.2} ({}) | {} | {} | {:.2}, {:.2}, {} |",
        case.name,
        rate(own),
        rate(floor),
        ratio(floor),
        case.target,
        rival.0,
        rival.1,
        p99(own),
        p99(floor),
        rival.2
    );
}

/// The same requests without and with TLS, on connections that are kept.
fn encrypted(plan: &Plan) {
    let folder = plan.folder.path().join("tls");
    let made = Command::new(env!("CARGO_BIN_EXE_musterd"))
        .args(["tls", "self-signed", "--dir"])
        .arg(&folder)
        .stdout(Stdio::null())
        .status();
    assert!(made.expect("musterd runs").success(), "certificates");
    let file = |name: &str| folder.join(name).display().to_string();
    let address = free_address();
    let server = Server::musterd_with(&[
        format!("http.tls.listen={address}"),
        format!("http.tls.certificate={}", file("server.pem")),
        format!("http.tls.key={}", file("server.key")),
    ]);
    register_many(server.address, |_| "one".to_owned(), 1);
    register_many(server.address, |_| "fifty".to_owned(), 50);
    println!("\n| with TLS against without | requests/s with, without | ratio (wanted >= 0.7) |");
    println!("|---|---|---|");
    for (name, path) in [
        (
            "discover, 1 instance",
            "/services/discover/one?healthy_only=true",
        ),
        (
            "discover, 50 instances",
            "/services/discover/fifty?healthy_only=true",
        ),
    ] {
        let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.pairs {
            let encrypted = wrk(plan, &format!("https://{address}{path}"), None).rate;
            let plain = wrk(plan, &format!("http://{}{path}", server.address), None).rate;
            ratios.push(encrypted / plain);
            with.push(encrypted);
            without.push(plain);
        }
        println!(
            "| {name} | {:.0}, {:.0} | {:.2} |",
            median(with),
            median(without),
            median(ratios)
        );
    }
}

/// The same requests with 100 and with 100,000 instances registered.
fn flat(plan: &Plan) {
    let (small, large) = (Server::musterd(), Server::musterd());
    for (server, count) in [(&small, 100), (&large, 100_000)] {
        register_many(server.address, |n| format!("s{}", n / 10), count);
    }
    let beat = lua(plan, "flat.lua", "wrk.method = \"POST\"\n");
    println!("\n| cost at 100,000 instances against 100 | ratio of the rates (wanted >= 0.8) |");
    println!("|---|---|");
    for (name, path, script) in [
        ("discover", "/services/discover/s5", None),
        (
            "heartbeat",
            "/services/s5-55/heartbeat",
            Some(beat.as_path()),
        ),
    ] {
        let mut ratios = Vec::new();
        for _ in 0..plan.pairs {
            let at = |server: &Server| {
                wrk(plan, &format!("http://{}{path}", server.address), script).rate
            };
            ratios.push(at(&large) / at(&small));
        }
        println!("| {name} | {:.2} |", median(ratios));
    }
}

fn memory(_plan: &Plan) {
    let server = Server::musterd();
    std::thread::sleep(Duration::from_millis(500));
    let idle = server.resident_kb();
    println!("\nresident when idle: {idle} KB (wanted at most 10,240)");
    let count = 50_000;
    register_many(server.address, |n| format!("m{}", n / 10), count);
    let registered = server.resident_kb();
    request(server.address, "GET", "/services", "");
    let encoded = server.resident_kb();
    let each = |kb: u64| (kb.saturating_sub(idle) * 1024) / count as u64;
    println!(
        "for each of {count} instances: {} B registered, {} B after every one was read (wanted at most 1,536)",
        each(registered),
        each(encoded)
    );
}

/// From the start of the process to the first accepted connection.
fn starts(plan: &Plan) {
    let mut times = Vec::new();
    for _ in 0..plan.pairs.max(5) {
        let started = Instant::now();
        let server = Server::musterd();
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        drop(server);
    }
    println!(
        "starts listening after {:.1} ms (wanted under 50)",
        median(times)
    );
}

/// The floor: axum with one handler, no registry behind it.
fn bare(address: &str, folder: &str, threads: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve_bare(address, folder));
}

async fn serve_bare(address: &str, folder: &str) {
    use axum::{Router, body::Bytes, http::header, routing};

    let fixed = |name: &str| {
        let bytes = Bytes::from(fs::read(Path::new(folder).join(name)).expect("an answer to give"));
        move || {
            let bytes = bytes.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], bytes) }
        }
    };
    let register = fixed("register");
    let router = Router::new()
        .route("/services/discover/one", routing::get(fixed("one")))
        .route("/services/discover/fifty", routing::get(fixed("fifty")))
        .route(
            "/services/register",
            routing::post(move |_: Bytes| register()),
        )
        .route("/services/{id}/heartbeat", routing::post(fixed("beat")));
    let listener = tokio::net::TcpListener::bind(address).await.expect("binds");
    axum::serve(listener, router).await.expect("serves");
}
