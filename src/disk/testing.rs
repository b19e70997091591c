//! A disk in memory that is full, fails at a chosen call, and loses or tears unsynced data when it crashes.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::{Condvar, Mutex};

use super::{Disk, DiskFile};

/// Which call fails, and how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The disk is full from this call on, until it is mended.
    Full(u64),
    /// This one call fails.
    Io(u64),
    /// The power is lost at this call: it and all later ones fail.
    Power(u64),
    /// Each sync of a file panics.
    Panic,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// The state after a loss of power.
    durable: Vec<u8>,
}

type Names = BTreeMap<String, Arc<Mutex<Content>>>;

#[derive(Debug)]
struct State {
    names: Mutex<Names>,
    durable: Mutex<Names>,
    /// Bytes of all files, at most.
    capacity: AtomicU64,
    calls: AtomicU64,
    syncs: AtomicU64,
    read_bytes: AtomicU64,
    fault: Mutex<Fault>,
    /// Whether no sync of a file may end.
    is_held: Mutex<bool>,
    freed: Condvar,
}

#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<State>);

#[derive(Debug)]
struct SimFile {
    state: Arc<State>,
    content: Arc<Mutex<Content>>,
}

/// No sync of a file ends until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldSyncs(Arc<State>);

impl Drop for HeldSyncs {
    fn drop(&mut self) {
        *self.0.is_held.lock() = false;
        self.0.freed.notify_all();
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self(Arc::new(State {
            names: Mutex::default(),
            durable: Mutex::default(),
            capacity: AtomicU64::new(u64::MAX),
            calls: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            fault: Mutex::default(),
            is_held: Mutex::default(),
            freed: Condvar::new(),
        }))
    }
}

impl State {
    /// Counts a call that changes something. How much of a write of `len` bytes is made before it fails.
    fn call(&self, is_write: bool, len: usize) -> Result<(), (usize, io::Error)> {
        let n = self.calls.fetch_add(1, Relaxed);
        let part = len / 2;
        match *self.fault.lock() {
            Fault::Full(at) if n >= at && is_write => {
                Err((part, io::ErrorKind::StorageFull.into()))
            }
            Fault::Io(at) if n == at => Err((part, io::Error::other("a bad sector"))),
            Fault::Power(at) if n >= at => {
                let part = if n == at { part } else { 0 };
                Err((part, io::Error::other("no power")))
            }
            _ => Ok(()),
        }
    }

    fn simple(&self, is_write: bool) -> io::Result<()> {
        self.call(is_write, 0).map_err(|(_, error)| error)
    }

    fn used(&self) -> u64 {
        let names = self.names.lock();
        let lens = names.values().map(|content| content.lock().bytes.len());
        lens.sum::<usize>() as u64
    }
}

impl SimDisk {
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.fault.lock() = fault;
    }

    /// No sync of a file ends until the answer is dropped.
    pub(crate) fn hold_syncs(&self) -> HeldSyncs {
        *self.0.is_held.lock() = true;
        HeldSyncs(Arc::clone(&self.0))
    }

    /// From now on the files may have so many bytes.
    pub(crate) fn limit(&self, capacity: u64) {
        self.0.capacity.store(capacity, Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.0.used()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.calls.load(Relaxed)
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.0.syncs.load(Relaxed)
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        self.0.read_bytes.load(Relaxed)
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        self.0.names.lock()[name].lock().bytes.clone()
    }

    /// A copy with one file replaced, or removed.
    pub(crate) fn with(&self, name: &str, content: Option<Vec<u8>>) -> Self {
        let copy = self.after_kill();
        let mut names = copy.0.names.lock();
        match content {
            None => drop(names.remove(name)),
            Some(bytes) => {
                let durable = bytes.clone();
                let content = Arc::new(Mutex::new(Content { bytes, durable }));
                names.insert(name.to_owned(), content);
            }
        }
        (*copy.0.durable.lock()).clone_from(&names);
        drop(names);
        copy
    }

    pub(crate) fn segments(&self) -> Vec<String> {
        let names = self.names().unwrap();
        names
            .into_iter()
            .filter(|name| name.starts_with("segment-"))
            .collect()
    }

    /// The disk as it is after the process ended: everything that was written, and still not synced.
    pub(crate) fn after_kill(&self) -> Self {
        let copied = |content: &Mutex<Content>| {
            let Content { bytes, durable } = &*content.lock();
            let (bytes, durable) = (bytes.clone(), durable.clone());
            Arc::new(Mutex::new(Content { bytes, durable }))
        };
        let (names, durable) = (self.0.names.lock(), self.0.durable.lock());
        let copies: Names = names
            .iter()
            .map(|(name, content)| (name.clone(), copied(content)))
            .collect();
        let copies_of_durable = durable.iter().map(|(name, content)| {
            let is_same = names.get(name).is_some_and(|one| Arc::ptr_eq(one, content));
            let copy = copies.get(name).filter(|_| is_same);
            (
                name.clone(),
                copy.map_or_else(|| copied(content), Arc::clone),
            )
        });
        let disk = Self::default();
        *disk.0.durable.lock() = copies_of_durable.collect();
        *disk.0.names.lock() = copies;
        disk
    }

    /// The disk as it is after a loss of power: everything that was synced, and a part of the rest. `random`
    /// chooses the part; it may be cut anywhere or have holes.
    pub(crate) fn after_power_loss(&self, random: &mut fastrand::Rng) -> Self {
        let written = self.0.names.lock().clone();
        let mut names = self.0.durable.lock().clone();
        // Each new name and each removal may have become durable by itself.
        for (name, content) in &written {
            if random.bool() {
                names.insert(name.clone(), Arc::clone(content));
            }
        }
        names.retain(|name, _| written.contains_key(name) || random.bool());
        self.copy(&names, |content| {
            let (synced, written) = (&content.durable, &content.bytes);
            let len = random.usize(synced.len().min(written.len())..=written.len());
            let mut left = written[..len].to_vec();
            // What was written over may be the old or the new.
            for (new, old) in left.chunks_mut(64).zip(synced.chunks(64)) {
                let len = new.len().min(old.len());
                if new[..len] != old[..len] && random.bool() {
                    new[..len].copy_from_slice(&old[..len]);
                }
            }
            let unsynced = synced.len().min(len);
            if random.bool() {
                // Pages reach the disk in any order.
                for piece in left[unsynced..].chunks_mut(64) {
                    if random.u8(..4) == 0 {
                        piece.fill(0);
                    }
                }
            }
            left
        })
    }

    fn copy(&self, names: &Names, mut left: impl FnMut(&Content) -> Vec<u8>) -> Self {
        let copied = names.iter().map(|(name, content)| {
            let bytes = left(&content.lock());
            let durable = bytes.clone();
            let content = Arc::new(Mutex::new(Content { bytes, durable }));
            (name.clone(), content)
        });
        let names: Names = copied.collect();
        let disk = Self::default();
        (*disk.0.names.lock()).clone_from(&names);
        *disk.0.durable.lock() = names;
        disk
    }

    fn file(&self, content: Arc<Mutex<Content>>) -> Arc<dyn DiskFile> {
        let state = Arc::clone(&self.0);
        Arc::new(SimFile { state, content })
    }
}

impl Disk for SimDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.names.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.0.names.lock().get(name).cloned();
        Ok(self.file(content.ok_or(io::ErrorKind::NotFound)?))
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.0.names.lock().contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.create(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.simple(true)?;
        let content = Arc::default();
        let mut names = self.0.names.lock();
        names.insert(name.to_owned(), Arc::clone(&content));
        drop(names);
        Ok(self.file(content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.simple(false)?;
        let mut names = self.0.names.lock();
        let content = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.simple(false)?;
        let removed = self.0.names.lock().remove(name);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.simple(false)?;
        self.0.syncs.fetch_add(1, Relaxed);
        let names = self.0.names.lock().clone();
        *self.0.durable.lock() = names;
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().bytes.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let rest = content.bytes.get(usize::try_from(at).unwrap()..);
        let rest = rest.unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.state.read_bytes.fetch_add(n as u64, Relaxed);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut called = self.state.call(true, bytes.len());
        let at = usize::try_from(at).unwrap();
        let grown = (at + bytes.len()).saturating_sub(self.content.lock().bytes.len());
        let room = self.state.capacity.load(Relaxed);
        let room = room.saturating_sub(self.state.used());
        if called.is_ok() && (grown as u64) > room {
            let part = bytes.len() - (grown - usize::try_from(room).unwrap());
            called = Err((part, io::ErrorKind::StorageFull.into()));
        }
        let n = called
            .as_ref()
            .map_or_else(|(part, _)| *part, |()| bytes.len());
        let mut content = self.content.lock();
        let end = content.bytes.len().max(at + n);
        content.bytes.resize(end, 0);
        content.bytes[at..at + n].copy_from_slice(&bytes[..n]);
        called.map_err(|(_, error)| error)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state.simple(false)?;
        let len = usize::try_from(len).unwrap();
        self.content.lock().bytes.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut is_held = self.state.is_held.lock();
        while *is_held {
            self.state.freed.wait(&mut is_held);
        }
        drop(is_held);
        let fault = *self.state.fault.lock();
        assert!(fault != Fault::Panic, "a fault of the program");
        self.state.simple(false)?;
        self.state.syncs.fetch_add(1, Relaxed);
        let mut content = self.content.lock();
        content.durable = content.bytes.clone();
        Ok(())
    }
}
