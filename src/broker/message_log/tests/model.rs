//! A run of everything that an owner does, and the records that were acknowledged.

use std::collections::BTreeMap;

use super::*;

/// Queues; the last one gives requeued messages another position.
const QUEUES: u64 = 3;

/// A message in one queue.
#[derive(Clone, Debug)]
struct Tracked {
    queue: QueueNumber,
    body: Bytes,
    deadline: Option<u64>,
    appended: LogPosition,
    group: Option<usize>,
    /// Since when it has which position and returns.
    positions: Vec<(LogPosition, u64, u32)>,
    delivered: Option<LogPosition>,
    /// Since when a consumer holds it, or does not.
    held: Vec<(LogPosition, bool)>,
    settled: Option<LogPosition>,
    settled_by: Option<usize>,
}

/// The operations of an owner, and their times.
#[derive(Debug)]
pub(super) struct Run {
    random: fastrand::Rng,
    messages: Vec<Tracked>,
    next_position: [u64; 3],
    next_return: u64,
    groups: usize,
    next_body: u64,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            messages: Vec::new(),
            next_position: [at(0); 3],
            next_return: 0,
            groups: 0,
            next_body: 0,
        }
    }

    /// Continues with a log that was opened again.
    pub(super) fn resume(&mut self, log: &TestLog, durable: LogPosition) {
        self.messages = self.found(log, durable);
        for queue in &log.recovered.queues {
            let next = &mut self.next_position[usize::try_from(queue.queue).unwrap()];
            assert!(queue.next_position <= *next);
            *next = queue.next_position;
        }
        let last = log.queue(QUEUES - 1);
        self.next_return = last.map_or(0, |queue| queue.next_return);
    }

    /// The content of the log, taken as the content from the start.
    fn found(&self, log: &TestLog, durable: LogPosition) -> Vec<Tracked> {
        self.check(log, durable, "resumed");
        let known: BTreeMap<_, _> = self
            .messages
            .iter()
            .map(|one| ((one.queue, one.body.clone()), one))
            .collect();
        let mut found = Vec::new();
        for queue in 0..QUEUES {
            for stored in log.read(queue) {
                let known = known[&(queue, stored.body.clone())];
                found.push(Tracked {
                    appended: 0,
                    group: None,
                    positions: vec![(0, stored.position, stored.returns)],
                    delivered: stored.redelivered.then_some(0),
                    held: vec![(0, stored.held)],
                    settled: None,
                    settled_by: None,
                    ..known.clone()
                });
            }
        }
        found
    }

    /// Does one thing.
    pub(super) fn step(&mut self, log: &mut TestLog) {
        match self.random.u8(..20) {
            0..=7 => self.publish(log),
            8..=12 => self.settle_one(log),
            13 => self.settle_many(log),
            14 => self.deliver(log),
            15 => self.requeue(log),
            16 => self.transact(log),
            17 => log.shared.request_durable(u64::MAX),
            _ => {
                log.writer.turn();
            }
        }
        if self.random.u8(..150) == 0 {
            self.delete(log);
        }
    }

    fn new_places(&mut self) -> Vec<QueuePlace> {
        let first = self.random.u64(..QUEUES);
        let count = if self.random.u8(..4) == 0 { 2 } else { 1 };
        let deadline = self.random.bool().then(|| self.random.u64(..1 << 40));
        let queues = (0..count).map(|n| (first + n) % QUEUES);
        let place = |queue: u64| {
            let next = &mut self.next_position[usize::try_from(queue).unwrap()];
            *next += 1;
            QueuePlace {
                queue,
                position: *next - 1,
                deadline,
            }
        };
        queues.map(place).collect()
    }

    fn new_body(&mut self) -> Vec<u8> {
        self.next_body += 1;
        let mut body = self.next_body.to_le_bytes().to_vec();
        let len = self.random.usize(..600);
        body.resize(8 + len, 7);
        body
    }

    fn track(&mut self, body: &[u8], places: &[QueuePlace], appended: LogPosition) {
        for place in places {
            self.messages.push(Tracked {
                queue: place.queue,
                body: Bytes::copy_from_slice(body),
                deadline: place.deadline,
                appended,
                group: None,
                positions: vec![(appended, place.position, 0)],
                delivered: None,
                held: vec![(appended, false)],
                settled: None,
                settled_by: None,
            });
        }
    }

    fn publish(&mut self, log: &TestLog) {
        let (places, body) = (self.new_places(), self.new_body());
        let appended = log.append(&message(&body), &places);
        self.track(&body, &places, appended);
    }

    /// A message that is in its queue; mostly one of the oldest.
    fn pick(&mut self) -> Option<usize> {
        let queued = self.messages.iter().enumerate();
        let queued = queued.filter(|(_, one)| one.settled.is_none());
        let queued: Vec<usize> = queued.map(|(index, _)| index).collect();
        let among = if self.random.bool() { 5 } else { queued.len() };
        let among = queued.len().min(among);
        (among > 0).then(|| queued[self.random.usize(..among)])
    }

    fn settle_one(&mut self, log: &TestLog) {
        if let Some(index) = self.pick() {
            let one = &mut self.messages[index];
            let (_, position, _) = *one.positions.last().unwrap();
            one.settled = Some(log.settle(one.queue, position, position));
        }
    }

    fn settle_many(&mut self, log: &TestLog) {
        if let Some(index) = self.pick() {
            let one = &self.messages[index];
            let (queue, first) = (one.queue, one.positions.last().unwrap().1);
            let last = first.saturating_add(self.random.u64(..20));
            let settled = log.settle(queue, first, last);
            self.settled_in(queue, first..=last, settled);
        }
    }

    fn settled_in(
        &mut self,
        queue: u64,
        positions: std::ops::RangeInclusive<u64>,
        at: LogPosition,
    ) {
        for one in &mut self.messages {
            let position = one.positions.last().unwrap().1;
            if one.queue == queue && one.settled.is_none() && positions.contains(&position) {
                one.settled = Some(at);
            }
        }
    }

    fn deliver(&mut self, log: &TestLog) {
        if let Some(index) = self.pick() {
            let one = &mut self.messages[index];
            let position = one.positions.last().unwrap().1;
            let delivered = log.deliver(one.queue, position);
            one.delivered.get_or_insert(delivered);
            one.held.push((delivered, true));
        }
    }

    fn requeue(&mut self, log: &TestLog) {
        let Some(index) = self.pick() else {
            return;
        };
        let one = &mut self.messages[index];
        let (_, from, returns) = *one.positions.last().unwrap();
        let mut position = from;
        if one.queue == QUEUES - 1 {
            position = self.next_return;
            self.next_return += 1;
        }
        let requeued = log.requeue(one.queue, from, position, returns + 1);
        one.positions.push((requeued, position, returns + 1));
        one.delivered.get_or_insert(requeued);
        one.held.push((requeued, false));
    }

    fn transact(&mut self, log: &TestLog) {
        let mut group = log.group();
        let mut new = Vec::new();
        for _ in 0..self.random.u8(1..4) {
            let (places, body) = (self.new_places(), self.new_body());
            group.append(&message(&body), &places);
            new.push((places, body));
        }
        let mut settled = Vec::new();
        for _ in 0..self.random.u8(..3) {
            if let Some(index) = self.pick()
                && !settled.contains(&index)
            {
                let one = &self.messages[index];
                group.settle(one.queue, one.positions.last().unwrap().1);
                settled.push(index);
            }
        }
        if self.random.u8(..4) == 0 {
            return;
        }
        let at = log.shared.commit(group);
        for index in settled {
            self.messages[index].settled = Some(at);
            self.messages[index].settled_by = Some(self.groups);
        }
        let first = self.messages.len();
        for (places, body) in new {
            self.track(&body, &places, at);
        }
        for one in &mut self.messages[first..] {
            one.group = Some(self.groups);
        }
        self.groups += 1;
    }

    /// A queue is deleted. Its number would not be used again; here only its positions are not.
    fn delete(&mut self, log: &TestLog) {
        let queue = self.random.u64(..QUEUES - 1);
        let settled = log.settle(queue, 0, u64::MAX);
        self.settled_in(queue, 0..=u64::MAX, settled);
    }

    /// The log has all acknowledged records: everything up to `durable`, and nothing that was settled by
    /// then.
    #[track_caller]
    pub(super) fn check(&self, log: &TestLog, durable: LogPosition, what: &str) {
        let mut found: BTreeMap<(u64, Bytes), StoredMessage> = BTreeMap::new();
        for queue in 0..QUEUES {
            let stored = log.read(queue);
            assert!(stored.is_sorted_by_key(|one| one.position), "{what}");
            for one in stored {
                let key = (queue, one.body.clone());
                assert!(found.insert(key, one).is_none(), "{what}: found twice");
            }
        }
        let mut groups: BTreeMap<usize, (Vec<bool>, Vec<bool>)> = BTreeMap::new();
        for one in &self.messages {
            let is_settled = one.settled.is_some_and(|at| at <= durable);
            let stored = found.remove(&(one.queue, one.body.clone()));
            if is_settled {
                assert!(stored.is_none(), "{what}: {one:?} has come back");
            } else if one.appended <= durable && one.settled.is_none() {
                assert!(stored.is_some(), "{what}: {one:?} is lost");
            }
            if let Some(group) = one.group.filter(|_| one.settled.is_none()) {
                groups.entry(group).or_default().0.push(stored.is_some());
            }
            if let Some(group) = one.settled_by.filter(|_| one.appended <= durable) {
                groups.entry(group).or_default().1.push(stored.is_none());
            }
            if let Some(stored) = stored {
                check_stored(one, &stored, durable, what);
            }
        }
        assert!(found.is_empty(), "{what}: never published: {found:?}");
        for (new, settled) in groups.values() {
            let mut all = new.iter().chain(settled);
            let first = all.next();
            assert!(all.all(|one| Some(one) == first), "{what}: half a group");
        }
    }
}

#[track_caller]
fn check_stored(one: &Tracked, stored: &StoredMessage, durable: LogPosition, what: &str) {
    let positions = one.positions.iter();
    let positions = positions.map(|(at, position, returns)| (*at, (*position, *returns)));
    let state = (stored.position, stored.returns);
    let known = may_be(positions, durable);
    assert!(known.contains(&state), "{what}: {state:?} of {one:?}");
    let known = may_be(one.held.iter().copied(), durable);
    assert!(known.contains(&stored.held), "{what}: {state:?} of {one:?}");
    assert_eq!(stored.deadline, one.deadline, "{what}");
    if one.delivered.is_some_and(|at| at <= durable) {
        assert!(stored.redelivered, "{what}: {one:?}");
    }
    if one.delivered.is_none() {
        assert!(!stored.redelivered, "{what}: {one:?}");
    }
}

/// What was so when everything up to `durable` was done, and later.
fn may_be<T>(
    changes: impl DoubleEndedIterator<Item = (LogPosition, T)>,
    durable: LogPosition,
) -> Vec<T> {
    let mut known = Vec::new();
    for (at, state) in changes.rev() {
        known.push(state);
        if at <= durable {
            break;
        }
    }
    known
}
