//! A part of a long list; the other items are not built.

use memchr::memmem::Finder;

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only of this virtual host.
    pub vhost: Option<String>,
    /// Only items with this text in one of their names; empty for all.
    pub name: String,
    /// The most items.
    pub limit: usize,
}

/// Collects items of a list.
pub trait Gather<T> {
    /// Offers an item with these names; `make` builds it if it is collected. Returns how many bytes of names were
    /// searched.
    fn offer(&mut self, names: &[&[u8]], make: impl FnOnce() -> T) -> usize;
}

impl<T> Gather<T> for Vec<T> {
    fn offer(&mut self, _: &[&[u8]], make: impl FnOnce() -> T) -> usize {
        self.push(make());
        0
    }
}

/// The part of a list that was wanted.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// The items, at most as many as the limit.
    pub items: Vec<T>,
    /// How many items match, without the limit.
    pub total: usize,
    /// None: every item matches.
    name: Option<Finder<'static>>,
    limit: usize,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            total: 0,
            name: None,
            limit: 0,
        }
    }
}

impl<T> Listing<T> {
    /// Nothing yet.
    pub fn new(wanted: &Wanted) -> Self {
        Self {
            items: Vec::new(),
            total: 0,
            name: (!wanted.name.is_empty()).then(|| Finder::new(&wanted.name).into_owned()),
            limit: wanted.limit,
        }
    }

    /// Whether an item with these names is wanted, and how many bytes were searched to find that out.
    fn wants(&self, names: &[&[u8]]) -> (bool, usize) {
        let Some(part) = &self.name else {
            return (true, 0);
        };
        let mut searched = 0;
        let is_wanted = names.iter().any(|name| {
            searched += name.len();
            part.find(name).is_some()
        });
        (is_wanted, searched)
    }
}

impl<T> Gather<T> for Listing<T> {
    fn offer(&mut self, names: &[&[u8]], make: impl FnOnce() -> T) -> usize {
        let (is_wanted, searched) = self.wants(names);
        if is_wanted {
            self.total += 1;
            if self.items.len() < self.limit {
                self.items.push(make());
            }
        }
        searched
    }
}

#[cfg(test)]
mod tests;
