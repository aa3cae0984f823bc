//! Fetching an MTA-STS policy (RFC 8461, 3.3): one GET over HTTPS, within bounds.
//!
//! The certificate must be valid for `mta-sts.DOMAIN` and come from an authority that this host trusts (Debian:
//! `ca-certificates`); redirects are refused, as are other content types than `text/plain`; the body is read up to [`MAX_BODY`].
//! Host names are resolved by the process's own resolver, never by `/etc/hosts`.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy as Redirects;
use reqwest::{Certificate, Client, StatusCode};

use super::policy::{PolicyError, StsPolicy};
use crate::directory::Lookup;
use crate::dns::Resolver;
use crate::mail::Domain;

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher(Client);

/// Why there is no policy. The words are for the log.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, no valid certificate, no answer in time.
    #[error("cannot be fetched: {0}")]
    Http(String),
    /// Another status than 200; a redirect too.
    #[error("cannot be fetched: HTTP status {0}")]
    Status(StatusCode),
    /// Not `text/plain`.
    #[error("is not text/plain")]
    ContentType,
    /// Longer than [`MAX_BODY`], or no UTF-8.
    #[error("is longer than {MAX_BODY} bytes, or no UTF-8")]
    Body,
    /// No policy.
    #[error("is none: {0}")]
    Policy(#[from] PolicyError),
}

/// Where policies are fetched from, where that is not the authorities and the port of the world: for tests.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Another port than 443.
    pub port: Option<u16>,
    /// An authority to trust besides those of this host, as PEM.
    pub authority: Option<Vec<u8>>,
}

impl Fetcher {
    /// A fetcher whose fetches take at most `timeout` each.
    ///
    /// # Errors
    /// TLS cannot be set up: no authorities on this host.
    pub fn new(resolver: Resolver, timeout: Duration, elsewhere: &Elsewhere) -> Result<Self, FetchError> {
        let mut client = Client::builder()
            .https_only(true)
            .redirect(Redirects::none())
            .timeout(timeout)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .dns_resolver(Addresses { resolver, port: elsewhere.port.unwrap_or_default() })
            .user_agent(concat!("gatepost/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &elsewhere.authority {
            let authority = Certificate::from_pem(pem).map_err(|error| http(&error))?;
            client = client.tls_certs_only([authority]);
        }
        client.build().map(Self).map_err(|error| http(&error))
    }

    /// The policy of a domain as it is published now.
    ///
    /// # Errors
    /// A [`FetchError`]; never later than the timeout.
    pub async fn fetch(&self, domain: &Domain) -> Result<StsPolicy, FetchError> {
        let url = format!("https://mta-sts.{domain}/.well-known/mta-sts.txt");
        let mut response = self.0.get(url).send().await.map_err(|error| http(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("text/plain") {
            return Err(FetchError::ContentType);
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| http(&error))? {
            if body.len() + piece.len() > MAX_BODY {
                return Err(FetchError::Body);
            }
            body.extend_from_slice(&piece);
        }
        let text = String::from_utf8(body).map_err(|_| FetchError::Body)?;
        Ok(StsPolicy::parse(&text)?)
    }
}

/// The innermost reason: "client error (Connect)" alone helps nobody.
fn http(error: &reqwest::Error) -> FetchError {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    FetchError::Http(reason.to_string())
}

/// Our resolver in reqwest's shape.
struct Addresses {
    resolver: Resolver,
    /// The port to connect to; 0 for the one of the URL.
    port: u16,
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, port) = (self.resolver.clone(), self.port);
        Box::pin(async move {
            match resolver.addresses(name.as_str()).await {
                Lookup::Found(addresses) => {
                    let addresses: Vec<SocketAddr> = addresses
                        .into_iter()
                        .take(MAX_ADDRESSES)
                        .map(|ip| SocketAddr::new(ip, port))
                        .collect();
                    Ok(Box::new(addresses.into_iter()) as Addrs)
                }
                Lookup::None => Err(format!("{} has no address", name.as_str()).into()),
                Lookup::Unavailable(why) | Lookup::Misconfigured(why) => Err(why.into()),
            }
        })
    }
}

/// RFC 8461, 3.3 suggests 64 KiB.
const MAX_BODY: usize = 64 * 1024;

/// As many as are tried within one timeout.
const MAX_ADDRESSES: usize = 8;
