//! The proxy to an API server: which one applies, by the rules of `kubectl`, and how to connect through
//! it.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use thiserror::Error;

use super::environment::Environment;

mod dialer;
mod no_proxy;
mod socks;
mod stream;
mod tunnel;

pub(crate) use dialer::Dialer;
pub(crate) use stream::Used;

/// The source of a proxy that the kubeconfig names.
const KUBECONFIG: &str = "proxy-url of the kubeconfig";

/// Why a connection through the proxy failed. No variant has the password.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The proxy itself cannot be reached.
    #[error("cannot reach the proxy {proxy}: {problem}")]
    #[serde(rename = "proxy_unreachable")]
    Unreachable {
        /// Host and port of the proxy.
        proxy: String,
        /// Where the proxy is configured.
        from: &'static str,
        /// The error of the operating system.
        problem: String,
    },
    /// The proxy demands a user name and password, or rejects the given ones (407).
    #[error("the proxy {proxy} does not let us in")]
    #[serde(rename = "proxy_unauthorized")]
    Unauthorized {
        /// Host and port of the proxy.
        proxy: String,
        /// Where the proxy is configured.
        from: &'static str,
        /// Whether a user name and password were given.
        credentials_given: bool,
    },
    /// The rules of the proxy do not allow this server.
    #[error("the proxy {proxy} refuses {server}: {answer}")]
    #[serde(rename = "proxy_refused")]
    Refused {
        /// Host and port of the proxy.
        proxy: String,
        /// Where the proxy is configured.
        from: &'static str,
        /// Host and port of the server.
        server: String,
        /// The answer of the proxy.
        answer: String,
    },
    /// The proxy cannot connect to the server: unknown name, or no connection from there.
    #[error("the proxy {proxy} cannot reach {server}: {answer}")]
    #[serde(rename = "proxy_bad_gateway")]
    BadGateway {
        /// Host and port of the proxy.
        proxy: String,
        /// Where the proxy is configured.
        from: &'static str,
        /// Host and port of the server.
        server: String,
        /// The answer of the proxy.
        answer: String,
    },
    /// What answers there is not a proxy.
    #[error("{proxy} is no proxy: {actual}")]
    #[serde(rename = "proxy_invalid_answer")]
    InvalidAnswer {
        /// Host and port of the proxy.
        proxy: String,
        /// Where the proxy is configured.
        from: &'static str,
        /// The unexpected answer.
        actual: String,
    },
}

/// An invalid proxy URL. The URL is left out on purpose: it may hold a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidProxy {
    pub from: &'static str,
    pub problem: String,
}

/// The protocol of a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ProxyProtocol {
    Http,
    Https,
    Socks,
}

/// A proxy, and where it is configured.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    protocol: ProxyProtocol,
    /// As in a URL: an IPv6 address has its brackets.
    host: String,
    port: u16,
    login: Option<(String, String)>,
    from: &'static str,
}

impl Proxy {
    /// The proxy for this server, if there is one: the kubeconfig's, or the environment's unless
    /// `NO_PROXY` has an exception. A server on the loopback is such an exception, too.
    pub(crate) fn choose(
        named: Option<&str>,
        server: &Uri,
        environment: &Environment,
    ) -> Result<Option<Self>, InvalidProxy> {
        if let Some(url) = named.filter(|url| !url.is_empty()) {
            return Self::parse(url, KUBECONFIG).map(Some);
        }
        let variables: [&'static str; 2] = match server.scheme_str() {
            Some("https") => ["HTTPS_PROXY", "https_proxy"],
            _ => ["HTTP_PROXY", "http_proxy"],
        };
        match environment.first(variables) {
            Some((from, url)) if !no_proxy::excepts(server, environment) => {
                Self::parse(url, from).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn parse(url: &str, from: &'static str) -> Result<Self, InvalidProxy> {
        let invalid = |problem: String| InvalidProxy { from, problem };
        let whole = if url.contains("://") { url.into() } else { format!("http://{url}") };
        let uri: Uri = whole.parse().map_err(|_| invalid("it is not a URL".into()))?;
        let (protocol, default) = match uri.scheme_str() {
            Some("http") => (ProxyProtocol::Http, 80),
            Some("https") => (ProxyProtocol::Https, 443),
            // With both the proxy resolves names, as kubectl has it.
            Some("socks5" | "socks5h") => (ProxyProtocol::Socks, 1080),
            other => {
                let other = other.unwrap_or_default();
                let known = "http, https, socks5 and socks5h";
                return Err(invalid(format!("{other} is no kind of proxy; there are {known}")));
            }
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| invalid("it names no host".into()))?;
        Ok(Self {
            protocol,
            host: host.into(),
            port: uri.port_u16().unwrap_or(default),
            login: login_of(&uri),
            from,
        })
    }

    /// Host and port, without the user name and password that the URL may have.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Where the proxy is configured: the kubeconfig, or a variable.
    #[must_use]
    pub fn from(&self) -> &'static str {
        self.from
    }

    /// For a connection to the proxy itself.
    fn uri(&self) -> Result<Uri, http::uri::InvalidUri> {
        let scheme = if self.protocol == ProxyProtocol::Https { "https" } else { "http" };
        format!("{scheme}://{}", self.address()).parse()
    }

    /// The value of `Proxy-Authorization`.
    fn authorization(&self) -> Option<String> {
        let (name, password) = self.login.as_ref()?;
        Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))))
    }

    fn unreachable(&self, problem: String) -> Error {
        Error::Unreachable { proxy: self.address(), from: self.from, problem }
    }

    fn rejects_login(&self) -> Error {
        let credentials_given = self.login.is_some();
        Error::Unauthorized { proxy: self.address(), from: self.from, credentials_given }
    }

    fn refused(&self, server: String, answer: String) -> Error {
        Error::Refused { proxy: self.address(), from: self.from, server, answer }
    }

    fn cannot_reach(&self, server: String, answer: String) -> Error {
        Error::BadGateway { proxy: self.address(), from: self.from, server, answer }
    }

    fn invalid_answer(&self, actual: String) -> Error {
        Error::InvalidAnswer { proxy: self.address(), from: self.from, actual }
    }
}

/// Without the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Proxy({}, {})", self.address(), self.from)
    }
}

fn login_of(uri: &Uri) -> Option<(String, String)> {
    let (login, _) = uri.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = login.split_once(':').unwrap_or((login, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(name), decoded(password)))
}

#[cfg(test)]
mod tests;
