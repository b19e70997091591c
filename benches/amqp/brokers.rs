//! The two brokers that are compared, each in a separate process, so that /proc has separate figures.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::process::{cpu_us, resident};
use crate::rabbitmq::Rabbit;

/// A running broker.
pub(crate) enum Broker {
    Musterd(Embedded),
    RabbitMq(Rabbit),
}

impl Broker {
    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Musterd(embedded) => embedded.addr,
            Self::RabbitMq(rabbit) => rabbit.addr(),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Musterd(embedded) => embedded.child.id(),
            Self::RabbitMq(rabbit) => rabbit.pid(),
        }
    }

    /// CPU time the process has used so far, in µs.
    pub(crate) fn cpu_us(&self) -> f64 {
        cpu_us(self.pid())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> f64 {
        resident(&self.pid().to_string())
    }
}

/// musterd's broker in a child process, which this program is when it is called with `--serve ADDRESS`.
pub(crate) struct Embedded {
    child: Child,
    addr: SocketAddr,
    /// What the broker added to the process when it started, in bytes.
    pub(crate) added: f64,
}

impl Embedded {
    pub(crate) fn start() -> Self {
        Self::spawn("--serve")
    }

    /// What answers without being a broker.
    pub(crate) fn fixed() -> Self {
        Self::spawn("--serve-fixed")
    }

    fn spawn(what: &str) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(program)
            .args([what, "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs once more");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a piped stdout");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the child's address");
        let (addr, added) = line.trim().split_once(' ').expect("an address and a size");
        Self {
            addr: addr.parse().expect("the child's address"),
            added: added.parse().expect("a number of bytes"),
            child,
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
