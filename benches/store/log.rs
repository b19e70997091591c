//! How fast are persistent messages written, and how fast does a log with many of them open?
//!
//! Only the broker's log of messages, without sockets: 1 KB messages, each confirmed after its fsync.

use std::{error::Error, fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use musterd::broker::{
    memory::Memory,
    message::{InboundMessage, Message},
    message_log::{MessageLog, MessageLogOptions, QueuePlace, ReadLimits},
    wire::{ShortStr, properties::PropertyList},
};
use parking_lot::{Condvar, Mutex};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::options::{Options, folder};

const BODY: usize = 1000;
const MANY: u64 = 1_000_000;
/// The position of a queue's first message.
const FIRST: u64 = 1 << 63;

pub(crate) const NAMES: [&str; 3] = [
    "appends, window 1",
    "appends, window 256",
    "open with 1,000,000 messages",
];

/// What a case runs, in a new folder.
type Case = fn(&Path) -> Outcome;
type Outcome = Result<(), Box<dyn Error>>;

/// Has no targets.
pub(crate) fn run(options: &Options) -> bool {
    let cases: [Case; 3] = [
        |folder| appends(folder, 1, 2000),
        |folder| appends(folder, 256, 200_000),
        many,
    ];
    for (name, run) in NAMES.into_iter().zip(cases) {
        if options.wants(name) {
            println!("{name}");
            run(folder().path()).expect("a log that can be written and read");
        }
    }
    true
}

/// What has been confirmed, and who waits for it.
#[derive(Default)]
struct Confirmed {
    position: Mutex<u64>,
    moved: Condvar,
}

impl Confirmed {
    /// Waits until this position is durable.
    fn wait(&self, position: u64) {
        let mut confirmed = self.position.lock();
        while *confirmed < position {
            self.moved.wait(&mut confirmed);
        }
    }
}

fn open(folder: &Path) -> Result<(MessageLog, Arc<Confirmed>), Box<dyn Error>> {
    let (log, _) = MessageLog::open(folder, MessageLogOptions::default())?;
    let confirmed = Arc::<Confirmed>::default();
    let to = Arc::clone(&confirmed);
    log.on_durable(move |position| {
        *to.position.lock() = position;
        to.moved.notify_all();
    });
    Ok((log, confirmed))
}

fn message() -> Arc<Message> {
    let properties = PropertyList {
        delivery_mode: Some(2),
        ..PropertyList::default()
    };
    let mut inbound = InboundMessage::new(
        ShortStr::from_static("amq.direct"),
        ShortStr::from_static("bench"),
        properties.build(),
        Bytes::from(vec![7; BODY]),
    );
    inbound.persistent = true;
    inbound.keep(&Memory::new(usize::MAX), &ShortStr::EMPTY)
}

fn place(n: u64) -> QueuePlace {
    QueuePlace {
        queue: 1,
        position: FIRST + n,
        deadline: None,
    }
}

/// One publisher with so many unconfirmed messages at most.
fn appends(folder: &Path, window: u64, count: u64) -> Outcome {
    let (log, confirmed) = open(folder)?;
    let message = message();
    let mut sent = Vec::new();
    let mut took = Vec::new();
    let (start, cpu) = (Instant::now(), cpu_time());
    for n in 0..count {
        if let Some(oldest) = n.checked_sub(window) {
            confirmed.wait(oldest + 1);
        }
        sent.push(Instant::now());
        let position = log.append(&message, &[place(n)]);
        log.request_durable(position);
        if window == 1 {
            confirmed.wait(position);
            took.push(sent[sent.len() - 1].elapsed());
        }
    }
    confirmed.wait(count);
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu);
    let stats = log.stats();
    let rate = rate(count, elapsed);
    println!("  {rate:.0} messages/s, {} fsyncs", stats.syncs);
    println!("  {:.2} us of CPU per message", micros(cpu) / figure(count));
    if !took.is_empty() {
        took.sort_unstable();
        let at = |share: usize| micros(took[(took.len() * share / 100).min(took.len() - 1)]);
        println!(
            "  confirmed after {:.0} us (p50), {:.0} us (p99)",
            at(50),
            at(99)
        );
    }
    Ok(log.close()?)
}

/// A start with many messages; then all of them are read and settled.
fn many(folder: &Path) -> Outcome {
    let (log, _) = open(folder)?;
    let message = message();
    let start = Instant::now();
    for n in 0..MANY {
        log.append(&message, &[place(n)]);
        while log.pending_bytes() > 64 << 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    log.close()?;
    println!("  written in {:.2} s", start.elapsed().as_secs_f64());
    drop(log);
    let (before, start) = (resident_bytes()?, Instant::now());
    let (log, recovered) = MessageLog::open(folder, MessageLogOptions::default())?;
    let took = start.elapsed().as_secs_f64();
    let queued: u64 = recovered.queues.iter().map(|queue| queue.messages).sum();
    let grown = resident_bytes()?.saturating_sub(before);
    println!("  {queued} messages opened in {took:.2} s");
    println!("  {} MB more of memory", grown >> 20);
    let start = Instant::now();
    let limits = ReadLimits::default();
    let mut next = FIRST;
    loop {
        let part = log.read_from(1, next..=u64::MAX, limits)?;
        let Some(last) = part.last() else { break };
        log.settle_all(1, next..=last.position);
        next = last.position + 1;
    }
    println!(
        "  read back and settled: {:.0}/s",
        rate(queued, start.elapsed())
    );
    log.close()?;
    let left: u64 = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    println!("  {} MB of files are left", left >> 20);
    Ok(())
}

fn rate(count: u64, took: Duration) -> f64 {
    figure(count) / took.as_secs_f64()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
fn figure(count: u64) -> f64 {
    count as f64
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).ok_or("no resident size")?;
    Ok(pages.parse::<u64>()? * 4096)
}
