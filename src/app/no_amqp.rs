//! In place of the way over a broker, in a build that has none.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::AppError;
use crate::{
    api::{BrokerReport, ChannelReport, Defaults},
    broker::{Broker, Listening},
    catalog::Catalog,
    config::Config,
    http::InProcessClient,
    model::{FlagError, Modes},
    registry::{Notices, Registry},
    tasks::Tasks,
    transport::{DirectMetrics, Flag},
};

/// There is none.
#[derive(Clone, Debug)]
pub(super) enum Way {}

impl Way {
    pub(super) fn channels(&self) -> Vec<ChannelReport> {
        match *self {}
    }

    pub(super) fn stuck(&self) -> Option<String> {
        match *self {}
    }

    pub(super) fn broker(&self) -> BrokerReport {
        match *self {}
    }

    pub(super) fn set(
        &self,
        _: Modes,
        _: Option<u64>,
    ) -> std::future::Ready<Result<u64, FlagError>> {
        match *self {}
    }

    pub(super) fn settled(&self, _: Duration) -> std::future::Ready<bool> {
        match *self {}
    }
}

pub(super) fn check(_: &Config) -> Result<(), AppError> {
    Ok(())
}

pub(super) fn build(
    _: &Config,
    _: Option<&Listening>,
    _: &Registry,
    _: &Flag,
    _: DirectMetrics,
) -> Result<Option<Way>, AppError> {
    Ok(None)
}

#[expect(clippy::unused_async, reason = "the same as in a build that has AMQP")]
pub(super) async fn ask(way: &Way, _: &'static str, _: &[u8]) -> Result<Bytes, String> {
    match *way {}
}

/// In place of what it takes to answer commands.
pub(super) struct Answers {
    pub(super) catalog: Catalog,
    pub(super) defaults: Arc<Defaults>,
    pub(super) broker: Option<Broker>,
    pub(super) asker: InProcessClient,
}

pub(super) fn start(way: &Way, _: Answers, _: Arc<Notices>, _: &mut Tasks) {
    match *way {}
}

pub(super) mod checks {
    //! In place of health checks over the broker.

    use super::{AppError, Config, Tasks, Way};
    use crate::{health::Health, outbound::Client, registry::Clock, telemetry::Metrics};

    pub(in crate::app) fn start(
        way: &Way,
        _: &Config,
        _: &Health,
        _: &Client,
        _: &Clock,
        _: &Metrics,
        _: &mut Tasks,
    ) {
        match *way {}
    }

    #[expect(clippy::unused_async, reason = "the same as in a build that has AMQP")]
    pub(in crate::app) async fn run_alone(
        _: Config,
        _: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        Err(AppError::NotBuilt)
    }
}
