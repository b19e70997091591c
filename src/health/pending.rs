//! Requests that remote probers have not answered yet: at most one for each check, limited in number.
//! Pure but for the channel that carries an answer to the waiting task.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::oneshot;

use super::{remote::RequestResult, report::Outcome, schedule::CheckId};
use crate::api::CheckVerdict;

/// The message to the waiting task.
#[derive(Debug)]
pub(super) enum RequestReply {
    Verdict(CheckVerdict),
    /// The instance is no longer registered.
    Gone,
    /// No answer will come.
    Never,
}

#[derive(Debug)]
struct OpenRequest {
    check: CheckId,
    incarnation: u64,
    deadline_ms: u64,
    /// The time at which the request is given up.
    over_ms: u64,
    waiting: RequestPurpose,
}

#[derive(Debug)]
enum RequestPurpose {
    /// The answer decides the verdict.
    Decides(oneshot::Sender<RequestReply>),
    /// The direct probe decides; the answer is compared with it. Holds whichever came first.
    Compared {
        direct: Option<bool>,
        came: Option<(bool, IsLate)>,
    },
}

#[derive(Clone, Copy, Debug)]
struct IsLate(bool);

/// The check that a request is about, with its times.
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
    open: HashMap<u64, OpenRequest>,
    of_check: HashMap<CheckId, u64>,
    /// Requests that are only compared, by the time at which they are given up.
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

    /// Adds a request whose answer decides; none while the check has a request, or at the limit.
    pub(super) fn decide(
        &mut self,
        wanted: RequestKey,
    ) -> Option<(u64, oneshot::Receiver<RequestReply>)> {
        let (sender, receiver) = oneshot::channel();
        let number = self.add(wanted, RequestPurpose::Decides(sender))?;
        Some((number, receiver))
    }

    /// Adds a request whose answer is compared; none as above.
    pub(super) fn compare(&mut self, wanted: RequestKey) -> Option<u64> {
        let waiting = RequestPurpose::Compared {
            direct: None,
            came: None,
        };
        let number = self.add(wanted, waiting)?;
        self.compared.insert((wanted.over_ms, number));
        Some(number)
    }

    fn add(&mut self, wanted: RequestKey, waiting: RequestPurpose) -> Option<u64> {
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
        let open = OpenRequest {
            check,
            incarnation,
            deadline_ms,
            over_ms,
            waiting,
        };
        self.open.insert(number, open);
        Some(number)
    }

    fn remove(&mut self, number: u64) -> Option<OpenRequest> {
        let open = self.open.remove(&number)?;
        self.of_check.remove(&open.check);
        self.compared.remove(&(open.over_ms, number));
        Some(open)
    }

    /// Drops a request that no task waits for.
    pub(super) fn forget(&mut self, number: u64) {
        self.remove(number);
    }

    /// The pending request of a check.
    pub(super) fn of_check(&self, check: CheckId) -> Option<u64> {
        self.of_check.get(&check).copied()
    }

    /// The incarnation that a pending request is about.
    pub(super) fn incarnation(&self, number: u64) -> Option<u64> {
        Some(self.open.get(&number)?.incarnation)
    }

    /// Wakes the waiting task: no answer will come.
    pub(super) fn give_up(&mut self, number: u64) {
        self.end(number, RequestReply::Never);
    }

    /// Wakes the waiting task: the instance is gone.
    pub(super) fn gone(&mut self, number: u64) {
        self.end(number, RequestReply::Gone);
    }

    fn end(&mut self, number: u64, reply: RequestReply) {
        if let Some(open) = self.remove(number)
            && let RequestPurpose::Decides(sender) = open.waiting
        {
            // The waiting task may have ended.
            let _ = sender.send(reply);
        }
    }

    /// Gives up every request.
    pub(super) fn give_all_up(&mut self) {
        let numbers: Vec<_> = self.open.keys().copied().collect();
        for number in numbers {
            self.give_up(number);
        }
    }

    /// Takes the answer to a pending request; appends the result of a comparison.
    pub(super) fn answer(
        &mut self,
        number: u64,
        found: CheckVerdict,
        now_ms: u64,
        out: &mut Vec<RequestResult>,
    ) {
        let Some(open) = self.open.get_mut(&number) else {
            return;
        };
        let late = IsLate(now_ms > open.deadline_ms);
        if let RequestPurpose::Compared { direct, came } = &mut open.waiting {
            if found.outcome == Outcome::Skipped {
                self.remove(number);
                return;
            }
            let passed = found.outcome.is_pass();
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

    /// Takes the outcome of the direct probe, which an answer is compared with.
    pub(super) fn direct(&mut self, number: u64, outcome: Outcome, out: &mut Vec<RequestResult>) {
        let Some(open) = self.open.get_mut(&number) else {
            return;
        };
        let RequestPurpose::Compared { direct, came } = &mut open.waiting else {
            return;
        };
        if outcome == Outcome::Skipped {
            self.remove(number);
            return;
        }
        let passed = outcome.is_pass();
        match *came {
            None => *direct = Some(passed),
            Some((came, late)) => {
                self.remove(number);
                tell(passed, came, late, out);
            }
        }
    }

    /// Ends comparisons whose time is over.
    pub(super) fn sweep(&mut self, now_ms: u64, out: &mut Vec<RequestResult>) {
        while let Some(&(over_ms, number)) = self.compared.first()
            && over_ms <= now_ms
        {
            let open = self.remove(number);
            let waiting = open.map(|open| open.waiting);
            if let Some(RequestPurpose::Compared {
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
