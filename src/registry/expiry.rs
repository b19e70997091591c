//! Looks for leases that run out, and says in the log what came of it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Registry, state::Numbered};
use crate::model::{Event, EventKind};

/// How late a lease may be found to have run out.
const PAUSE: Duration = Duration::from_millis(100);
/// So many instances removed at once are named.
const NAMED_MAX: usize = 10;

impl Registry {
    /// Removes instances whose leases run out, until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let ended = self.change(|state, now, out| {
                state.expire(now, out);
                Ended::of(out)
            });
            // Not while others wait to write.
            ended.tell();
            self.inner.clock.follow_wall();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => (),
            }
        }
    }
}

/// What the log is to tell of.
#[derive(Debug, Default)]
struct Ended {
    guards: Vec<String>,
    instances: Vec<String>,
    unnamed: usize,
}

impl Ended {
    fn of(out: &[Numbered]) -> Self {
        let mut ended = Self::default();
        for event in out.iter().map(|numbered| &numbered.event) {
            match event.kind {
                EventKind::GuardEngaged | EventKind::GuardReleased => ended.guard(event),
                EventKind::Expired if ended.instances.len() < NAMED_MAX => ended.instance(event),
                EventKind::Expired => ended.unnamed += 1,
                _ => (),
            }
        }
        ended
    }

    fn guard(&mut self, event: &Event) {
        let name = event.service_name.as_ref().map_or("", |name| name.as_str());
        let reason = event.reason.as_deref().unwrap_or_default();
        let what = match event.kind {
            EventKind::GuardEngaged => "is engaged",
            _ => "has ended",
        };
        let line = format!("the expiry guard of service \"{name}\" {what}: {reason}");
        self.guards.push(line);
    }

    fn instance(&mut self, event: &Event) {
        let id = event.service_id.as_ref().map_or("", |id| id.as_str());
        let reason = event.reason.as_deref().unwrap_or_default();
        let line = format!("instance \"{id}\" is removed: {reason}");
        self.instances.push(line);
    }

    fn tell(&self) {
        for line in &self.guards {
            tracing::warn!("{line}");
        }
        for line in &self.instances {
            tracing::info!("{line}");
        }
        let unnamed = self.unnamed;
        if unnamed > 0 {
            tracing::info!("{unnamed} more instances are removed");
        }
    }
}
