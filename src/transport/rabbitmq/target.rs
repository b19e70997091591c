//! The broker's address, and how to connect to it.

use std::{fs, path::Path, str::FromStr, time::Duration};

use lapin::{
    Connection, ConnectionProperties,
    tcp::{OwnedIdentity, OwnedTLSConfig},
    uri::{AMQPScheme, AMQPUri},
};

use super::convert::{at, within as answered_within};
use crate::transport::{AmqpConfig, amqp::AmqpError};

/// The heartbeat interval, in seconds.
const HEARTBEAT_S: u16 = 5;
/// The usual proposal of brokers. A message's headers are in one frame, and the headers that other clients can send
/// must be readable.
const FRAME_BYTES_MAX: u32 = 128 * 1024;

/// A broker's URL and the certificates to trust.
#[derive(Clone)]
pub(super) struct RabbitTarget {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
}

impl std::fmt::Debug for RabbitTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RabbitTarget").field(&self.shown()).finish()
    }
}

impl RabbitTarget {
    /// The broker that `url` names.
    ///
    /// # Errors
    /// The URL or the certificates can't be read.
    pub(super) fn new(url: &str, config: &AmqpConfig) -> Result<Self, AmqpError> {
        let mut uri = AMQPUri::from_str(url).map_err(|error| {
            AmqpError::Url(format!(
                "is not a URL such as amqp://user:password@host:5672/ ({error})"
            ))
        })?;
        // "amqp://host" and "amqp://host/" both mean the default vhost.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        Ok(Self {
            uri: tuned(uri),
            tls: tls(config)?,
        })
    }

    /// The URL without what is secret.
    pub(super) fn shown(&self) -> String {
        let scheme = match self.uri.scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        let authority = &self.uri.authority;
        let host = &authority.host;
        let port = authority.port;
        match &*self.uri.vhost {
            "/" => format!("{scheme}://{host}:{port}/"),
            vhost => format!("{scheme}://{host}:{port}/{vhost}"),
        }
    }

    /// A connection with this `connection_name`.
    pub(super) async fn connect(
        &self,
        name: &str,
        within: Duration,
    ) -> Result<Connection, AmqpError> {
        let properties = ConnectionProperties::default()
            .with_connection_name(name.into())
            // The transport reconnects, with its own backoff.
            .configure_backoff(|backoff| backoff.with_max_times(0));
        let runtime = lapin::runtime::default_runtime().map_err(at("connecting"))?;
        let connected = Connection::connect_uri_with_config(
            self.uri.clone(),
            properties,
            self.tls.clone(),
            runtime,
        );
        answered_within("connecting", within, connected).await
    }
}

/// The certificates to trust, and the one to show.
fn tls(config: &AmqpConfig) -> Result<OwnedTLSConfig, AmqpError> {
    let read = |key: &str, path: &Path| {
        let text = fs::read_to_string(path);
        text.map_err(|error| AmqpError::Certificates(format!("{key}: {}: {error}", path.display())))
    };
    let ca = config.ca_file.as_deref();
    let identity = match (&config.certificate, &config.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: read("certificate", certificate)?.into_bytes(),
            key: read("key", key)?.into_bytes(),
        }),
        (Some(_), None) => {
            let text = "certificate: needs transport.amqp.key".to_owned();
            return Err(AmqpError::Certificates(text));
        }
        (None, Some(_)) => {
            let text = "key: needs transport.amqp.certificate".to_owned();
            return Err(AmqpError::Certificates(text));
        }
    };
    Ok(OwnedTLSConfig {
        identity,
        cert_chain: ca.map(|path| read("ca_file", path)).transpose()?,
    })
}

fn tuned(mut uri: AMQPUri) -> AMQPUri {
    uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
    // If the broker allows less, no client can send more.
    let frame_max = uri.query.frame_max.get_or_insert(FRAME_BYTES_MAX);
    if *frame_max > 0 {
        *frame_max = (*frame_max).max(FRAME_BYTES_MAX);
    }
    uri.query.connection_timeout.get_or_insert(4_000);
    uri
}

#[cfg(test)]
mod tests;
