//! Topic bindings as a trie of words.

use std::hash::Hash;

use super::targets::Targets;
use crate::broker::{
    budget::Budget,
    pieces::{List, SplitMap},
};

/// A trie of patterns, each with the values bound under it. `*` matches one word, `#` for any
/// number of words; words are separated by dots and may be empty.
#[derive(Debug)]
pub struct TopicTrie<V> {
    nodes: List<Node<V>>,
    free: Vec<u32>,
    /// The generation of the next node.
    generation: u32,
    epoch: u64,
    scratch: TopicSearch,
}

/// A search that may take more than one turn: bindings may come and go in between. It visits each pair of a node and
/// a word once.
#[derive(Debug, Default)]
pub struct TopicSearch {
    /// Where the next word of the key begins; beyond its end: there is none.
    offset: usize,
    /// The nodes that the words so far lead to, and how many of them the next word has been applied to.
    active: Vec<Reached>,
    applied: usize,
    next: Vec<Reached>,
    /// Marks the nodes in `next`.
    epoch: u64,
    /// The nodes in `next`, once other searches may have marked them in between.
    listed: Option<NodeSet>,
}

/// A set of nodes: a bit for each.
#[derive(Debug, Default)]
struct NodeSet(Vec<u64>);

impl NodeSet {
    /// Adds a node; whether it was not there.
    fn insert(&mut self, node: u32) -> bool {
        let (index, bit) = (node as usize / 64, 1 << (node % 64));
        if index >= self.0.len() {
            self.0.resize(index + 1, 0);
        }
        let is_new = self.0[index] & bit == 0;
        self.0[index] |= bit;
        is_new
    }
}

/// A node, unless it was removed since.
#[derive(Clone, Copy, Debug)]
struct Reached {
    node: u32,
    generation: u32,
}

#[derive(Debug)]
struct Node<V> {
    words: SplitMap<Box<[u8]>, u32>,
    star: u32,
    hash: u32,
    parent: u32,
    /// Tells it from others that have had this place.
    generation: u32,
    /// A node under `#` stays reached whatever word follows.
    is_hash: bool,
    seen: u64,
    values: Targets<V>,
}

/// Steps that it costs to add a word of a pattern, or to remove it.
const WORD_STEPS: usize = 2;
/// Values that are copied in a step.
const COPIED_PER_STEP: usize = 32;

const ROOT: u32 = 0;
/// No node: the root is not a child.
const NONE: u32 = 0;

impl<V> Node<V> {
    fn new(parent: u32, is_hash: bool, generation: u32) -> Self {
        Self {
            generation,
            words: SplitMap::default(),
            star: NONE,
            hash: NONE,
            parent,
            is_hash,
            seen: 0,
            values: Targets::default(),
        }
    }

    fn is_idle(&self) -> bool {
        self.values.is_empty() && self.words.is_empty() && self.star == NONE && self.hash == NONE
    }
}

impl<V> Default for TopicTrie<V> {
    fn default() -> Self {
        let mut nodes = List::default();
        nodes.push(Node::new(ROOT, false, 0));
        Self {
            nodes,
            free: Vec::new(),
            generation: 1,
            epoch: 0,
            scratch: TopicSearch::default(),
        }
    }
}

impl TopicSearch {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let listed = self.listed.as_ref().map_or(0, |listed| listed.0.capacity());
        (self.active.capacity() + self.next.capacity()) * size_of::<Reached>()
            + listed * size_of::<u64>()
    }

    /// Prepares for other searches before it continues.
    fn suspend(&mut self) {
        if self.listed.is_none() {
            let mut listed = NodeSet::default();
            for reached in &self.next {
                listed.insert(reached.node);
            }
            self.listed = Some(listed);
        }
    }
}

impl<V: Send + 'static> TopicTrie<V> {
    /// Takes it apart, a small piece at each step of the iterator.
    pub fn into_pieces(self) -> impl Iterator<Item = ()> + Send {
        let nodes = self.nodes.into_iter();
        nodes.flat_map(|node| {
            let words = node.words.into_iter().map(drop);
            words
                .chain(node.values.into_pieces())
                .chain(std::iter::once(()))
        })
    }
}

/// An empty trie of more nodes is dropped in pieces.
const DROPPED_MAX: usize = 1024;

impl<V: Copy + Eq + Hash> TopicTrie<V> {
    /// The memory of the trie without the values.
    pub fn bytes(&self) -> usize {
        // A table of words with few entries, and a word.
        const WORDS: usize = 176;
        let free = self.free.len();
        self.nodes.len() * size_of::<Node<V>>()
            + (self.nodes.len() - free) * WORDS
            + free * size_of::<u32>()
    }

    /// Binds a value under a pattern; the same pair twice is bound twice.
    pub fn insert(&mut self, pattern: &[u8], value: V) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = match self.child(at, word) {
                NONE => self.grow(at, word),
                child => child,
            };
        }
        self.nodes[at as usize].values.add(value);
    }

    /// Takes one such pair away. A large trie that is then empty is returned, to be dropped in pieces.
    pub fn remove(&mut self, pattern: &[u8], value: V) -> Option<Self> {
        let mut at = ROOT;
        for word in words(pattern) {
            at = match self.child(at, word) {
                NONE => return None,
                child => child,
            };
        }
        self.nodes[at as usize].values.remove(value);
        self.prune(at, pattern);
        let is_empty = self.free.len() + 1 == self.nodes.len() && self.nodes[0].is_idle();
        let empty = is_empty.then(|| self.reset())?;
        (empty.nodes.len() > DROPPED_MAX).then_some(empty)
    }

    /// Replaces the trie by one with no node but the root. Searches that have begun find none of their nodes.
    fn reset(&mut self) -> Self {
        let generation = self.next_generation();
        let mut nodes = List::default();
        nodes.push(Node::new(ROOT, false, generation));
        let fresh = Self {
            nodes,
            free: Vec::new(),
            generation: self.generation,
            epoch: self.epoch,
            scratch: TopicSearch::default(),
        };
        std::mem::replace(self, fresh)
    }

    fn next_generation(&mut self) -> u32 {
        let generation = self.generation;
        self.generation = generation.wrapping_add(1);
        generation
    }

    /// Appends every value whose pattern matches, as far as the budget allows; whether that was all. A value bound
    /// more than once may come more than once. `search` holds the rest for the next call with the same key.
    pub fn matches(
        &mut self,
        key: &[u8],
        search: &mut Option<Box<TopicSearch>>,
        budget: &mut Budget,
        out: &mut Vec<V>,
    ) -> bool {
        if let Some(begun) = search {
            let done = self.resume(key, begun, budget, out);
            if done {
                *search = None;
            }
            return done;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.begin(key, &mut scratch);
        let done = self.resume(key, &mut scratch, budget, out);
        if done {
            self.scratch = scratch;
        } else {
            *search = Some(Box::new(scratch));
        }
        done
    }

    fn begin(&mut self, key: &[u8], search: &mut TopicSearch) {
        search.active.clear();
        search.next.clear();
        search.applied = 0;
        // The empty key is no word at all; elsewhere an empty word counts.
        search.offset = usize::from(key.is_empty());
        search.listed = None;
        self.epoch += 1;
        search.epoch = self.epoch;
        self.reach(ROOT, search);
        std::mem::swap(&mut search.active, &mut search.next);
        self.epoch += 1;
        search.epoch = self.epoch;
    }

    fn resume(
        &mut self,
        key: &[u8],
        search: &mut TopicSearch,
        budget: &mut Budget,
        out: &mut Vec<V>,
    ) -> bool {
        while let Some(rest) = key.get(search.offset..) {
            let length = rest.iter().position(|byte| *byte == b'.');
            let word = &rest[..length.unwrap_or(rest.len())];
            while let Some(reached) = search.active.get(search.applied) {
                if budget.is_overdrawn() {
                    search.suspend();
                    return false;
                }
                search.applied += 1;
                let (reached, before) = (*reached, search.next.len());
                self.apply(reached, word, search);
                budget.spend(1 + search.next.len() - before);
            }
            std::mem::swap(&mut search.active, &mut search.next);
            search.next.clear();
            if let Some(listed) = &mut search.listed {
                listed.0.fill(0);
            }
            search.applied = 0;
            search.offset += word.len() + 1;
            self.epoch += 1;
            search.epoch = self.epoch;
        }
        while let Some(reached) = search.active.get(search.applied) {
            if budget.is_overdrawn() {
                return false;
            }
            search.applied += 1;
            if let Some(node) = self.find(*reached) {
                let values = node.values.as_slice();
                budget.spend(1 + values.len() / COPIED_PER_STEP);
                out.extend_from_slice(values);
            }
        }
        true
    }

    /// Marks what one word leads to from a node.
    fn apply(&mut self, reached: Reached, word: &[u8], search: &mut TopicSearch) {
        let Some(node) = self.find(reached) else {
            return;
        };
        let (star, is_hash) = (node.star, node.is_hash);
        let exact = node.words.get(word).copied().unwrap_or(NONE);
        if is_hash {
            self.reach(reached.node, search);
        }
        if exact != NONE {
            self.reach(exact, search);
        }
        if star != NONE {
            self.reach(star, search);
        }
    }

    fn find(&self, reached: Reached) -> Option<&Node<V>> {
        let node = self.nodes.get(reached.node as usize)?;
        (node.generation == reached.generation).then_some(node)
    }

    /// Marks a node as reached by this word, and what `#` reaches from it with no word at all.
    fn reach(&mut self, mut at: u32, search: &mut TopicSearch) {
        loop {
            let node = &mut self.nodes[at as usize];
            let is_new = match &mut search.listed {
                None => std::mem::replace(&mut node.seen, search.epoch) != search.epoch,
                Some(listed) => listed.insert(at),
            };
            if !is_new {
                return;
            }
            search.next.push(Reached {
                node: at,
                generation: node.generation,
            });
            at = node.hash;
            if at == NONE {
                return;
            }
        }
    }

    fn child(&self, at: u32, word: &[u8]) -> u32 {
        let node = &self.nodes[at as usize];
        match word {
            b"*" => node.star,
            b"#" => node.hash,
            _ => node.words.get(word).copied().unwrap_or(NONE),
        }
    }

    fn grow(&mut self, at: u32, word: &[u8]) -> u32 {
        let is_hash = word == b"#";
        let generation = self.next_generation();
        let child = if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = Node::new(at, is_hash, generation);
            free
        } else {
            self.nodes.push(Node::new(at, is_hash, generation));
            u32::try_from(self.nodes.len() - 1).expect("bindings are bounded far below 2^32")
        };
        let parent = &mut self.nodes[at as usize];
        match word {
            b"*" => parent.star = child,
            b"#" => parent.hash = child,
            _ => {
                parent.words.insert(word.into(), child);
            }
        }
        child
    }

    fn prune(&mut self, mut at: u32, pattern: &[u8]) {
        for word in pattern.rsplit(|byte| *byte == b'.') {
            if at == ROOT || !self.nodes[at as usize].is_idle() {
                return;
            }
            let generation = self.next_generation();
            let idle = Node::new(ROOT, false, generation);
            let parent = std::mem::replace(&mut self.nodes[at as usize], idle).parent;
            let node = &mut self.nodes[parent as usize];
            match word {
                b"*" => node.star = NONE,
                b"#" => node.hash = NONE,
                _ => {
                    node.words.remove(word);
                }
            }
            self.free.push(at);
            at = parent;
        }
    }
}

/// Steps that it costs to bind or unbind a pattern, besides those of any binding.
pub fn pattern_steps(pattern: &[u8]) -> usize {
    WORD_STEPS * words(pattern).count()
}

/// The empty key is no word at all; elsewhere an empty word counts.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let skip = usize::from(key.is_empty());
    key.split(|byte| *byte == b'.').skip(skip)
}

#[cfg(test)]
mod tests;
