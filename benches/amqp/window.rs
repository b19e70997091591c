//! Messages that a publisher has sent and that are not confirmed yet.

use crate::link::Method;

/// At most `size` of them, by delivery tag.
pub(crate) struct Window {
    size: u64,
    sent: u64,
    settled: u64,
    /// When each was sent, by tag modulo `size`; nothing once it is confirmed.
    times: Vec<Option<u64>>,
}

impl Window {
    pub(crate) fn new(size: u64) -> Self {
        Self {
            size,
            sent: 0,
            settled: 0,
            times: vec![None; usize::try_from(size).expect("a small window")],
        }
    }

    /// How many more may be sent.
    pub(crate) fn room(&self) -> u64 {
        self.size - (self.sent - self.settled)
    }

    /// How many were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Up to which tag all are confirmed.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// One more is sent.
    pub(crate) fn send(&mut self, at: u64) {
        self.sent += 1;
        let slot = self.slot(self.sent);
        self.times[slot] = Some(at);
    }

    /// Takes an ack; `each` gets the times at which the confirmed ones were sent.
    pub(crate) fn confirm(&mut self, ack: &Method<'_>, mut each: impl FnMut(u64)) {
        let last = ack.tag();
        let first = if ack.multiple() {
            self.settled + 1
        } else {
            last
        };
        for tag in first..=last {
            let slot = self.slot(tag);
            self.times[slot].take().into_iter().for_each(&mut each);
        }
        while self.settled < self.sent && self.times[self.slot(self.settled + 1)].is_none() {
            self.settled += 1;
        }
    }

    fn slot(&self, tag: u64) -> usize {
        usize::try_from(tag % self.size).expect("a small window")
    }
}
