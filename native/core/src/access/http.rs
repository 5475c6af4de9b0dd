//! The HTTP client. It uses a connector of our own: kube's leaves Nagle's algorithm on, which holds a
//! small frame back until the one before it is acknowledged, and its TLS refuses what kubectl accepts.

use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{Config, client::Body, config::AuthInfo};

use super::{
    proxy::{Dialer, Proxy},
    tls,
};

/// TCP keepalive: idle time before the first probe, the interval, and the number of probes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// How long an idle connection is kept for the next request. A connect that comes later than this after
/// the last request opens new connections and pays the round trips of TCP and TLS.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Idle connections that are kept: an attach begins with two requests at once.
const MAX_IDLE: usize = 2;

/// An HTTP client that keeps its connections.
pub(crate) type HttpClient = Client<HttpsConnector<Dialer>, Body>;

/// A client for one server. It sends nothing yet, and runs no plugin.
///
/// # Errors
/// [`tls::Error`] where certificates or keys cannot be used.
pub(crate) fn client(config: &Config, proxy: Option<&Proxy>) -> Result<HttpClient, tls::Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let (idle, interval, retries) = KEEPALIVE;
    http.set_keepalive(Some(idle));
    http.set_keepalive_interval(Some(interval));
    http.set_keepalive_retries(Some(retries));

    let dialer = match proxy {
        None => Dialer::direct(http),
        Some(proxy) => {
            let to_proxy = tls::connector(&without_user(config), http.clone())?;
            Dialer::through(proxy.clone(), http, to_proxy)
        }
    };
    let https = tls::connector(config, dialer)?;
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_idle_timeout(IDLE_TIMEOUT).pool_max_idle_per_host(MAX_IDLE);
    Ok(client.build(https))
}

/// For TLS to the proxy, which must not see the user's certificate. As in Go, `tls-server-name` is the name in the
/// certificate of the proxy, too.
fn without_user(config: &Config) -> Config {
    let mut config = config.clone();
    config.auth_info = AuthInfo::default();
    config
}
