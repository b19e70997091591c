//! How much the broker holds on behalf of clients, and when that is too much.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Bytes held, against a watermark. Publishers are blocked from the high mark until the low one.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    high: usize,
    low: usize,
    alarm: AtomicBool,
    alarms: AtomicU64,
}

impl Memory {
    /// A gauge that raises the alarm above `high`; it ends below nine tenths of it.
    pub fn new(high: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            high,
            low: high / 10 * 9,
            alarm: AtomicBool::new(false),
            alarms: AtomicU64::new(0),
        })
    }

    /// Counts bytes in.
    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Counts bytes out.
    pub fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// The mark above which publishers are blocked.
    pub fn high(&self) -> usize {
        self.high
    }

    /// How often the alarm was raised.
    pub fn alarms(&self) -> u64 {
        self.alarms.load(Relaxed)
    }

    /// Whether publishers are to be blocked; looks at the marks.
    pub fn alarm(&self) -> Alarm {
        let used = self.used();
        let alarm = self.alarm.load(Relaxed);
        if !alarm && used > self.high {
            let begins = !self.alarm.swap(true, Relaxed);
            self.alarms.fetch_add(begins.into(), Relaxed);
            return if begins { Alarm::Begins } else { Alarm::On };
        }
        if alarm && used < self.low {
            let ends = self.alarm.swap(false, Relaxed);
            return if ends { Alarm::Ends } else { Alarm::Off };
        }
        if alarm { Alarm::On } else { Alarm::Off }
    }
}

/// Whether publishers are blocked. One of those who look sees it begin, and one sees it end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alarm {
    /// They may publish.
    Off,
    /// They are blocked from now on.
    Begins,
    /// They are blocked.
    On,
    /// They may publish again from now on.
    Ends,
}

impl Alarm {
    /// Whether publishers are to be blocked.
    pub fn is_on(self) -> bool {
        matches!(self, Self::Begins | Self::On)
    }
}

/// What one connection holds outside of queues counts for it and for the broker.
#[derive(Clone, Debug)]
pub struct Account {
    own: Arc<Memory>,
    all: Arc<Memory>,
}

/// Bytes on an account, given back when it is dropped.
#[derive(Debug, Default)]
pub struct Charge {
    account: Option<Account>,
    bytes: usize,
}

impl Account {
    /// An account that may hold `limit` bytes.
    pub fn new(all: Arc<Memory>, limit: usize) -> Self {
        Self {
            own: Memory::new(limit),
            all,
        }
    }

    /// Whether more is held than may be.
    pub fn is_over(&self) -> bool {
        self.own.used() > self.own.high()
    }
}

impl Charge {
    /// Counts more bytes.
    pub fn add(&mut self, account: &Account, bytes: usize) {
        let account = self.account.get_or_insert_with(|| account.clone());
        account.own.take(bytes);
        account.all.take(bytes);
        self.bytes += bytes;
    }

    /// Bytes counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.own.give(self.bytes);
            account.all.give(self.bytes);
        }
    }
}
