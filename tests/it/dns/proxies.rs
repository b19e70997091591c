//! HAProxy and Caddy find the servers of a service by SRV records: a server that is drained gets no requests any more,
//! a new one gets its share, and no request fails.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    DnsDaemon,
    backends::{Backends, Load},
};

/// Longer than a proxy takes to see a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy; killed when it goes out of scope.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Proxy {
    let log = fs::File::create(folder.join(format!("{program}.log"))).unwrap();
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin"))
        .env("HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("XDG_CONFIG_HOME", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    Proxy(
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; run tests/setup")),
    )
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn haproxy(server: &str, folder: &Path, name: &str) -> (Proxy, SocketAddr) {
    let listen = free();
    let file = folder.join(format!("{name}.cfg"));
    let config = format!(
        "global\n maxconn 200\n\
         defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n retries 3\n option redispatch\n\
         resolvers musterd\n nameserver own {server}\n accepted_payload_size 8192\n timeout resolve 200ms\n \
         timeout retry 200ms\n hold valid 200ms\n hold obsolete 0s\n hold nx 0s\n\
         frontend in\n bind {listen}\n default_backend web\n\
         backend web\n balance roundrobin\n \
         server-template web 10 _web._tcp.service.musterd resolvers musterd resolve-prefer ipv4 \
         resolve-opts allow-dup-ip init-addr none\n"
    );
    fs::write(&file, config).unwrap();
    (
        run("haproxy", &["-db", "-f", file.to_str().unwrap()], folder),
        listen,
    )
}

fn caddy(dns: SocketAddr, folder: &Path) -> (Proxy, SocketAddr) {
    let listen = free();
    let file = folder.join("Caddyfile");
    let config = format!(
        "{{\n admin off\n auto_https off\n}}\nhttp://{listen} {{\n reverse_proxy {{\n \
         dynamic srv {{\n name _web._tcp.service.musterd.\n resolvers {dns}\n refresh 200ms\n }}\n \
         lb_policy round_robin\n lb_try_duration 2s\n lb_try_interval 20ms\n \
         transport http {{\n resolvers {dns}\n dial_timeout 1s\n }}\n }}\n}}\n"
    );
    fs::write(&file, config).unwrap();
    let arguments = [
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        file.to_str().unwrap(),
    ];
    (run("caddy", &arguments, folder), listen)
}

/// Waits until every proxy sends requests to exactly these servers.
async fn until(loads: &[(&str, Load)], expected: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    for (name, load) in loads {
        load.seen();
        loop {
            sleep(Duration::from_millis(150)).await;
            let seen = load.seen();
            if seen == expected {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{name}: {seen:?} instead of {expected:?}"
            );
        }
    }
}

#[tokio::test]
async fn proxies_follow_a_rolling_drain_without_a_failed_request() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = DnsDaemon::start(&["dns.srv_weight_scale=256"]);
    let backends = Backends::default();
    for name in ["a", "b", "c"] {
        backends.start(&daemon, name).await;
    }
    let dns = daemon.dns;
    let udp = haproxy(&dns.to_string(), folder.path(), "udp");
    let tcp = haproxy(&format!("tcp@{dns}"), folder.path(), "tcp");
    let caddy = caddy(dns, folder.path());
    let loads = [
        ("HAProxy over UDP", Load::start(udp.1)),
        ("HAProxy over TCP", Load::start(tcp.1)),
        ("Caddy", Load::start(caddy.1)),
    ];
    until(&loads, &["a", "b", "c"]).await;
    // Requests before the proxies were up have failed.
    for (_, load) in &loads {
        load.failures();
    }
    let mut names = ["a", "b", "c"].map(str::to_owned);
    for (index, new) in ["d", "e", "f"].into_iter().enumerate() {
        backends.start(&daemon, new).await;
        let old = std::mem::replace(&mut names[index], new.to_owned());
        backends.drain(&daemon, &old).await;
        let mut expected: Vec<_> = names.iter().map(String::as_str).collect();
        expected.sort_unstable();
        until(&loads, &expected).await;
        // No client asks it any more.
        backends.stop(&daemon, &old).await;
    }
    until(&loads, &["d", "e", "f"]).await;
    for (name, load) in &loads {
        assert_eq!(
            load.failures(),
            [""; 0],
            "{name} of {} requests",
            load.sent()
        );
        assert!(load.sent() > 100, "{name}: {}", load.sent());
    }
    assert_eq!(daemon.daemon.stop().last().unwrap()["message"], "stopped");
}
