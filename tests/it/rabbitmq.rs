//! A RabbitMQ node of the tests' own: private name, folder and ports, loopback only, gone when the
//! run ends. It never touches a node that the machine already runs.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const START_LIMIT: Duration = Duration::from_secs(120);
const END_LIMIT: Duration = Duration::from_secs(10);

/// Starts the node, then waits for its owner to end; whatever happens, it takes the whole group
/// with it. A test that is killed leaves nothing behind.
const GUARDIAN: &str = r#"
epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 >>"$DIR/epmd.log" 2>&1 &
"$SERVER" >>"$DIR/stdout.log" 2>&1 &
server=$!
while kill -0 "$OWNER" 2>/dev/null && kill -0 "$server" 2>/dev/null; do sleep 0.3; done
if ! kill -0 "$OWNER" 2>/dev/null; then rm -rf "$DIR" "$DIR.lock"; fi
kill -KILL 0
"#;

/// Who may be met there, as RabbitMQ's definitions file has it; the embedded broker's
/// fixture has the same.
const DEFINITIONS: &str = r#"{
  "users": [
    {"name": "guest", "password": "guest", "tags": ["administrator"]},
    {"name": "mine", "password": "mine", "tags": []},
    {"name": "nobody", "password": "nobody", "tags": []}
  ],
  "vhosts": [{"name": "/"}, {"name": "second"}],
  "permissions": [
    {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "guest", "vhost": "second", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "mine", "vhost": "/", "configure": "^mine-", "write": "^mine-", "read": "^mine-"}
  ]
}"#;

/// A running node.
#[derive(Debug)]
pub(crate) struct Rabbit {
    dir: PathBuf,
    guardian: Option<Child>,
    addr: SocketAddr,
    node: String,
    epmd_port: u16,
    dist_port: u16,
}

impl Rabbit {
    /// A node for the caller alone, to be stopped, paused or killed at will; it ends with the value.
    pub(crate) fn private() -> Self {
        Self::private_in(&std::env::temp_dir())
    }

    /// The same with its files below `folder`: on another disk, for example.
    pub(crate) fn private_in(folder: &Path) -> Self {
        let dir = folder.join(format!("musterd-rabbitmq-{}", unique()));
        Self::start(dir, std::process::id())
    }

    /// The node that all tests of one run share; the first to ask starts it, and it ends with the run:
    /// with this process, or with cargo-nextest where that starts a process for each test.
    pub(crate) fn shared() -> Self {
        let owner = match std::env::var_os("NEXTEST") {
            Some(_) => std::os::unix::process::parent_id(),
            None => std::process::id(),
        };
        let dir =
            std::env::temp_dir().join(format!("musterd-rabbitmq-run-{owner}-{}", started(owner)));
        let lock =
            File::create(dir.with_extension("lock")).expect("a lock file in the temp folder");
        lock.lock().expect("a lock on the shared node");
        if dir.join("ready").exists() {
            return Self::join(dir);
        }
        let mut rabbit = Self::start(dir, owner);
        fs::write(rabbit.dir.join("ready"), b"").expect("the mark that the node is ready");
        rabbit.guardian = None;
        rabbit
    }

    /// Where clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The Erlang VM's process id.
    pub(crate) fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.dir.join("pid")).expect("the node's pid file");
        text.trim()
            .parse()
            .expect("a number in the node's pid file")
    }

    /// Runs `rabbitmqctl` against the node and returns what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = environment(
            &mut Command::new(CTL),
            &self.dir,
            &self.node,
            self.epmd_port,
            self.addr.port(),
        )
        .arg("--quiet")
        .args(arguments)
        .output()
        .expect("rabbitmqctl runs");
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// SIGSTOP: the node holds its sockets and answers nobody.
    pub(crate) fn pause(&self) {
        signal("-STOP", &self.pid().to_string());
    }

    /// SIGCONT after [`Rabbit::pause`].
    pub(crate) fn resume(&self) {
        signal("-CONT", &self.pid().to_string());
    }

    /// SIGKILL: a crash.
    pub(crate) fn kill(&self) {
        signal("-KILL", &self.pid().to_string());
    }

    /// SIGTERM: it stops in good order; returns when it has.
    pub(crate) fn stop(&self) {
        let process = Path::new("/proc").join(self.pid().to_string());
        signal("-TERM", &self.pid().to_string());
        let begin = SystemTime::now();
        while process.exists() {
            let waited = begin.elapsed().unwrap_or_default();
            assert!(
                waited < START_LIMIT,
                "RabbitMQ did not stop in {START_LIMIT:?}"
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again after [`Rabbit::kill`] or [`Rabbit::stop`], on the same port and with what it had on disk.
    pub(crate) fn restart(&mut self) {
        self.reap();
        let _stale = fs::remove_file(self.dir.join("pid"));
        self.guardian = Some(self.guard(std::process::id()));
        self.wait_until_it_answers();
    }

    fn start(dir: PathBuf, owner: u32) -> Self {
        assert!(
            Path::new(SERVER).exists(),
            "this test needs RabbitMQ: run tests/setup (it installs the package rabbitmq-server)"
        );
        fs::create_dir_all(&dir).expect("a folder for the node");
        let (port, dist_port, epmd_port) = (free_port(), free_port(), free_port());
        let node = format!("musterd{port}@localhost");
        let definitions = dir.join("definitions.json");
        fs::write(&definitions, DEFINITIONS).expect("the node's definitions");
        let settings = format!(
            "load_definitions = {}\nlisteners.tcp.1 = 127.0.0.1:{port}\nlog.file.level = warning\n",
            definitions.display()
        );
        fs::write(dir.join("rabbitmq.conf"), settings).expect("the node's settings");
        fs::write(dir.join("enabled_plugins"), "[].").expect("the node's plugins");
        fs::write(dir.join("address"), format!("{port} {epmd_port} {node}"))
            .expect("the node's address");
        let mut rabbit = Self {
            addr: loopback(port),
            dir,
            guardian: None,
            node,
            epmd_port,
            dist_port,
        };
        rabbit.guardian = Some(rabbit.guard(owner));
        rabbit.wait_until_it_answers();
        rabbit
    }

    /// The process that starts the node and ends with it, or with `owner`.
    fn guard(&self, owner: u32) -> Child {
        let (epmd_port, port) = (self.epmd_port, self.addr.port());
        environment(
            &mut Command::new("sh"),
            &self.dir,
            &self.node,
            epmd_port,
            port,
        )
        .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
        .env("OWNER", owner.to_string())
        .env("SERVER", SERVER)
        .args(["-c", GUARDIAN])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh runs")
    }

    fn join(dir: PathBuf) -> Self {
        let text = fs::read_to_string(dir.join("address")).expect("the shared node's address");
        let mut words = text.split(' ');
        let mut next = || {
            words
                .next()
                .expect("three words in the shared node's address")
        };
        let (port, epmd_port, node) = (next(), next(), next());
        Self {
            addr: loopback(port.parse().expect("a port")),
            guardian: None,
            node: node.to_owned(),
            epmd_port: epmd_port.parse().expect("a port"),
            dist_port: 0,
            dir,
        }
    }

    /// The pid file is written before the listener opens, the definitions are read before it too.
    fn wait_until_it_answers(&self) {
        let begin = SystemTime::now();
        while begin.elapsed().unwrap_or_default() < START_LIMIT {
            if self.dir.join("pid").exists() && answers(self.addr) {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.dir.join("stdout.log")).unwrap_or_default();
        panic!("RabbitMQ does not answer after {START_LIMIT:?}; it printed:\n{log}");
    }
}

impl Rabbit {
    /// Ends the node and its guardian; false when they are not this value's to end.
    fn reap(&mut self) -> bool {
        let Some(mut guardian) = self.guardian.take() else {
            return false;
        };
        let pid = fs::read_to_string(self.dir.join("pid")).unwrap_or_default();
        signal("-KILL", &format!("-{}", guardian.id()));
        let _reaped = guardian.wait();
        let begin = SystemTime::now();
        while !pid.is_empty()
            && Path::new("/proc").join(pid.trim()).exists()
            && begin.elapsed().unwrap_or_default() < END_LIMIT
        {
            sleep(Duration::from_millis(20));
        }
        true
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        if self.reap() {
            let _removed = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Everything a node or its command line needs so that it looks at `dir` and at nothing else.
fn environment<'a>(
    command: &'a mut Command,
    dir: &Path,
    node: &str,
    epmd_port: u16,
    port: u16,
) -> &'a mut Command {
    let path = |name: &str| dir.join(name);
    command
        .env("HOME", dir)
        .env("DIR", dir)
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", node)
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", path("generated"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_PID_FILE", path("pid"))
        .env(
            "RABBITMQ_CTL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1}",
        )
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1}",
        )
}

fn answers(addr: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut socket) = TcpStream::connect_timeout(&addr, Duration::from_secs(1)) else {
        return false;
    };
    let _set = socket.set_read_timeout(Some(Duration::from_secs(2)));
    let mut first = [0];
    socket.write_all(b"AMQP\0\0\x09\x01").is_ok()
        && socket.read_exact(&mut first).is_ok()
        && first == [1]
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Sends a signal to a process, or to a group; one that is gone is no error.
pub(crate) fn signal(name: &str, target: &str) {
    let _gone = Command::new("kill")
        .args([name, "--", target])
        .stderr(Stdio::null())
        .status();
}

/// When a process began, in clock ticks after boot: a process id alone comes back.
fn started(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the owner runs");
    let after_name = stat.rsplit(')').next().expect("a name in brackets");
    after_name
        .split(' ')
        .nth(20)
        .expect("a start time")
        .to_owned()
}

fn unique() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock after 1970");
    format!("{}-{}", std::process::id(), now.as_nanos())
}

#[test]
fn a_private_node_starts_answers_and_ends() {
    let mut rabbit = Rabbit::private();
    let (pid, dir) = (rabbit.pid(), rabbit.dir.clone());
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    assert!(rabbit.ctl(&["list_vhosts"]).contains("second"));
    rabbit.pause();
    assert!(!answers(rabbit.addr()), "a paused node does not answer");
    rabbit.resume();
    rabbit.stop();
    rabbit.restart();
    let pid = rabbit.pid();
    rabbit.kill();
    drop(rabbit);
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "the node is gone"
    );
    assert!(!dir.exists(), "and so is its folder");
}
