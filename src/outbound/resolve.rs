//! Resolves names to addresses and caches the result for a short time.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task,
    time::{Instant, timeout_at},
};

use super::{
    error::{OutboundError, RequestStep},
    places::{Pace, SharedPlaces},
};

/// The longest name (RFC 1035, section 2.3.4, with a final dot).
const NAME_BYTES_MAX: usize = 254;

type LookupResult = Result<Arc<[IpAddr]>, Arc<str>>;

/// How a name is looked up; it blocks its thread.
type LookUp = Arc<dyn Fn(&str) -> LookupResult + Send + Sync>;

/// Looks names up, each once at a time. Slow names, such as those that no DNS server answers, share a part of
/// the places, so that other names are still looked up.
pub(super) struct Resolver {
    memory: Arc<LookupCache>,
    running: Arc<RunningLookups>,
    /// The system's resolver blocks a thread for each name.
    places: SharedPlaces,
    look_up: LookUp,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("memory", &self.memory)
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

/// Lookups under way, by name.
type RunningLookups = Mutex<HashMap<Box<str>, watch::Receiver<LookupProgress>>>;

/// How far a lookup is.
#[derive(Clone, Debug)]
enum LookupProgress {
    /// It waits for a place.
    Waiting,
    /// The system's resolver was asked.
    Asked,
    Done(LookupResult),
}

/// One lookup. Others that need the same name meanwhile wait for this one.
struct Lookup {
    name: Box<str>,
    progress: watch::Sender<LookupProgress>,
    running: Arc<RunningLookups>,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.running.lock().remove(&self.name);
    }
}

impl Resolver {
    pub(super) fn new(ttl: Duration, names_max: usize, resolving_max: usize) -> Self {
        let memory = LookupCache {
            ttl,
            generation_max: names_max.div_ceil(2).max(1),
            known: Mutex::default(),
        };
        Self {
            memory: Arc::new(memory),
            running: Arc::default(),
            places: SharedPlaces::new(resolving_max),
            look_up: Arc::new(look_up),
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
        loop {
            let (lookup, mut progress) = self.join(host);
            let asked = self.ask(lookup, &mut progress);
            let Ok(found) = timeout_at(deadline, asked).await else {
                let is_asked = !matches!(*progress.borrow(), LookupProgress::Waiting);
                return Err(OutboundError::Deadline(if is_asked {
                    RequestStep::Resolving
                } else {
                    RequestStep::Place
                }));
            };
            if let Some(found) = found {
                return outcome(host, found);
            }
        }
    }

    /// The lookup of `host` that is under way, or a new one.
    fn join(&self, host: &str) -> (Option<Lookup>, watch::Receiver<LookupProgress>) {
        let mut running = self.running.lock();
        if let Some(progress) = running.get(host) {
            return (None, progress.clone());
        }
        let (sender, progress) = watch::channel(LookupProgress::Waiting);
        let lookup = Lookup {
            name: host.into(),
            progress: sender,
            running: Arc::clone(&self.running),
        };
        running.insert(host.into(), progress.clone());
        (Some(lookup), progress)
    }

    /// None when another request began the lookup and gave up before it had a place.
    async fn ask(
        &self,
        lookup: Option<Lookup>,
        progress: &mut watch::Receiver<LookupProgress>,
    ) -> Option<LookupResult> {
        if let Some(lookup) = lookup {
            let place = self.places.enter(self.memory.pace(&lookup.name)).await;
            let (memory, look_up) = (Arc::clone(&self.memory), Arc::clone(&self.look_up));
            // Continues without waiting requests: it keeps its place, and the next request joins it.
            task::spawn_blocking(move || {
                lookup.progress.send_replace(LookupProgress::Asked);
                let began = Instant::now();
                let found = look_up(&lookup.name);
                memory.keep(&lookup.name, found.clone(), Pace::of(began.elapsed()));
                lookup.progress.send_replace(LookupProgress::Done(found));
                drop(place);
            });
        }
        let is_done = |progress: &LookupProgress| matches!(progress, LookupProgress::Done(_));
        match &*progress.wait_for(is_done).await.ok()? {
            LookupProgress::Done(found) => Some(found.clone()),
            LookupProgress::Waiting | LookupProgress::Asked => None,
        }
    }
}

fn outcome(host: &str, found: LookupResult) -> Result<Arc<[IpAddr]>, OutboundError> {
    found.map_err(|why| OutboundError::Unresolved {
        host: host.chars().take(NAME_BYTES_MAX).collect(),
        why: why.as_ref().into(),
    })
}

fn look_up(name: &str) -> LookupResult {
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

/// Two generations of names: when the young one is full it becomes the old one, and the old one is
/// dropped.
#[derive(Debug)]
struct LookupCache {
    ttl: Duration,
    generation_max: usize,
    known: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, CachedLookup>,
    old: HashMap<Box<str>, CachedLookup>,
}

/// The result of the last lookup of a name.
#[derive(Clone, Debug)]
struct CachedLookup {
    until: Instant,
    found: LookupResult,
    pace: Pace,
}

impl Generations {
    fn get(&self, name: &str) -> Option<&CachedLookup> {
        self.young.get(name).or_else(|| self.old.get(name))
    }
}

impl LookupCache {
    fn recall(&self, name: &str) -> Option<LookupResult> {
        let known = self.known.lock();
        let known = known.get(name)?;
        (Instant::now() < known.until).then(|| known.found.clone())
    }

    /// How long the last lookup of this name took, also when its result is no longer used.
    fn pace(&self, name: &str) -> Pace {
        self.known
            .lock()
            .get(name)
            .map_or(Pace::New, |known| known.pace)
    }

    fn keep(&self, name: &str, found: LookupResult, pace: Pace) {
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
        known
            .young
            .insert(name.into(), CachedLookup { until, found, pace });
    }
}

#[cfg(test)]
mod tests;
