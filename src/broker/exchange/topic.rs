//! Topic bindings as a trie of words; a binding that does not match costs a publish nothing.

use std::{collections::HashMap, hash::Hash};

use super::targets::Targets;

/// A trie of patterns, each with the values bound under it. `*` stands for one word, `#` for any
/// number of words; words are what stands between dots, and may be empty.
#[derive(Debug)]
pub struct TopicTrie<V> {
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    epoch: u64,
    active: Vec<u32>,
    next: Vec<u32>,
}

#[derive(Debug)]
struct Node<V> {
    words: HashMap<Box<[u8]>, u32>,
    star: u32,
    hash: u32,
    parent: u32,
    /// A node under `#` stays reached whatever word follows.
    is_hash: bool,
    seen: u64,
    values: Targets<V>,
}

const ROOT: u32 = 0;
/// No node: the root is nobody's child.
const NONE: u32 = 0;

impl<V> Node<V> {
    fn new(parent: u32, is_hash: bool) -> Self {
        Self {
            words: HashMap::new(),
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
        Self {
            nodes: vec![Node::new(ROOT, false)],
            free: Vec::new(),
            epoch: 0,
            active: Vec::new(),
            next: Vec::new(),
        }
    }
}

impl<V: Copy + Eq + Hash> TopicTrie<V> {
    /// What the trie costs in memory, but for the values.
    pub fn bytes(&self) -> usize {
        // A table of words with few entries, and a word.
        const WORDS: usize = 96;
        (self.nodes.len() - self.free.len()) * (size_of::<Node<V>>() + WORDS)
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

    /// Takes one such pair away.
    pub fn remove(&mut self, pattern: &[u8], value: V) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = match self.child(at, word) {
                NONE => return,
                child => child,
            };
        }
        self.nodes[at as usize].values.remove(value);
        self.prune(at, pattern);
    }

    /// Appends every value whose pattern matches; a value bound more than once may come more than once.
    pub fn matches(&mut self, key: &[u8], out: &mut Vec<V>) {
        let mut active = std::mem::take(&mut self.active);
        let mut next = std::mem::take(&mut self.next);
        active.clear();
        self.epoch += 1;
        self.reach(ROOT, &mut active);
        for word in words(key) {
            self.epoch += 1;
            next.clear();
            for &at in &active {
                let node = &self.nodes[at as usize];
                let (star, is_hash) = (node.star, node.is_hash);
                let exact = node.words.get(word).copied().unwrap_or(NONE);
                if is_hash {
                    self.reach(at, &mut next);
                }
                if exact != NONE {
                    self.reach(exact, &mut next);
                }
                if star != NONE {
                    self.reach(star, &mut next);
                }
            }
            std::mem::swap(&mut active, &mut next);
        }
        for &at in &active {
            out.extend_from_slice(self.nodes[at as usize].values.as_slice());
        }
        self.active = active;
        self.next = next;
    }

    /// Marks a node as reached by this word, and what `#` reaches from it with no word at all.
    fn reach(&mut self, mut at: u32, into: &mut Vec<u32>) {
        loop {
            let node = &mut self.nodes[at as usize];
            if node.seen == self.epoch {
                return;
            }
            node.seen = self.epoch;
            into.push(at);
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
        let node = Node::new(at, word == b"#");
        let child = if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = node;
            free
        } else {
            self.nodes.push(node);
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
            let parent = self.nodes[at as usize].parent;
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

/// The empty key is no word at all; elsewhere an empty word counts.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let skip = usize::from(key.is_empty());
    key.split(|byte| *byte == b'.').skip(skip)
}

#[cfg(test)]
mod tests;
