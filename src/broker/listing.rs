//! A part of a long list; the other items are not built.

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
    /// Offers an item with these names; `make` builds it if it is collected.
    fn offer(&mut self, names: &[&[u8]], make: impl FnOnce() -> T);
}

impl<T> Gather<T> for Vec<T> {
    fn offer(&mut self, _: &[&[u8]], make: impl FnOnce() -> T) {
        self.push(make());
    }
}

/// The part of a list that was wanted.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// The items, at most as many as the limit.
    pub items: Vec<T>,
    /// How many items match, without the limit.
    pub total: usize,
    name: Vec<u8>,
    limit: usize,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            total: 0,
            name: Vec::new(),
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
            name: wanted.name.clone().into_bytes(),
            limit: wanted.limit,
        }
    }

    fn wants(&self, name: &[u8]) -> bool {
        let part = self.name.as_slice();
        part.is_empty() || name.windows(part.len()).any(|window| window == part)
    }
}

impl<T> Gather<T> for Listing<T> {
    fn offer(&mut self, names: &[&[u8]], make: impl FnOnce() -> T) {
        if !names.iter().any(|name| self.wants(name)) {
            return;
        }
        self.total += 1;
        if self.items.len() < self.limit {
            self.items.push(make());
        }
    }
}

#[cfg(test)]
mod tests;
