//! The HTTP server and what it serves: `serve` carries requests, `rest`, `watch` and `consul` answer them.
//!
//! Decides nothing about services: it asks the catalog and the other parts in `Deps`, and sends their answers.

mod answer;
mod config;
mod consul;
mod dashboard;
mod deps;
mod eureka;
mod management;
mod problems;
mod rest;
mod serve;
mod state;
#[cfg(test)]
mod testing;
mod tls;
mod watch;

pub use self::{
    config::Config,
    consul::{Config as ConsulConfig, ConsulApp, ConsulControls},
    dashboard::DashboardMode,
    deps::{
        BrokerList, BrokerPages, BrokerUsers, Migrations, Probes, PublishError, Readiness,
        Snapshots, SystemParts, Transports, WatcherError, Watchers,
    },
    eureka::EurekaDraft,
    management::{BrokerAddresses, ManagedBroker, ManagementApp, bind_management},
    rest::{BrokerConfig, InProcessClient},
    serve::{AccessError, BindError, Cors, CorsError, HttpListener},
    state::{Deps, HttpApp, bind, bind_tls},
    tls::{ClientAuth, Config as TlsConfig},
    watch::Config as WatchConfig,
};
