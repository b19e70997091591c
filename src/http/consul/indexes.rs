//! Which index a query was last answered with, so that it moves only when what the query shows has changed.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The queries of one generation; there are two, so that those in use are kept.
const QUERIES_MAX: usize = 8192;

/// The last answer of each query, as a hash, and its index. What is forgotten gets a newer index the next time.
#[derive(Debug, Default)]
pub(super) struct IndexCache(Mutex<IndexGenerations>);

#[derive(Debug, Default)]
struct IndexGenerations {
    young: HashMap<u64, ShownIndex>,
    old: HashMap<u64, ShownIndex>,
}

#[derive(Clone, Copy, Debug)]
struct ShownIndex {
    hash: u64,
    index: u64,
}

impl IndexCache {
    /// The index of an answer whose hash is `hash`. `stamp` is the newest change that can matter, read before the answer
    /// was made.
    pub(super) fn index(&self, query: u64, hash: u64, stamp: u64) -> u64 {
        let mut generations = self.0.lock();
        let known = generations.find(query);
        let index = match known {
            Some(known) if known.hash == hash => known.index,
            // What another request has shown may be newer than this answer: with that request's index, the client would
            // wait although it has not seen it.
            Some(known) if known.index >= stamp => return stamp,
            _ => stamp,
        };
        generations.put(query, ShownIndex { hash, index });
        index
    }
}

impl IndexGenerations {
    fn find(&self, query: u64) -> Option<ShownIndex> {
        let young = self.young.get(&query);
        young.or_else(|| self.old.get(&query)).copied()
    }

    fn put(&mut self, query: u64, shown: ShownIndex) {
        if self.young.len() >= QUERIES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(query, shown);
    }
}

#[cfg(test)]
mod tests {
    use super::{IndexCache, QUERIES_MAX};

    #[test]
    fn an_index_moves_with_what_is_shown() {
        let cache = IndexCache::default();
        assert_eq!(cache.index(1, 10, 100), 100);
        // Something else has changed.
        assert_eq!(cache.index(1, 10, 105), 100);
        assert_eq!(cache.index(1, 11, 106), 106);
        // A request that began earlier ends later: its client is answered at once when it asks for what came after 105.
        assert_eq!(cache.index(1, 10, 105), 105);
        assert_eq!(cache.index(1, 11, 107), 106);
        assert_eq!(cache.index(2, 10, 107), 107);
    }

    #[test]
    fn two_answers_of_one_stamp_do_not_hide_the_newer_one() {
        let cache = IndexCache::default();
        assert_eq!(cache.index(1, 10, 100), 100);
        // Both requests read the stamp 100, then the change 101 came, and the second one shows it.
        assert_eq!(cache.index(1, 11, 100), 100);
        assert_eq!(
            cache.index(1, 11, 101),
            101,
            "who saw 10 at 100 is answered"
        );
        assert_eq!(cache.index(1, 11, 102), 101);
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_in_use() {
        let cache = IndexCache::default();
        assert_eq!(cache.index(0, 1, 5), 5);
        for query in 1..3 * QUERIES_MAX as u64 {
            cache.index(query, 1, 6);
            assert_eq!(cache.index(0, 1, 7), 5);
        }
        let generations = cache.0.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * QUERIES_MAX);
    }
}
