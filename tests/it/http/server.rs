//! A server on a free port, with substitutes for the rooms that it asks, and a client that
//! writes what it likes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use musterd::{
    api::{
        Defaults, HealthReport, LimitUse, MigrationCanary, MigrationDraft, MigrationGuard,
        MigrationMode, MigrationRefusal, MigrationReport, OpenWatcher, ReadyPart, Setting,
        TransportReport, WatcherAnswer, WatcherDraft,
    },
    catalog::{Caller, Catalog, Door, Register},
    http::{
        self, Config, Deps, HttpApp, Migrations, Probes, Readiness, SystemParts, Transports,
        WatcherError, Watchers,
    },
    kv::KvStore,
    model::{Cursor, FlagError, FlagState, Mode, Modes, Standing, Timestamp},
    registry::{self, Notices, Registry},
    security::Identities,
    telemetry::Metrics,
    transport::Flag,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Longer than anything here may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The substitutes. A probe takes 300 ms.
#[derive(Debug)]
struct Stage {
    registry: Registry,
    flag: Flag,
}

impl Probes for Stage {
    fn check_now<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<HealthReport>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Probes::report(self, id)
        })
    }

    fn report_standing(&self, _: &str, _: &str, _: Standing, _: &str) -> bool {
        false
    }

    fn report(&self, id: &str) -> Option<HealthReport> {
        let instance = self.registry.instance(id)?;
        Some(HealthReport {
            service_id: instance.id().clone(),
            status: instance.status(),
            timestamp: Timestamp(0),
            checks: Vec::new(),
        })
    }
}

impl Watchers for Stage {
    fn add(
        &self,
        _: &Caller,
        _: WatcherDraft,
        _: Option<Cursor>,
    ) -> BoxFuture<'_, Result<WatcherAnswer, WatcherError>> {
        let full = WatcherError::Full("there is no room".to_owned());
        Box::pin(std::future::ready(Err(full)))
    }

    fn list(&self) -> Vec<WatcherAnswer> {
        Vec::new()
    }

    fn find(&self, _: &str) -> Option<WatcherAnswer> {
        None
    }

    fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<bool, WatcherError>> {
        Box::pin(std::future::ready(Ok(false)))
    }
}

impl Transports for Stage {
    fn report(&self) -> TransportReport {
        self.flag.report()
    }

    fn flag(&self) -> FlagState {
        self.flag.state()
    }

    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>> {
        Box::pin(std::future::ready(self.flag.set(modes, only_if)))
    }
}

impl Readiness for Stage {
    fn parts(&self) -> Vec<ReadyPart> {
        Vec::new()
    }
}

impl SystemParts for Stage {
    fn limits(&self) -> Vec<LimitUse> {
        Vec::new()
    }

    fn callbacks(&self) -> Vec<OpenWatcher> {
        Vec::new()
    }

    fn settings(&self) -> Arc<Vec<Setting>> {
        Arc::default()
    }
}

impl Migrations for Stage {
    fn report(&self) -> MigrationReport {
        MigrationReport {
            state: "idle",
            mode: MigrationMode::Auto,
            modes: Modes::all(Mode::Direct),
            phase: None,
            waits_for: Vec::new(),
            soak_left_ms: None,
            phases: Vec::new(),
            baseline: Vec::new(),
            guard: MigrationGuard {
                setting: "off",
                rules: Vec::new(),
            },
            canary: MigrationCanary::default(),
            rollback: None,
            pending_return: None,
            history: Vec::new(),
            notices: Vec::new(),
            timestamp: Timestamp(0),
        }
    }

    fn ask(&self, _: MigrationDraft) -> Result<(), MigrationRefusal> {
        Err(MigrationRefusal("there is no broker".to_owned()))
    }
}

/// A server that runs until it is stopped or the test ends.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) stop: CancellationToken,
    pub(super) registry: Registry,
    tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(config: Config) -> Self {
        let config = Config {
            listen: "127.0.0.1:0".to_owned(),
            ..config
        };
        let registry = Registry::new(registry::Config::default());
        let stage = Arc::new(Stage {
            flag: Flag::new(Modes::all(Mode::Direct), registry.clone()),
            registry: registry.clone(),
        });
        let rooms = Deps {
            broker_users: None,
            registry: registry.clone(),
            metrics: Metrics::default(),
            defaults: Defaults::default(),
            probes: Arc::<Stage>::clone(&stage),
            watchers: Arc::<Stage>::clone(&stage),
            readiness: Arc::<Stage>::clone(&stage),
            transports: Arc::<Stage>::clone(&stage),
            snapshots: None,
            system: Arc::<Stage>::clone(&stage),
            migration: stage,
            notices: Arc::new(Notices::new(1)),
            identities: Identities::default(),
            broker: None,
            kv: KvStore::without_writer(registry.clock().clone()),
        };
        let bound = http::bind(&config).await.unwrap();
        let address = bound.local_addr();
        let app = HttpApp::new(config, rooms).unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(app.serve(vec![bound], stop.clone()));
        Self {
            address,
            stop,
            registry,
            tasks,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops the server and waits until it has.
    pub(super) async fn stopped(mut self) {
        self.stop.cancel();
        let joined = timeout(PATIENCE, self.tasks.join_next()).await;
        joined.expect("stops in time").unwrap().unwrap();
    }

    pub(super) async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.address).await.unwrap())
    }

    /// Registers instances with this much metadata each.
    pub(super) fn fill(&self, service: &str, count: usize, bytes: usize) {
        let catalog = Catalog::new(self.registry.clone());
        for n in 0..count {
            let body = format!(
                r#"{{"service_id":"{service}-{n}","service_name":"{service}","host":"h","port":1,"metadata":{{"k":"{}"}}}}"#,
                "x".repeat(bytes)
            );
            let parsed = musterd::api::registration(body.as_bytes(), &Defaults::default());
            let command = Register {
                registration: parsed.unwrap().registration,
                incarnation: None,
            };
            let registered = catalog.write(&Caller::by(Door::Embedding), command);
            registered.now().expect("a journal in memory").unwrap();
        }
    }
}

/// A connection on which anything can be written.
#[derive(Debug)]
pub(super) struct Raw(pub(super) TcpStream);

impl Raw {
    pub(super) async fn write(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    /// Everything up to the end of the connection.
    pub(super) async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut all)).await;
        read.expect("the server hangs up in time").ok();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Everything up to and with the first `end`.
    pub(super) async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await;
            let byte = byte.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&all)));
            let received = String::from_utf8_lossy(&all).into_owned();
            all.push(byte.unwrap_or_else(|error| panic!("{error} after {received:?}")));
        }
        String::from_utf8(all).unwrap()
    }

    /// The head of an answer and its body.
    pub(super) async fn answer(&mut self) -> (String, String) {
        let head = self.until("\r\n\r\n").await;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        let read = timeout(PATIENCE, self.0.read_exact(&mut body)).await;
        read.expect("a body in time").unwrap();
        (head, String::from_utf8(body).unwrap())
    }
}
