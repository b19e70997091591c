//! Which of several instances gets the next request.

use std::sync::Arc;

use crate::model::Instance;

/// How to pick.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PickPolicy<'a> {
    /// In turn.
    RoundRobin,
    /// Any.
    Random,
    /// At random, by weight; when all weights are 0, all are alike.
    Weighted,
    /// Always the same one for a key, as long as it is there.
    Hash(&'a str),
}

/// Picks one of `among`; `turn` counts up from pick to pick.
pub fn pick<'i>(
    policy: PickPolicy<'_>,
    among: &[&'i Arc<Instance>],
    turn: impl FnOnce() -> usize,
) -> Option<&'i Arc<Instance>> {
    if among.is_empty() {
        return None;
    }
    match policy {
        PickPolicy::RoundRobin => among.get(turn() % among.len()).copied(),
        PickPolicy::Random => among.get(fastrand::usize(..among.len())).copied(),
        PickPolicy::Weighted => {
            let total: u64 = among.iter().map(|one| weight(one)).sum();
            if total == 0 {
                return pick(PickPolicy::Random, among, turn);
            }
            at(among, fastrand::u64(..total))
        }
        PickPolicy::Hash(key) => {
            let score = |one: &&&Arc<Instance>| (score(key, one.id().as_str()), one.id().clone());
            among.iter().max_by_key(score).copied()
        }
    }
}

fn weight(instance: &Instance) -> u64 {
    u64::from(instance.registration.weight)
}

fn at<'i>(among: &[&'i Arc<Instance>], point: u64) -> Option<&'i Arc<Instance>> {
    let mut left = point;
    for one in among {
        match left.checked_sub(weight(one)) {
            Some(rest) => left = rest,
            None => return Some(one),
        }
    }
    None
}

/// Rendezvous hashing: each pair of key and instance has a score, and the highest wins. An added or removed
/// instance moves only the keys that it wins or had. Stable across releases.
fn score(key: &str, id: &str) -> u64 {
    // FNV-1a over both, then the finalizer of MurmurHash3, which spreads what FNV leaves alike.
    let bytes = key.bytes().chain([0xff]).chain(id.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
