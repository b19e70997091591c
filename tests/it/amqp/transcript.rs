//! Plays a transcript: lines that clients send and lines that the broker answers.
//!
//! ```text
//! == title of a case; connection a is open, with channel 1
//! a> queue.declare queue=$q          a sends on channel 1; $ becomes a prefix of this case's own
//! a< queue.declare-ok queue=$q …     the next line a receives on channel 1; … matches any text
//! open b user=mine                   another connection, channel 1 open; `bare` opens no channel
//! login b password=wrong             the handshake as far as it goes; its last answer is received on channel 0
//! connect b                          only the socket
//! b>bytes 414d5150                   octets as they are
//! b>frame 1 0 0a0b                   frame type, channel, payload
//! b>0 connection.close-ok            channel 0
//! b< eof                             the peer has closed
//! wait 100                           milliseconds
//! a> basic.publish … &               a recording sends the next line without waiting for answers to this one
//! settle 100                         the same, but only while recording
//! drop b                             the socket closes without a word
//! a< acked 1 2                       publisher confirms, however they are grouped
//! R: a< …     M: a< …                only with RabbitMQ, only with musterd
//! ```
//!
//! At the end of a case every connection that is still open is closed, and nothing may have come that the
//! transcript does not name. `RECORD=1` against RabbitMQ writes its answers into the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use super::client::{Client, Login};
use super::codec::field;
use super::target::{Kind, Target, target};
use super::text::{Cursor, matches};

/// How long nothing may come before a recording takes the answer for complete.
const SILENCE: Duration = Duration::from_millis(150);

/// Plays all cases of a file; reports every case that fails.
pub(super) fn play(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/amqp/transcripts")
        .join(name);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (head, cases) = split(&text);
    assert!(!cases.is_empty(), "'{name}' has no case");
    let target = target();
    if std::env::var_os("RECORD").is_some() {
        assert_eq!(
            target.kind,
            Kind::RabbitMq,
            "only RabbitMQ's answers are worth recording"
        );
        let recorded: String = cases
            .iter()
            .map(|case| Stage::new(target).record(case))
            .collect();
        fs::write(path, head.to_owned() + &recorded).unwrap();
        return;
    }
    let failures: Vec<_> = cases
        .iter()
        .filter_map(|case| failure(target, case))
        .collect();
    let (failed, all) = (failures.len(), cases.len());
    assert!(
        failures.is_empty(),
        "{name}: {failed} of {all} cases fail\n\n{}",
        failures.join("\n\n")
    );
}

fn split(text: &str) -> (&str, Vec<&str>) {
    let starts: Vec<_> = text
        .match_indices("== ")
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || text[..*at].ends_with('\n'))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let cases = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &text[*start..end])
        .collect();
    (
        &text[..starts.first().copied().unwrap_or(text.len())],
        cases,
    )
}

/// A case that fails says its title, the step and what came instead.
fn failure(target: &'static Target, case: &str) -> Option<String> {
    let outcome = std::panic::catch_unwind(|| {
        let mut stage = Stage::new(target);
        let failed = stage.replay(case);
        stage.tidy();
        failed
    });
    let title = case.lines().next().unwrap_or_default();
    match outcome {
        Ok(None) => None,
        Ok(Some(reason)) => Some(format!("{title}\n{reason}")),
        Err(panic) => {
            let reason = panic
                .downcast_ref::<String>()
                .cloned()
                .unwrap_or_else(|| "a panic".to_owned());
            Some(format!("{title}\n{reason}"))
        }
    }
}

struct Stage {
    target: &'static Target,
    prefix: String,
    clients: BTreeMap<String, Client>,
    /// Queues and exchanges to delete afterwards, with their vhost.
    declared: BTreeSet<(String, String)>,
    vhosts: BTreeMap<String, String>,
    /// Whether `settle` waits.
    patient: bool,
    dead_letters: bool,
}

impl Stage {
    fn new(target: &'static Target) -> Self {
        let prefix = format!("t{:08x}-", fastrand::u32(..));
        Self {
            target,
            prefix,
            clients: BTreeMap::new(),
            declared: BTreeSet::new(),
            vhosts: BTreeMap::new(),
            patient: false,
            dead_letters: false,
        }
    }

    /// The step of a line, if it is one for this broker.
    fn step<'a>(&self, line: &'a str) -> Option<&'a str> {
        let step = match self.target.kind {
            Kind::RabbitMq => line.strip_prefix("R: ").unwrap_or(line),
            Kind::Musterd => line.strip_prefix("M: ").unwrap_or(line),
        };
        let other = step.starts_with("M: ") || step.starts_with("R: ");
        (!other && !step.is_empty() && !step.starts_with('#') && !step.starts_with("== "))
            .then_some(step)
    }

    fn begin(&mut self, case: &str) {
        self.dead_letters = case.contains("x-dead-letter-exchange");
        let first = case
            .lines()
            .find_map(|line| self.step(line))
            .unwrap_or_default();
        if !["open a", "login a", "connect a"]
            .iter()
            .any(|words| first.starts_with(words))
        {
            self.act("open a");
        }
    }

    fn replay(&mut self, case: &str) -> Option<String> {
        self.begin(case);
        for line in case.lines() {
            let Some(step) = self.step(line) else {
                continue;
            };
            match expectation(step) {
                None => {
                    self.let_it_settle(step);
                    self.act(step);
                }
                Some((name, channel, wanted)) => {
                    let came = self.next(name, channel, wanted);
                    if !matches(wanted, &came) {
                        return Some(format!("wanted: {step}\n  came: {name}< {came}"));
                    }
                }
            }
        }
        self.leftovers()
    }

    /// RabbitMQ's queues answer for counts and heads while publishes to them are still on their way;
    /// nobody promises when a dead letter arrives.
    fn let_it_settle(&self, step: &str) {
        let looks = step.contains("basic.get") || step.contains(" passive");
        if looks && (self.target.kind == Kind::RabbitMq || self.dead_letters) {
            sleep(SILENCE);
        }
    }

    fn next(&mut self, name: &str, channel: u16, wanted: &str) -> String {
        let prefix = self.prefix.clone();
        let client = self.client(name);
        let verb = wanted.split(' ').next().unwrap_or_default();
        if verb != "acked" && verb != "nacked" {
            return client.receive(channel).replace(&prefix, "$");
        }
        let count = wanted.split(' ').count() - 1;
        let mut tags = BTreeSet::new();
        while tags.len() < count {
            let (came, settled) = client.confirm(channel);
            tags.extend(settled);
            if came != verb {
                return format!("{came} {tags:?}");
            }
        }
        tags.iter()
            .fold(verb.to_owned(), |line, tag| format!("{line} {tag}"))
    }

    /// Closes what is open; anything that came and was not named is a failure.
    fn leftovers(&mut self) -> Option<String> {
        for (name, client) in &mut self.clients {
            let lines = client.close();
            if let Some((channel, line)) = lines.first() {
                let line = line.replace(&self.prefix, "$");
                return Some(format!(
                    "not wanted: {name}<{channel} {line} (and {} more)",
                    lines.len() - 1
                ));
            }
        }
        None
    }

    /// Plays the steps and writes after each group of them what came.
    fn record(mut self, case: &str) -> String {
        self.patient = true;
        self.begin(case);
        let mut out = String::new();
        let mut lines = case.lines().peekable();
        while let Some(line) = lines.next() {
            let is_answer = |line: &str| {
                expectation(line.trim_start_matches("R: ").trim_start_matches("M: ")).is_some()
            };
            if is_answer(line) {
                if line.starts_with("M: ") {
                    out.push_str(line);
                    out.push('\n');
                }
            } else {
                out.push_str(line);
                out.push('\n');
                if let Some(step) = self.step(line) {
                    self.act(step);
                }
            }
            if !is_answer(line) && self.step(line).is_some_and(|step| !step.ends_with(" &")) {
                let group = lines
                    .clone()
                    .take_while(|next| is_answer(next) || next.contains("settle "));
                let ours_follows = group.into_iter().any(|next| next.starts_with("M: "));
                self.write_what_came(&mut out, if ours_follows { "R: " } else { "" });
            }
        }
        self.tidy();
        out
    }

    fn write_what_came(&mut self, out: &mut String, mark: &str) {
        for (name, client) in &mut self.clients {
            let ended = client.ended();
            for (channel, line) in client.drain(SILENCE) {
                let channel = if channel == 1 {
                    String::new()
                } else {
                    channel.to_string()
                };
                let line = normal(&line.replace(&self.prefix, "$"));
                out.push_str(&format!("{mark}{name}<{channel} {line}\n"));
            }
            if client.ended() && !ended {
                out.push_str(&format!("{mark}{name}<0 eof\n"));
            }
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients
            .get_mut(name)
            .unwrap_or_else(|| panic!("no connection '{name}'"))
    }

    fn act(&mut self, step: &str) {
        let step = step.trim_end_matches(" &");
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "open" | "login" => return self.log_in(verb, rest),
            "connect" => {
                self.clients
                    .insert(rest.to_owned(), Client::connect(self.target.addr));
                return;
            }
            "drop" => {
                self.clients.remove(rest);
                return;
            }
            "settle" if self.patient => return sleep(Duration::from_millis(rest.parse().unwrap())),
            "settle" => return,
            "wait" => return sleep(Duration::from_millis(rest.parse().unwrap())),
            _ => {}
        }
        let (name, what) = verb
            .split_once('>')
            .unwrap_or_else(|| panic!("not a step: {step}"));
        let line = rest.replace('$', &self.prefix);
        match what {
            "bytes" => self.client(name).write(&hexadecimal(rest)),
            "frame" => {
                let mut words = rest.splitn(3, ' ');
                let mut next = || words.next().unwrap_or_default();
                let (kind, channel, payload) = (
                    next().parse().unwrap(),
                    next().parse().unwrap(),
                    hexadecimal(next()),
                );
                self.client(name).send_frame(kind, channel, &payload);
            }
            channel => {
                self.note(name, &line);
                let channel = if channel.is_empty() {
                    1
                } else {
                    channel.parse().unwrap()
                };
                self.client(name).send(channel, &line);
            }
        }
    }

    fn log_in(&mut self, verb: &str, options: &str) {
        let mut words = options.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let (mut login, mut bare) = (Login::default(), false);
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("user", user) => (login.user, login.password) = (user.to_owned(), user.to_owned()),
                ("password", password) => password.clone_into(&mut login.password),
                ("vhost", vhost) => vhost.clone_into(&mut login.vhost),
                ("channel-max", number) => login.channel_max = number.parse().unwrap(),
                ("frame-max", number) => login.frame_max = number.parse().unwrap(),
                ("heartbeat", number) => login.heartbeat = number.parse().unwrap(),
                ("incapable", _) => login.capable = false,
                ("bare", _) => bare = true,
                (other, _) => panic!("no option '{other}'"),
            }
        }
        self.vhosts.insert(name.clone(), login.vhost.clone());
        let client = match verb {
            "login" => {
                let mut client = Client::connect(self.target.addr);
                let last = client.handshake(&login);
                client.unreceive(0, last);
                client
            }
            _ => Client::open(self.target.addr, &login),
        };
        self.clients.insert(name.clone(), client);
        let client = self.client(&name);
        if verb == "open" && !bare {
            assert_eq!(client.call(1, "channel.open"), "channel.open-ok");
        }
    }

    fn note(&mut self, name: &str, line: &str) {
        let vhost = self.vhosts.get(name).cloned().unwrap_or_default();
        let delete = match line.split(' ').next() {
            Some("queue.declare") => format!("queue.delete queue='{}'", field(line, "queue")),
            Some("exchange.declare") => {
                format!("exchange.delete exchange='{}'", field(line, "exchange"))
            }
            _ => return,
        };
        if line.contains(&self.prefix) {
            self.declared.insert((vhost, delete));
        }
    }

    /// Deletes what the case declared: the broker may live longer than the test.
    fn tidy(&mut self) {
        self.clients.clear();
        let declared = std::mem::take(&mut self.declared);
        for (vhost, delete) in declared.iter().filter(|(vhost, _)| !vhost.is_empty()) {
            let login = Login {
                vhost: vhost.clone(),
                ..Login::default()
            };
            let mut client = Client::open(self.target.addr, &login);
            client.call(1, "channel.open");
            client.send(1, delete);
            client.close();
        }
    }
}

/// `a<2 line` as its parts.
fn expectation(step: &str) -> Option<(&str, u16, &str)> {
    let (verb, line) = step.split_once(' ')?;
    let (name, channel) = verb.split_once('<')?;
    let channel = if channel.is_empty() {
        1
    } else {
        channel.parse().ok()?
    };
    Some((name, channel, line))
}

fn hexadecimal(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}

/// What differs from run to run becomes `…`: generated names, times.
fn normal(line: &str) -> String {
    if line.starts_with("connection.start ") {
        return "connection.start …".to_owned();
    }
    let mut out = line.to_owned();
    for made in ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to.", "time=T"] {
        let mut from = 0;
        while let Some(at) = out[from..].find(made) {
            let start = from + at + made.len();
            let mut rest = Cursor(&out[start..]);
            let word = rest.word_text();
            let word = word.trim_end_matches('\'');
            out.replace_range(start..start + word.len(), "…");
            from = start;
        }
    }
    out
}
