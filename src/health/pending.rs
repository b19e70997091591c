//! Requests that probers elsewhere have not answered yet: one for each check at most, and so many in
//! all. Pure but for the way by which an answer reaches whoever waits for it.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::oneshot;

use super::{
    remote::{RemoteVerdict, RequestResult},
    report::Outcome,
    schedule::CheckId,
};

/// What whoever waits is told.
#[derive(Debug)]
pub(super) enum RequestReply {
    Verdict(RemoteVerdict),
    /// What was asked about is gone.
    Gone,
    /// There will be no answer.
    Never,
}

#[derive(Debug)]
struct PendingRequest {
    check: CheckId,
    incarnation: u64,
    deadline_ms: u64,
    /// Then nobody waits any more.
    over_ms: u64,
    waiting: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// The answer decides.
    Decides(oneshot::Sender<RequestReply>),
    /// The direct outcome decides, and the answer is compared with it: which of them came.
    Compared {
        direct: Option<bool>,
        came: Option<(bool, IsLate)>,
    },
}

#[derive(Clone, Copy, Debug)]
struct IsLate(bool);

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestKey {
    pub(super) check: CheckId,
    pub(super) incarnation: u64,
    pub(super) deadline_ms: u64,
    pub(super) over_ms: u64,
}

#[derive(Debug)]
pub(super) struct PendingRequests {
    max: usize,
    last: u64,
    open: HashMap<u64, PendingRequest>,
    of_check: HashMap<CheckId, u64>,
    /// Requests of which the answer is only compared, by when nobody waits any more.
    compared: BTreeSet<(u64, u64)>,
}

impl PendingRequests {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            last: 0,
            open: HashMap::new(),
            of_check: HashMap::new(),
            compared: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// A request whose answer decides; none while the check has one already, or when there are too many.
    pub(super) fn decide(
        &mut self,
        wanted: RequestKey,
    ) -> Option<(u64, oneshot::Receiver<RequestReply>)> {
        let (sender, receiver) = oneshot::channel();
        let number = self.add(wanted, Purpose::Decides(sender))?;
        Some((number, receiver))
    }

    /// A request whose answer is compared with the direct one; none as above.
    pub(super) fn compare(&mut self, wanted: RequestKey) -> Option<u64> {
        let waiting = Purpose::Compared {
            direct: None,
            came: None,
        };
        let number = self.add(wanted, waiting)?;
        self.compared.insert((wanted.over_ms, number));
        Some(number)
    }

    fn add(&mut self, wanted: RequestKey, waiting: Purpose) -> Option<u64> {
        let RequestKey {
            check,
            incarnation,
            deadline_ms,
            over_ms,
        } = wanted;
        if self.open.len() >= self.max || self.of_check.contains_key(&check) {
            return None;
        }
        self.last += 1;
        let number = self.last;
        self.of_check.insert(check, number);
        let open = PendingRequest {
            check,
            incarnation,
            deadline_ms,
            over_ms,
            waiting,
        };
        self.open.insert(number, open);
        Some(number)
    }

    fn remove(&mut self, number: u64) -> Option<PendingRequest> {
        let open = self.open.remove(&number)?;
        self.of_check.remove(&open.check);
        self.compared.remove(&(open.over_ms, number));
        Some(open)
    }

    /// Nobody waits for it any more.
    pub(super) fn forget(&mut self, number: u64) {
        self.remove(number);
    }

    /// The open request of a check.
    pub(super) fn of_check(&self, check: CheckId) -> Option<u64> {
        self.of_check.get(&check).copied()
    }

    /// Which registration an open request is of.
    pub(super) fn incarnation(&self, number: u64) -> Option<u64> {
        Some(self.open.get(&number)?.incarnation)
    }

    /// Whoever waits for this request hears that there will be no answer.
    pub(super) fn give_up(&mut self, number: u64) {
        self.end(number, RequestReply::Never);
    }

    /// Whoever waits for this request hears that what was asked about is gone.
    pub(super) fn gone(&mut self, number: u64) {
        self.end(number, RequestReply::Gone);
    }

    fn end(&mut self, number: u64, reply: RequestReply) {
        if let Some(open) = self.remove(number)
            && let Purpose::Decides(sender) = open.waiting
        {
            // Whoever waited may have gone.
            let _ = sender.send(reply);
        }
    }

    /// The same for all.
    pub(super) fn give_all_up(&mut self) {
        let numbers: Vec<_> = self.open.keys().copied().collect();
        for number in numbers {
            self.give_up(number);
        }
    }

    /// Takes an answer to an open request, and says what comes of the comparison.
    pub(super) fn answer(
        &mut self,
        number: u64,
        found: RemoteVerdict,
        now_ms: u64,
        out: &mut Vec<RequestResult>,
    ) {
        let Some(open) = self.open.get_mut(&number) else {
            return;
        };
        let late = IsLate(now_ms > open.deadline_ms);
        if let Purpose::Compared { direct, came } = &mut open.waiting {
            if found.outcome == Outcome::Skipped {
                self.remove(number);
                return;
            }
            let passed = found.outcome == Outcome::Passed;
            match *direct {
                None => *came = Some((passed, late)),
                Some(direct) => {
                    self.remove(number);
                    tell(direct, passed, late, out);
                }
            }
            return;
        }
        self.end(number, RequestReply::Verdict(found));
    }

    /// Takes the direct outcome that an answer is compared with.
    pub(super) fn direct(&mut self, number: u64, outcome: Outcome, out: &mut Vec<RequestResult>) {
        let Some(open) = self.open.get_mut(&number) else {
            return;
        };
        let Purpose::Compared { direct, came } = &mut open.waiting else {
            return;
        };
        if outcome == Outcome::Skipped {
            self.remove(number);
            return;
        }
        let passed = outcome == Outcome::Passed;
        match *came {
            None => *direct = Some(passed),
            Some((came, late)) => {
                self.remove(number);
                tell(passed, came, late, out);
            }
        }
    }

    /// Ends the comparisons for which nothing will come any more.
    pub(super) fn sweep(&mut self, now_ms: u64, out: &mut Vec<RequestResult>) {
        while let Some(&(over_ms, number)) = self.compared.first()
            && over_ms <= now_ms
        {
            let open = self.remove(number);
            let waiting = open.map(|open| open.waiting);
            if let Some(Purpose::Compared {
                direct: Some(_), ..
            }) = waiting
            {
                out.push(RequestResult::Missing);
            }
        }
    }
}

fn tell(direct: bool, came: bool, IsLate(late): IsLate, out: &mut Vec<RequestResult>) {
    out.push(if direct == came {
        RequestResult::Same
    } else {
        RequestResult::Different
    });
    if late {
        out.push(RequestResult::Late);
    }
}

#[cfg(test)]
mod tests;
