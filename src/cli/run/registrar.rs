//! The instance of `musterd run` at the daemon: registered when the command is ready, renewed, drained, removed.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::{mpsc::Sender, oneshot},
    time::Instant,
};

use super::{RunArguments, say};
use crate::cli::{
    ask::{Daemon, encoded, shown},
    outcome::CliError,
};

/// How often the command is tested until it is ready.
const READY_PAUSE: Duration = Duration::from_millis(100);
/// The longest that one test takes.
const READY_PATIENCE: Duration = Duration::from_millis(500);
/// The first and the longest pause between two attempts at the daemon.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// When the command is ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ReadyTest {
    /// The port accepts a connection.
    Tcp,
    /// This path answers with a 2xx.
    Http(String),
    /// At once.
    None,
}

impl ReadyTest {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "tcp" => Ok(Self::Tcp),
            None if text == "none" => Ok(Self::None),
            Some(("http", path))
                if path.starts_with('/') && !path.contains(char::is_whitespace) =>
            {
                Ok(Self::Http(path.to_owned()))
            }
            _ => Err("write it as tcp, http:/path or none".to_owned()),
        }
    }

    fn passes(&self, host: &str, port: u16) -> bool {
        let path = match self {
            Self::None => return true,
            Self::Tcp => None,
            Self::Http(path) => Some(path),
        };
        let Ok(mut addresses) = (host, port).to_socket_addrs() else {
            return false;
        };
        addresses.any(|address| {
            let connected = TcpStream::connect_timeout(&address, READY_PATIENCE);
            match (connected, path) {
                (Ok(_), None) => true,
                (Ok(stream), Some(path)) => answers(stream, path).unwrap_or(false),
                (Err(_), _) => false,
            }
        })
    }
}

/// Whether the path has a 2xx.
fn answers(mut stream: TcpStream, path: &str) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(READY_PATIENCE))?;
    stream.set_write_timeout(Some(READY_PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head[8..10] == *b" 2")
}

/// What the supervisor wants.
#[derive(Debug)]
pub(super) enum RegistrarRequest {
    /// The command has been started.
    Begin,
    /// Take the instance out of discovery, for this reason.
    Drain(String, oneshot::Sender<()>),
    /// The command has ended: remove the instance.
    End(oneshot::Sender<()>),
}

/// What the supervisor has to know.
#[derive(Debug)]
pub(super) enum RegistrarNotice {
    /// The instance cannot be registered.
    Failed(String),
}

#[derive(Clone, Copy, Debug)]
enum RegistrarPhase {
    /// Nothing runs.
    Idle,
    /// The command is not ready; it may take until then.
    Starting(Instant),
    /// Ready, and not registered yet.
    Registering,
    Registered(u64),
    /// Another process has the id.
    Replaced,
}

/// Speaks with the daemon, on a thread of its own.
#[derive(Debug)]
pub(super) struct Registrar<'a> {
    daemon: Daemon<'a>,
    body: Value,
    path: String,
    host: String,
    port: u16,
    ready: ReadyTest,
    ready_timeout: Duration,
    heartbeat: Duration,
    notices: Sender<RegistrarNotice>,
    phase: RegistrarPhase,
    pause: Duration,
    /// The daemon is away, which was said.
    away: bool,
}

impl<'a> Registrar<'a> {
    pub(super) fn new(
        mut daemon: Daemon<'a>,
        body: Value,
        arguments: &RunArguments,
        notices: Sender<RegistrarNotice>,
    ) -> Self {
        daemon.timeout = daemon.timeout.min(Duration::from_secs(5));
        let id = shown(&body, "service_id");
        Self {
            daemon,
            body,
            path: format!("/services/{}", encoded(&id)),
            host: arguments.instance.host.clone(),
            port: arguments.port,
            ready: arguments.ready.clone(),
            ready_timeout: arguments.ready_timeout,
            heartbeat: (arguments.ttl / 3).max(READY_PAUSE),
            notices,
            phase: RegistrarPhase::Idle,
            pause: PAUSES[0],
            away: false,
        }
    }

    /// Works until the supervisor has ended.
    pub(super) fn serve(mut self, requests: &Receiver<RegistrarRequest>) {
        let mut wait = Duration::ZERO;
        loop {
            let request = match self.phase {
                RegistrarPhase::Idle | RegistrarPhase::Replaced => {
                    requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
                _ => requests.recv_timeout(wait),
            };
            wait = match request {
                Ok(request) => {
                    self.handle(request);
                    Duration::ZERO
                }
                Err(RecvTimeoutError::Timeout) => self.step(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }

    fn handle(&mut self, request: RegistrarRequest) {
        match request {
            RegistrarRequest::Begin => {
                self.phase = RegistrarPhase::Starting(Instant::now() + self.ready_timeout);
                self.pause = PAUSES[0];
            }
            RegistrarRequest::Drain(reason, reply) => {
                if let RegistrarPhase::Registered(_) = self.phase {
                    let body = json!({"status": "stopping", "reason": reason});
                    self.try_ask("PUT", "/override", Some(&body));
                }
                self.phase = match self.phase {
                    RegistrarPhase::Registered(incarnation) => {
                        RegistrarPhase::Registered(incarnation)
                    }
                    // It is not registered any more while it stops.
                    _ => RegistrarPhase::Idle,
                };
                // The supervisor may have stopped waiting.
                let _ = reply.send(());
            }
            RegistrarRequest::End(reply) => {
                if let RegistrarPhase::Registered(incarnation) = self.phase {
                    self.try_ask("DELETE", &format!("?incarnation={incarnation}"), None);
                    say("deregistered");
                }
                self.phase = RegistrarPhase::Idle;
                let _ = reply.send(());
            }
        }
    }

    /// Asks once; what fails is said.
    fn try_ask(&self, method: &str, rest: &str, body: Option<&Value>) {
        let path = format!("{}{rest}", self.path);
        if let Err(error) = self.daemon.send((method, &path), body, "") {
            say(&error.message);
        }
    }

    /// Does what is due; answers when the next step is.
    fn step(&mut self) -> Duration {
        match self.phase {
            RegistrarPhase::Idle | RegistrarPhase::Replaced => Duration::ZERO,
            RegistrarPhase::Starting(deadline) => self.test(deadline),
            RegistrarPhase::Registering => self.register(),
            RegistrarPhase::Registered(incarnation) => self.renew(incarnation),
        }
    }

    fn test(&mut self, deadline: Instant) -> Duration {
        if self.ready.passes(&self.host, self.port) {
            self.phase = RegistrarPhase::Registering;
            return Duration::ZERO;
        }
        if Instant::now() >= deadline {
            let (host, port, span) = (&self.host, self.port, self.ready_timeout);
            self.fail(format!(
                "{host}:{port} is not ready after {span:?}: the command is stopped"
            ));
        }
        READY_PAUSE
    }

    fn register(&mut self) -> Duration {
        let asked = ("POST", "/services/register");
        match self.daemon.send(asked, Some(&self.body), "incarnation") {
            Ok(answer) => {
                let of = |field| shown(&answer, field);
                say(&format!(
                    "registered {}, {}",
                    of("service_id"),
                    of("status")
                ));
                self.phase =
                    RegistrarPhase::Registered(answer["incarnation"].as_u64().unwrap_or_default());
                (self.pause, self.away) = (PAUSES[0], false);
                self.heartbeat
            }
            Err(error) if !error.may_pass() => {
                self.fail(format!("{}: the command is stopped", error.message));
                Duration::ZERO
            }
            Err(error) => self.later(&error),
        }
    }

    fn renew(&mut self, incarnation: u64) -> Duration {
        let path = format!("{}/heartbeat?incarnation={incarnation}", self.path);
        match self.daemon.send(("POST", &path), None, "") {
            Ok(_) => {
                (self.pause, self.away) = (PAUSES[0], false);
                self.heartbeat
            }
            Err(error) => match error.status() {
                Some(404) => {
                    say("the daemon does not know the instance: registering again");
                    self.phase = RegistrarPhase::Registering;
                    Duration::ZERO
                }
                Some(409) => {
                    say("another process has registered this id: no more heartbeats");
                    self.phase = RegistrarPhase::Replaced;
                    Duration::ZERO
                }
                _ => self.later(&error),
            },
        }
    }

    /// The command runs on; the daemon is asked again after a pause.
    fn later(&mut self, error: &CliError) -> Duration {
        if !self.away {
            let reason = error.message.lines().next().unwrap_or_default();
            say(&format!("{reason}; trying again"));
            self.away = true;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES[1]);
        pause
    }

    fn fail(&mut self, message: String) {
        self.phase = RegistrarPhase::Idle;
        // The supervisor may have ended.
        let _ = self.notices.blocking_send(RegistrarNotice::Failed(message));
    }
}

#[cfg(test)]
mod tests {
    use super::ReadyTest;

    #[test]
    fn a_ready_test_is_tcp_http_or_none() {
        assert_eq!(ReadyTest::parse("tcp"), Ok(ReadyTest::Tcp));
        assert_eq!(ReadyTest::parse("none"), Ok(ReadyTest::None));
        assert_eq!(
            ReadyTest::parse("http:/up"),
            Ok(ReadyTest::Http("/up".to_owned()))
        );
        for wrong in ["", "http", "http:up", "http:/a b", "udp"] {
            assert!(ReadyTest::parse(wrong).is_err(), "{wrong}");
        }
    }
}
