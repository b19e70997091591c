//! Why the daemon does not start or run on.

use std::error::Error;

use super::StoreUnusable;
use crate::{
    broker::BrokerError, dns::DnsError, http, outbound::OutboundError, security::SecurityError,
    tasks::StopError, tls::TlsError, transport::amqp::AmqpError,
};

/// Why the daemon did not start, or ended other than on request.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The HTTP port can't be listened on.
    #[error("HTTP can't be served")]
    Bind(#[from] http::BindError),
    /// The AMQP port can't be listened on, or the broker's configuration contradicts itself.
    #[error("AMQP can't be served")]
    Broker(#[from] BrokerError),
    /// The DNS port can't be listened on.
    #[error("DNS can't be served")]
    Dns(#[from] DnsError),
    /// The store cannot be opened.
    #[error("the store cannot be used")]
    Store(#[from] StoreUnusable),
    /// The broker of the transport cannot be used.
    #[error("the broker cannot be used")]
    Amqp(#[from] AmqpError),
    /// This build has no client for other brokers.
    #[cfg(not(feature = "amqp"))]
    #[error(
        "this build of musterd cannot use transport.amqp_url: it was built without the cargo feature \"amqp\""
    )]
    NotBuilt,
    /// The files of `http.tls` can't be used.
    #[error("HTTP can't be served with TLS")]
    Tls(#[from] TlsError),
    /// The rules for hosts and other origins contradict themselves.
    #[error("http.hosts or http.cors is not valid")]
    Access(#[from] http::AccessError),
    /// The identities can't be set up, or a door would be open to other machines.
    #[error("the daemon does not start without safe settings of section security")]
    Security(#[from] SecurityError),
    /// The client of probes and webhooks can't be made.
    #[error("outbound connections can't be made")]
    Outbound(#[from] OutboundError),
    /// The process can't catch signals.
    #[error("signals can't be caught")]
    Signals(#[source] std::io::Error),
    /// A component failed or did not stop in time.
    #[error("a component failed")]
    Stopped(#[from] StopError),
}

impl AppError {
    /// True when another configuration is what helps.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Access(_) | Self::Outbound(_) | Self::Amqp(_) | Self::Tls(_) => true,
            #[cfg(not(feature = "amqp"))]
            Self::NotBuilt => true,
            Self::Security(error) => error.is_configuration(),
            Self::Bind(error) => matches!(error, http::BindError::Address { .. }),
            Self::Dns(error) => matches!(error, DnsError::Address { .. }),
            Self::Broker(error) => {
                !matches!(error, BrokerError::Listen { .. } | BrokerError::Stored(_))
            }
            Self::Signals(_) | Self::Stopped(_) | Self::Store(_) => false,
        }
    }
}

/// An error and all of its causes, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
