//! A part of a long list, made without making the rest of it.

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only of this virtual host.
    pub vhost: Option<String>,
    /// Only what has this in one of its names; empty for all.
    pub name: String,
    /// The most items.
    pub limit: usize,
}

/// Takes the items of a list, or leaves them.
pub trait Gather<T> {
    /// Offers the item that these names lead to.
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
    /// As many items as were wanted.
    pub items: Vec<T>,
    /// How many there would be without the limit.
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
