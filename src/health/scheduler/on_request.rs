//! Probes on request: limited in number, and one run at a time for each instance.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::outbound::SharedPlaces;

#[derive(Debug)]
pub(super) struct OnRequest {
    places: SharedPlaces,
    /// The instances whose checks run on request, and whether that run is done.
    running: Arc<Mutex<HashMap<Box<str>, watch::Receiver<bool>>>>,
}

/// A run under way; others may start one when this is dropped.
struct RunGuard {
    id: Box<str>,
    is_done: watch::Sender<bool>,
    running: Arc<Mutex<HashMap<Box<str>, watch::Receiver<bool>>>>,
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

impl OnRequest {
    pub(super) fn new(max: usize) -> Self {
        Self {
            places: SharedPlaces::new(max),
            running: Arc::default(),
        }
    }

    pub(super) fn places(&self) -> &SharedPlaces {
        &self.places
    }

    /// Runs `work` for an instance, or waits for the run that is under way. A run whose request ended
    /// early is not waited for: the next request starts its own.
    pub(super) async fn once<F: Future<Output = ()>>(&self, id: &str, work: impl FnOnce() -> F) {
        let guard = loop {
            match self.join(id) {
                Ok(guard) => break guard,
                Err(mut run) => {
                    if run.wait_for(|is_done| *is_done).await.is_ok() {
                        return;
                    }
                }
            }
        };
        work().await;
        guard.is_done.send_replace(true);
    }

    /// A new run, or the one that is under way.
    fn join(&self, id: &str) -> Result<RunGuard, watch::Receiver<bool>> {
        let mut running = self.running.lock();
        if let Some(run) = running.get(id) {
            return Err(run.clone());
        }
        let (is_done, run) = watch::channel(false);
        running.insert(id.into(), run);
        Ok(RunGuard {
            id: id.into(),
            is_done,
            running: Arc::clone(&self.running),
        })
    }
}

#[cfg(test)]
mod tests;
