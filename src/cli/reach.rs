//! A connection to the daemon, with or without TLS.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use crate::{
    app::chain,
    config::{Config, Sources},
    tls::{ClientFiles, exactly},
};

/// The daemon's side of a connection.
pub(super) type DaemonStream = Either<TcpStream, TlsStream<TcpStream>>;

/// Where the daemon is: `[http://]HOST[:PORT][/PREFIX]`, or with `https://`.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct DaemonAddress {
    /// Whether it begins with `https://`.
    pub(super) is_encrypted: bool,
    /// For the connection, with a port.
    pub(super) address: String,
    /// For the header `Host`.
    pub(super) host: String,
    /// The prefix of each path, without a slash at its end.
    pub(super) prefix: String,
}

impl DaemonAddress {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let is_encrypted = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => {
                return Err(format!(
                    "\"{scheme}://\" is not known: use http:// or https://"
                ));
            }
        };
        let (host, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if host.contains('@') {
            return Err("a user and password in the URL are not used: leave them out".to_owned());
        }
        if path.contains(['?', '#']) {
            return Err("a query or fragment in the URL is not used: leave it out".to_owned());
        }
        if host.is_empty() {
            return Err("the URL names no host".to_owned());
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self {
            is_encrypted,
            address: match (has_port, is_encrypted) {
                (true, _) => host.to_owned(),
                (false, false) => format!("{host}:80"),
                (false, true) => format!("{host}:443"),
            },
            host: host.to_owned(),
            prefix: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// The certificates of client commands.
#[derive(Debug, clap::Args)]
pub(super) struct CertificateArguments {
    /// A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A PEM file with the certificate that the running daemon gets if it asks for one
    #[arg(long, global = true, value_name = "FILE", id = "client_certificate")]
    cert: Option<PathBuf>,
    /// A PEM file with its key
    #[arg(long, global = true, value_name = "FILE")]
    cert_key: Option<PathBuf>,
}

/// What a client command trusts and shows.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientTrust {
    files: ClientFiles,
    /// The daemon of the same configuration has this certificate.
    own: Option<PathBuf>,
}

impl ClientTrust {
    /// By the arguments and the environment.
    pub(super) fn new(arguments: &CertificateArguments, sources: &Sources) -> Self {
        let variable = || sources.variable("MUSTERD_CA").map(PathBuf::from);
        let ca = match &arguments.ca {
            Some(ca) => ("--ca", Some(ca.clone())),
            None => ("MUSTERD_CA", variable()),
        };
        let named =
            |(key, path): (&str, Option<PathBuf>)| (key.to_owned(), path.unwrap_or_default());
        Self {
            files: ClientFiles {
                roots: named(ca),
                certificate: named(("--cert", arguments.cert.clone())),
                key: named(("--cert-key", arguments.cert_key.clone())),
            },
            own: None,
        }
    }

    /// For the daemon of this configuration, which is known by its certificate file: it may be asked by an address
    /// that is not in it.
    pub(super) fn of_own_daemon(&self, config: &Config) -> Self {
        let has_roots = !self.files.roots.1.as_os_str().is_empty();
        let tls = &config.http.tls;
        Self {
            own: (tls.is_on() && !has_roots).then(|| tls.certificate.clone()),
            ..self.clone()
        }
    }

    fn client(&self) -> io::Result<Arc<ClientConfig>> {
        let failed = |error| io::Error::other(chain(&error));
        let trusted = self.files.read().map_err(failed)?;
        let client = match &self.own {
            None => trusted.verifying(),
            Some(own) => {
                let verifier = exactly("http.tls.certificate", Path::new(own)).map_err(failed)?;
                trusted.verifying_by(verifier)
            }
        };
        client.map(Arc::new).map_err(failed)
    }

    /// Connects to `host:port`.
    pub(super) async fn connect(
        &self,
        address: &str,
        is_encrypted: bool,
    ) -> io::Result<DaemonStream> {
        if !is_encrypted {
            return TcpStream::connect(address).await.map(Either::Left);
        }
        let client = self.client()?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        let connected = TlsConnector::from(client).connect(name, stream).await;
        connected.map(Either::Right)
    }
}

/// Where the daemon of this configuration is asked.
pub(super) fn own_url(config: &Config) -> String {
    let (listen, tls) = (&config.http.listen, &config.http.tls);
    match (listen.is_empty(), tls.listen.is_empty()) {
        (true, false) => format!("https://{}", reachable(&tls.listen)),
        (_, true) if tls.is_on() => format!("https://{}", reachable(listen)),
        _ => format!("http://{}", reachable(listen)),
    }
}

/// A daemon that listens on every address is asked on the loopback one.
pub(super) fn reachable(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(mut address) if address.ip().is_unspecified() => {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
            address.to_string()
        }
        _ => listen.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_daemon_is_asked_where_it_listens() {
        let url = |listen: &str, tls: &str, certificate: &str| {
            let mut config = Config::default();
            config.http.listen = listen.to_owned();
            config.http.tls.listen = tls.to_owned();
            config.http.tls.certificate = certificate.into();
            own_url(&config)
        };
        assert_eq!(url("0.0.0.0:80", "", ""), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80", "", "a.pem"), "https://[::1]:80");
        assert_eq!(
            url("10.0.0.1:80", "0.0.0.0:443", "a.pem"),
            "http://10.0.0.1:80"
        );
        assert_eq!(url("", "0.0.0.0:443", "a.pem"), "https://127.0.0.1:443");
    }
}
