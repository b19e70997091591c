//! How many bytes the broker holds for its clients, and when that is too much.
//!
//! Each object that a client makes the broker keep owns a [`Charge`] of its real size, which is given back when
//! the object is dropped. So every byte is counted once, where it is allocated. What a connection costs before
//! its client has asked for anything is not counted: `broker.limits.connections` bounds it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use bytes::Bytes;
use tokio::sync::Notify;

/// Queues, exchanges, bindings, consumers and channels may take so much however low the watermark is: without
/// them the broker could not be used.
const TOPOLOGY_MIN: usize = 16 * 1024 * 1024;
/// Messages that had begun to arrive before the alarm may take so much beyond a low watermark.
const BEYOND_MIN: usize = 64 * 1024 * 1024;
/// If an object grows and shrinks with each message, its charge follows in steps of this size. So most
/// messages change no counter that all threads share.
const STEP: usize = 512;
/// The bytes of an allocation beyond those that were asked for.
const ALLOCATION: usize = 16;
/// A body of this length or longer is sent without a copy. It has its own charge, because it may outlive the
/// message.
pub const SHARED_BODY_MIN: usize = 16 * 1024;

/// Bytes held, and a watermark. The alarm starts when more than the high mark is held and ends below nine
/// tenths of it.
#[derive(Debug)]
pub struct Memory {
    counted: HeldBytes,
    alarm: AlarmFlag,
    high: usize,
    low: usize,
    topology_max: usize,
    ceiling: usize,
    alarms: AtomicU64,
    /// Wakes the task that reports changes of the alarm.
    changed: Notify,
    /// Wakes blocked publishers.
    ended: Notify,
}

/// Written with every message: on a separate cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct HeldBytes {
    used: AtomicUsize,
    topology: AtomicUsize,
}

/// Read with every frame, seldom written: on a separate cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct AlarmFlag(AtomicU8);

/// More than the high mark is held.
const MEMORY: u8 = 1;
/// The disk is full.
const DISK: u8 = 2;

/// Why publishers are blocked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Alarms(u8);

impl Alarms {
    /// Whether too much memory is held.
    pub fn memory(self) -> bool {
        self.0 & MEMORY != 0
    }

    /// Whether the disk is full.
    pub fn disk(self) -> bool {
        self.0 & DISK != 0
    }

    /// As clients are given it.
    pub fn reason(self) -> &'static str {
        match (self.memory(), self.disk()) {
            (true, true) => "low on memory & disk",
            (false, true) => "low on disk",
            _ => "low on memory",
        }
    }
}

impl Memory {
    /// A gauge that raises the alarm above `high` bytes.
    pub fn new(high: usize) -> Arc<Self> {
        Arc::new(Self {
            counted: HeldBytes::default(),
            alarm: AlarmFlag::default(),
            high,
            low: high / 10 * 9,
            topology_max: (high / 2).max(TOPOLOGY_MIN),
            ceiling: high.saturating_add(high.max(BEYOND_MIN)),
            alarms: AtomicU64::new(0),
            changed: Notify::new(),
            ended: Notify::new(),
        })
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.counted.used.load(Relaxed)
    }

    /// Bytes held for queues, exchanges, bindings, consumers and channels; a part of [`Self::used`].
    pub fn topology(&self) -> usize {
        self.counted.topology.load(Relaxed)
    }

    /// The mark above which publishers are blocked.
    pub fn high(&self) -> usize {
        self.high
    }

    /// How often the alarm was raised.
    pub fn alarms(&self) -> u64 {
        self.alarms.load(Relaxed)
    }

    /// Whether publishers are blocked.
    #[inline]
    pub fn is_alarm(&self) -> bool {
        self.alarm.0.load(Relaxed) != 0
    }

    /// Why publishers are blocked, if they are.
    pub fn state(&self) -> Alarms {
        Alarms(self.alarm.0.load(SeqCst))
    }

    /// Blocks publishers while the disk is full.
    pub fn set_disk_full(&self, is_full: bool) {
        if self.set(DISK, is_full) != is_full {
            self.changed.notify_one();
        }
    }

    /// Sets one reason for the alarm; whether it was there before.
    fn set(&self, reason: u8, on: bool) -> bool {
        let before = match on {
            true => self.alarm.0.fetch_or(reason, SeqCst),
            false => self.alarm.0.fetch_and(!reason, SeqCst),
        };
        before & reason != 0
    }

    /// Whether queues, exchanges, bindings, consumers and channels take all that they may: half of the
    /// watermark, so that the other half is left for messages. If so, no more of them are made.
    pub fn is_topology_full(&self) -> bool {
        self.topology() > self.topology_max
    }

    /// Whether messages that had begun to arrive before the alarm have taken all that they may: as much again as
    /// the watermark. If so, they are refused.
    pub fn is_exhausted(&self) -> bool {
        self.state().memory() && self.used() > self.ceiling
    }

    /// How much queues, exchanges, bindings, consumers and channels may take together, in bytes.
    pub fn topology_max(&self) -> usize {
        self.topology_max
    }

    /// Waits until the alarm is off. Returns at once if it is.
    pub async fn alarm_ended(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if !self.is_alarm() {
                return;
            }
            ended.await;
        }
    }

    /// Waits until the alarm has changed, for the one task that reports it; `reported` is what it reported
    /// last. Wakes blocked publishers when the alarm has ended.
    pub async fn alarm_changed(&self, reported: Alarms) -> Alarms {
        loop {
            let alarm = self.state();
            if alarm == Alarms::default() {
                self.ended.notify_waiters();
            }
            if alarm != reported {
                return alarm;
            }
            self.changed.notified().await;
        }
    }

    /// A charge of so many bytes.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let mut charge = Charge {
            memory: Some(Arc::clone(self)),
            bytes: 0,
        };
        charge.set(bytes);
        charge
    }

    /// A charge of so many bytes for a queue, an exchange, a binding, a consumer or a channel.
    pub fn charge_topology(self: &Arc<Self>, bytes: usize) -> TopologyCharge {
        let mut charge = TopologyCharge(Charge {
            memory: Some(Arc::clone(self)),
            bytes: 0,
        });
        charge.set(bytes);
        charge
    }

    /// A body that stays counted as long as any part of it is alive.
    pub fn charged_body(self: &Arc<Self>, body: Vec<u8>) -> Bytes {
        let charge = self.charge(allocated(body.capacity()));
        Bytes::from_owner(ChargedBody {
            body,
            _charge: charge,
        })
    }

    #[inline]
    fn take(&self, bytes: usize) {
        let used = self.counted.used.fetch_add(bytes, SeqCst) + bytes;
        if used > self.high && !self.state().memory() {
            self.turn(true);
        }
    }

    #[inline]
    fn give(&self, bytes: usize) {
        let used = self.counted.used.fetch_sub(bytes, SeqCst) - bytes;
        if used < self.low && self.state().memory() {
            self.turn(false);
        }
    }

    /// Turns the alarm on or off. Looks again afterwards: another thread that has passed the other mark meanwhile
    /// may have read the alarm before it was turned.
    #[cold]
    fn turn(&self, mut on: bool) {
        while self.set(MEMORY, on) != on {
            self.alarms.fetch_add(on.into(), Relaxed);
            self.changed.notify_one();
            let used = self.counted.used.load(SeqCst);
            let passed = if on {
                used < self.low
            } else {
                used > self.high
            };
            if !passed {
                return;
            }
            on = !on;
        }
    }
}

#[derive(Debug)]
struct ChargedBody {
    body: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for ChargedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Bytes that are counted until this is dropped. The default one belongs to no gauge and counts nothing.
#[derive(Debug, Default)]
pub struct Charge {
    memory: Option<Arc<Memory>>,
    bytes: usize,
}

impl Charge {
    /// Counts so many bytes from now on.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        let Some(memory) = &self.memory else {
            return;
        };
        if bytes > self.bytes {
            memory.take(bytes - self.bytes);
        } else if bytes < self.bytes {
            memory.give(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Follows a size that changes with each message: exactly at 0, otherwise in steps.
    #[inline]
    pub fn follow(&mut self, bytes: usize) {
        if bytes == 0 || bytes.abs_diff(self.bytes) >= STEP {
            self.set(bytes);
        }
    }

    /// Bytes counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    #[inline]
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A charge that also counts for the limit on queues, exchanges, bindings, consumers and channels.
#[derive(Debug, Default)]
pub struct TopologyCharge(Charge);

impl TopologyCharge {
    /// Counts so many bytes from now on.
    pub fn set(&mut self, bytes: usize) {
        if let Some(memory) = &self.0.memory {
            let topology = &memory.counted.topology;
            if bytes > self.0.bytes {
                topology.fetch_add(bytes - self.0.bytes, Relaxed);
            } else {
                topology.fetch_sub(self.0.bytes - bytes, Relaxed);
            }
        }
        self.0.set(bytes);
    }
}

impl Drop for TopologyCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The unfinished messages of one connection: counted for the broker, and limited for the connection.
#[derive(Clone, Debug)]
pub struct Account {
    own: Arc<AtomicUsize>,
    limit: usize,
    memory: Arc<Memory>,
}

impl Account {
    /// An account that may hold `limit` bytes.
    pub fn new(memory: Arc<Memory>, limit: usize) -> Self {
        Self {
            own: Arc::default(),
            limit,
            memory,
        }
    }

    /// Whether more is held than may be.
    pub fn is_over(&self) -> bool {
        self.own.load(Relaxed) > self.limit
    }

    /// Whether the broker can hold no more of any message.
    pub fn is_exhausted(&self) -> bool {
        self.memory.is_exhausted()
    }

    /// A charge on this account.
    pub fn charge(&self) -> AccountCharge {
        AccountCharge {
            own: Arc::clone(&self.own),
            charge: self.memory.charge(0),
        }
    }
}

/// Bytes on an account, counted until this is dropped.
#[derive(Debug)]
pub struct AccountCharge {
    own: Arc<AtomicUsize>,
    charge: Charge,
}

impl AccountCharge {
    /// Counts so many bytes from now on.
    pub fn set(&mut self, bytes: usize) {
        let before = self.charge.bytes();
        if bytes > before {
            self.own.fetch_add(bytes - before, Relaxed);
        } else {
            self.own.fetch_sub(before - bytes, Relaxed);
        }
        self.charge.set(bytes);
    }
}

impl Drop for AccountCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The cost of `len` bytes in a separate allocation; 0 bytes cost 0.
pub const fn allocated(len: usize) -> usize {
    if len == 0 { 0 } else { len + ALLOCATION }
}

/// The memory of an entry of a hash map, by the sizes of key and value: the table is seldom full.
pub const fn map_entry<K, V>() -> usize {
    (size_of::<(K, V)>() + 1) * 3 / 2
}

#[cfg(test)]
mod tests;
