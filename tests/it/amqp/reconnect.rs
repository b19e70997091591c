//! Unmodified clients (pika, amqplib) across restarts of the broker: one in good order, one by SIGKILL. Both brokers
//! give both clients the same answers.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::clients::{from_setup, script};
use super::restart::Restarted;
use super::target::{Kind, target};
use crate::rabbitmq::Rabbit;

/// What each client writes.
const TRANSCRIPT: &str = include_str!("clients/restart.transcript");

/// A broker of the test's own with its data on disk, of the kind under test.
enum Durable {
    Musterd(Restarted),
    RabbitMq(Rabbit),
}

impl Durable {
    fn start() -> Self {
        match target().kind {
            Kind::Musterd => Self::Musterd(Restarted::start()),
            Kind::RabbitMq => Self::RabbitMq(Rabbit::private()),
        }
    }

    fn url(&self) -> String {
        let addr: SocketAddr = match self {
            Self::Musterd(musterd) => musterd.addr(),
            Self::RabbitMq(rabbit) => rabbit.addr(),
        };
        format!("amqp://guest:guest@{addr}/%2f")
    }

    /// Stops it in good order and starts it again on the same data.
    fn restart(&mut self) {
        match self {
            Self::Musterd(musterd) => musterd.restart(),
            Self::RabbitMq(rabbit) => {
                rabbit.stop();
                rabbit.restart();
            }
        }
    }

    /// Ends it by SIGKILL and starts it again on the same data.
    fn kill(&mut self) {
        match self {
            Self::Musterd(musterd) => musterd.kill(),
            Self::RabbitMq(rabbit) => {
                rabbit.kill();
                rabbit.restart();
            }
        }
    }
}

/// A client's script, which runs; ended with the value.
struct Script {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    transcript: String,
}

impl Script {
    fn start(mut command: Command, name: &'static str, url: &str) -> Self {
        command.arg(script(name)).arg(url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            name,
            child,
            input,
            output,
            transcript: String::new(),
        }
    }

    /// Waits until it has written this line.
    fn wait_for(&mut self, wanted: &str) {
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).unwrap();
            self.transcript.push_str(&line);
            let (name, transcript) = (self.name, &self.transcript);
            assert!(length > 0, "{name} ends before \"{wanted}\":\n{transcript}");
            if line.trim_end() == wanted {
                return;
            }
        }
    }

    fn answer(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits for its end.
    fn finish(mut self) -> String {
        self.wait_for("ok");
        assert!(self.child.wait().unwrap().success(), "{}", self.name);
        std::mem::take(&mut self.transcript)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn pika_and_amqplib_find_again_what_is_durable() {
    let mut broker = Durable::start();
    let python = Command::new(from_setup("python/bin/python"));
    let mut node = Command::new("node");
    node.env("NODE_PATH", from_setup("node_modules"));
    let mut scripts = [(node, "restart.js"), (python, "restart.py")]
        .map(|(command, name)| Script::start(command, name, &broker.url()));
    for (line, restart) in [
        ("> stop", Durable::restart as fn(&mut Durable)),
        ("> kill", Durable::kill),
    ] {
        for script in &mut scripts {
            script.wait_for(line);
        }
        restart(&mut broker);
        for script in &mut scripts {
            script.answer(&broker.url());
        }
    }
    for script in scripts {
        let (name, transcript) = (script.name, script.finish());
        let written: Vec<_> = transcript.lines().collect();
        let expected: Vec<_> = TRANSCRIPT.lines().collect();
        assert_eq!(written, expected, "{name}");
    }
}
