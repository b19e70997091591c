//! A disk in memory that fails at a chosen call, and loses and tears what was not synced when it crashes.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::super::disk::{Disk, DiskFile};

/// Which call fails, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    None,
    /// The disk is full from this call on, until it is mended.
    Full(u64),
    /// This one call fails.
    Io(u64),
    /// The power is lost at this call: it and all later ones fail.
    Power(u64),
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What a loss of power leaves.
    durable: Vec<u8>,
}

type Names = BTreeMap<String, Arc<Mutex<Content>>>;

#[derive(Debug, Default)]
struct State {
    names: Mutex<Names>,
    durable: Mutex<Names>,
    calls: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk(Arc<State>);

#[derive(Debug)]
struct SimFile {
    state: Arc<State>,
    content: Arc<Mutex<Content>>,
}

impl State {
    /// StoreCounts a call that changes something. How much of a write of `len` bytes is made before it fails.
    fn call(&self, is_write: bool, len: usize) -> Result<(), (usize, io::Error)> {
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        let part = len / 2;
        match *self.fault.lock() {
            Some(Fault::Full(at)) if n >= at && is_write => {
                Err((part, io::ErrorKind::StorageFull.into()))
            }
            Some(Fault::Io(at)) if n == at => Err((part, io::Error::other("a bad sector"))),
            Some(Fault::Power(at)) if n >= at => {
                let part = if n == at { part } else { 0 };
                Err((part, io::Error::other("no power")))
            }
            _ => Ok(()),
        }
    }

    fn simple(&self, is_write: bool) -> io::Result<()> {
        self.call(is_write, 0).map_err(|(_, error)| error)
    }
}

impl SimDisk {
    pub(super) fn set(&self, fault: Fault) {
        *self.0.fault.lock() = Some(fault);
    }

    pub(super) fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// The disk as it is after the process ended: everything that was written.
    pub(super) fn after_kill(&self) -> Self {
        self.copy(&self.0.names.lock(), |content| content.bytes.clone())
    }

    /// The disk as it is after a loss of power: what was synced, and of the rest a part that `random` chooses, cut
    /// anywhere or with holes.
    pub(super) fn after_power_loss(&self, random: &mut fastrand::Rng) -> Self {
        let names = match random.bool() {
            true => self.0.names.lock(),
            false => self.0.durable.lock(),
        };
        self.copy(&names, |content| {
            let (synced, written) = (&content.durable, &content.bytes);
            let len = random.usize(synced.len().min(written.len())..=written.len());
            let mut left = written[..len].to_vec();
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
            let content = Content {
                durable: bytes.clone(),
                bytes,
            };
            (name.clone(), Arc::new(Mutex::new(content)))
        });
        let names: Names = copied.collect();
        let disk = Self::default();
        (*disk.0.names.lock()).clone_from(&names);
        *disk.0.durable.lock() = names;
        disk
    }
}

impl Disk for SimDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.names.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let content = self.0.names.lock().get(name).cloned();
        let content = content.ok_or(io::ErrorKind::NotFound)?;
        let state = Arc::clone(&self.0);
        Ok(Box::new(SimFile { state, content }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.simple(true)?;
        let content = Arc::default();
        let mut names = self.0.names.lock();
        names.insert(name.to_owned(), Arc::clone(&content));
        let state = Arc::clone(&self.0);
        Ok(Box::new(SimFile { state, content }))
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
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let called = self.state.call(true, bytes.len());
        let n = called
            .as_ref()
            .map_or_else(|(part, _)| *part, |()| bytes.len());
        let mut content = self.content.lock();
        let at = usize::try_from(at).unwrap();
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
        self.state.simple(false)?;
        let mut content = self.content.lock();
        content.durable = content.bytes.clone();
        Ok(())
    }
}
