//! The HTTP client over connections of our own making: kube's own leave Nagle's algorithm on,
//! which holds a small frame back until the one before it is acknowledged.

use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Config,
    client::{Body, ConfigExt},
    config::AuthInfo,
};

use crate::proxy::{Dialer, Proxy};

/// The kernel's own question to a silent peer, and the time between repeats.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// Connections that are kept for the next request.
pub(crate) type Http = HttpClient<HttpsConnector<Dialer>, Body>;

/// A client for one server; nothing is sent yet. A plugin of the user's is not run.
///
/// # Errors
/// kube's, where certificates or keys cannot be used.
pub(crate) fn http(config: &Config, proxy: Option<&Proxy>) -> kube::Result<Http> {
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
            let to_proxy = without_user(config);
            let to_proxy = to_proxy.rustls_https_connector_with_connector(http.clone())?;
            Dialer::through(proxy.clone(), http, to_proxy)
        }
    };
    let https = with_certificate(config).rustls_https_connector_with_connector(dialer)?;
    Ok(HttpClient::builder(TokioExecutor::new()).build(https))
}

/// Of the user only what goes with the connection: kube would run a plugin here.
fn with_certificate(config: &Config) -> Config {
    let mut config = config.clone();
    config.auth_info = AuthInfo {
        client_certificate: config.auth_info.client_certificate.take(),
        client_certificate_data: config.auth_info.client_certificate_data.take(),
        client_key: config.auth_info.client_key.take(),
        client_key_data: config.auth_info.client_key_data.take(),
        ..AuthInfo::default()
    };
    config
}

/// What a proxy that speaks TLS is trusted by; the user is none of its business.
fn without_user(config: &Config) -> Config {
    let mut config = config.clone();
    config.auth_info = AuthInfo::default();
    config.tls_server_name = None;
    config
}
