//! Names to addresses, with a short memory, so that many requests for one name ask once.

use std::{
    collections::HashMap,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    task,
    time::{Instant, timeout_at},
};

use super::error::{OutboundError, Step};

/// The longest name (RFC 1035, section 2.3.4, with a final dot).
const NAME_BYTES_MAX: usize = 254;

type Found = Result<Arc<[IpAddr]>, Arc<str>>;

#[derive(Debug)]
pub(super) struct Resolver {
    memory: Arc<Memory>,
    /// The system's resolver blocks a thread for each name.
    turns: Arc<Semaphore>,
}

impl Resolver {
    pub(super) fn new(ttl: Duration, names_max: usize, resolving_max: usize) -> Self {
        let memory = Memory {
            ttl,
            generation_max: names_max.div_ceil(2).max(1),
            known: Mutex::default(),
        };
        Self {
            memory: Arc::new(memory),
            turns: Arc::new(Semaphore::new(resolving_max.max(1))),
        }
    }

    /// The addresses of `host`, which may be an address itself.
    pub(super) async fn resolve(
        &self,
        host: &str,
        deadline: Instant,
    ) -> Result<Arc<[IpAddr]>, OutboundError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([address]));
        }
        if let Some(found) = self.memory.recall(host) {
            return outcome(host, found);
        }
        let overdue = |_| OutboundError::Deadline(Step::Resolving);
        let found = timeout_at(deadline, self.ask(host))
            .await
            .map_err(overdue)?;
        outcome(host, found)
    }

    async fn ask(&self, host: &str) -> Found {
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else {
            return Err("the resolver is closed".into());
        };
        // Somebody else may have asked the same while this one waited.
        if let Some(found) = self.memory.recall(host) {
            return found;
        }
        let memory = Arc::clone(&self.memory);
        let name: Box<str> = host.into();
        // Goes on when nobody waits any more: it holds its turn, and the next one finds the answer.
        let asked = task::spawn_blocking(move || {
            let found = look_up(&name);
            memory.keep(&name, found.clone());
            drop(turn);
            found
        });
        asked
            .await
            .unwrap_or_else(|_| Err("the resolver stopped".into()))
    }
}

fn outcome(host: &str, found: Found) -> Result<Arc<[IpAddr]>, OutboundError> {
    found.map_err(|why| OutboundError::Unresolved {
        host: host.chars().take(NAME_BYTES_MAX).collect(),
        why: why.as_ref().into(),
    })
}

fn look_up(name: &str) -> Found {
    if name.len() > NAME_BYTES_MAX {
        return Err("it is longer than a name can be".into());
    }
    let found = (name, 0).to_socket_addrs();
    let found = found.map_err(|error| Arc::from(error.to_string()))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|found| found.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err("it has no address".into());
    }
    Ok(addresses.into())
}

/// Two generations of names: when the young one is full it becomes the old one, which is forgotten.
#[derive(Debug)]
struct Memory {
    ttl: Duration,
    generation_max: usize,
    known: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, (Instant, Found)>,
    old: HashMap<Box<str>, (Instant, Found)>,
}

impl Memory {
    fn recall(&self, name: &str) -> Option<Found> {
        let known = self.known.lock();
        let (until, found) = known.young.get(name).or_else(|| known.old.get(name))?;
        (Instant::now() < *until).then(|| found.clone())
    }

    fn keep(&self, name: &str, found: Found) {
        let ttl = if found.is_ok() {
            self.ttl
        } else {
            self.ttl / 10
        };
        let until = Instant::now() + ttl;
        let mut known = self.known.lock();
        if known.young.len() >= self.generation_max && !known.young.contains_key(name) {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(name.into(), (until, found));
    }
}

#[cfg(test)]
mod tests;
