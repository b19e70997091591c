//! Gauges of single services: how many instances have which status. The largest by name, the rest together.

use std::{collections::BTreeSet, time::Duration};

use tokio::{task::yield_now, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    model::{Revision, ServiceName, Status},
    registry::Registry,
    tasks::{Stage, Tasks},
    telemetry::{IntGaugeVec, Metrics},
};

/// The most services with separate gauges.
const SERVICES_MAX: usize = 200;
/// The label of all others.
const OTHERS: &str = "_others";
/// How old a gauge may be.
const PAUSE: Duration = Duration::from_secs(2);
/// Instances counted before other tasks get their turn.
const AT_ONCE: usize = 2_000;

/// Counts by status, in the order of [`Status::ALL`].
type StatusCounts = [u32; Status::ALL.len()];

/// The gauges, and the services they show.
#[derive(Debug)]
struct ServiceGauges {
    gauges: IntGaugeVec,
    shown: BTreeSet<String>,
}

/// Shows the services among the metrics from now on.
pub(super) fn show(metrics: &Metrics, registry: &Registry, tasks: &mut Tasks) {
    let (gauges, registry) = (ServiceGauges::new(metrics), registry.clone());
    tasks.spawn(Stage::Source, "service gauges", |stop| {
        gauges.run(registry, stop)
    });
}

impl ServiceGauges {
    fn new(metrics: &Metrics) -> Self {
        let gauges = metrics.gauges(
            "musterd_service_instances",
            "Instances by service and status: the 200 largest services, all others as _others.",
            &["service", "status"],
        );
        Self {
            gauges,
            shown: BTreeSet::new(),
        }
    }

    /// Counts again after each change, at most once in two seconds, until `stop`.
    async fn run(mut self, registry: Registry, stop: CancellationToken) {
        let mut counted: Option<Revision> = None;
        loop {
            let newest = registry.newest();
            if counted != Some(newest) {
                self.show(count(&registry).await);
                counted = Some(newest);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(PAUSE) => {}
            }
        }
    }

    fn show(&mut self, mut services: Vec<(ServiceName, StatusCounts)>) {
        let size = |counts: &StatusCounts| counts.iter().sum::<u32>();
        services
            .sort_by(|(name, one), (other, two)| size(two).cmp(&size(one)).then(name.cmp(other)));
        let split = services.len().min(SERVICES_MAX);
        let (largest, others) = services.split_at(split);
        let mut now = BTreeSet::new();
        for (name, counts) in largest {
            self.set(name.as_str(), counts);
            now.insert(name.as_str().to_owned());
        }
        if !others.is_empty() {
            let mut sum = StatusCounts::default();
            for (_, counts) in others {
                for (sum, count) in sum.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
            self.set(OTHERS, &sum);
            now.insert(OTHERS.to_owned());
        }
        for gone in self.shown.difference(&now) {
            for status in Status::ALL {
                // It was there, so it can be removed.
                let _ = self
                    .gauges
                    .remove_label_values(&[gone.as_str(), status.as_str()]);
            }
        }
        self.shown = now;
    }

    fn set(&self, service: &str, counts: &StatusCounts) {
        for (status, count) in Status::ALL.into_iter().zip(counts) {
            let gauge = self.gauges.with_label_values(&[service, status.as_str()]);
            gauge.set((*count).into());
        }
    }
}

/// Counts the instances of every service that has any.
async fn count(registry: &Registry) -> Vec<(ServiceName, StatusCounts)> {
    let mut counted = Vec::new();
    let mut since_yield = 0;
    for service in registry.services() {
        let mut counts = StatusCounts::default();
        let view = service.view();
        for instance in view.instances.values() {
            counts[instance.status() as usize] += 1;
            since_yield += 1;
            if since_yield >= AT_ONCE {
                yield_now().await;
                since_yield = 0;
            }
        }
        if counts != StatusCounts::default() {
            counted.push((service.name().clone(), counts));
        }
    }
    counted
}

#[cfg(test)]
mod tests;
