//! The proxy between us and an API server: which one, by the rules of `kubectl`, and the way
//! through it.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::environment::Environment;

mod dialer;
mod no_proxy;
mod socks;
mod tunnel;

pub(crate) use dialer::Dialer;

/// Where a proxy comes from that the kubeconfig names.
const KUBECONFIG: &str = "proxy-url of the kubeconfig";

/// Why there is no way through the proxy. None of them has its password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// There is no connection to the proxy itself.
    #[error("cannot reach the proxy {proxy}: {problem}")]
    Unreachable {
        /// Its host and port.
        proxy: String,
        /// What has named it.
        from: &'static str,
        /// What the operating system said.
        problem: String,
    },
    /// It wants a name and a password, or other ones than it was given (407).
    #[error("the proxy {proxy} does not let us in")]
    Login {
        /// Its host and port.
        proxy: String,
        /// What has named it.
        from: &'static str,
        /// Whether it was given some.
        given: bool,
    },
    /// Its rules do not let us through to this server.
    #[error("the proxy {proxy} refuses {server}: {answer}")]
    Refused {
        /// Its host and port.
        proxy: String,
        /// What has named it.
        from: &'static str,
        /// Host and port that it was to lead to.
        server: String,
        /// Its own words.
        answer: String,
    },
    /// It would lead us to the server, and cannot: no such name there, no connection from there.
    #[error("the proxy {proxy} cannot reach {server}: {answer}")]
    CannotReach {
        /// Its host and port.
        proxy: String,
        /// What has named it.
        from: &'static str,
        /// Host and port that it was to lead to.
        server: String,
        /// Its own words.
        answer: String,
    },
    /// What answers there does not speak like a proxy.
    #[error("{proxy} is no proxy: {seen}")]
    NotAProxy {
        /// Its host and port.
        proxy: String,
        /// What has named it.
        from: &'static str,
        /// What was seen.
        seen: String,
    },
}

/// A proxy's URL that cannot be used. The URL is left out on purpose: it may hold a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub from: &'static str,
    pub problem: String,
}

/// How to speak to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Http,
    Https,
    Socks,
}

/// A proxy, and who has named it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    kind: Kind,
    /// As in a URL: an IPv6 address has its brackets.
    host: String,
    port: u16,
    login: Option<(String, String)>,
    from: &'static str,
}

impl Proxy {
    /// The proxy to this server, if there is one: the kubeconfig's, or the environment's unless
    /// `NO_PROXY` has an exception. A server on the loopback is asked directly by the latter rule.
    pub(crate) fn choose(
        named: Option<&str>,
        server: &Uri,
        environment: &Environment,
    ) -> Result<Option<Self>, Unusable> {
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

    fn parse(url: &str, from: &'static str) -> Result<Self, Unusable> {
        let unusable = |problem: String| Unusable { from, problem };
        let whole = if url.contains("://") { url.into() } else { format!("http://{url}") };
        let uri: Uri = whole.parse().map_err(|_| unusable("it is not a URL".into()))?;
        let (kind, default) = match uri.scheme_str() {
            Some("http") => (Kind::Http, 80),
            Some("https") => (Kind::Https, 443),
            // Both leave names to the proxy, as kubectl does.
            Some("socks5" | "socks5h") => (Kind::Socks, 1080),
            other => {
                let other = other.unwrap_or_default();
                let known = "http, https, socks5 and socks5h";
                return Err(unusable(format!("{other} is no kind of proxy; there are {known}")));
            }
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| unusable("it names no host".into()))?;
        Ok(Self {
            kind,
            host: host.into(),
            port: uri.port_u16().unwrap_or(default),
            login: login_of(&uri),
            from,
        })
    }

    /// Host and port, without the name and password that the URL may have.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What has named it: the kubeconfig, or a variable.
    #[must_use]
    pub fn from(&self) -> &'static str {
        self.from
    }

    /// Where a connection to the proxy itself goes.
    fn uri(&self) -> Result<Uri, http::uri::InvalidUri> {
        let scheme = if self.kind == Kind::Https { "https" } else { "http" };
        format!("{scheme}://{}", self.address()).parse()
    }

    /// The name and the password as HTTP has them.
    fn authorization(&self) -> Option<String> {
        let (name, password) = self.login.as_ref()?;
        Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))))
    }

    fn unreachable(&self, problem: String) -> Error {
        Error::Unreachable { proxy: self.address(), from: self.from, problem }
    }

    fn not_let_in(&self) -> Error {
        let given = self.login.is_some();
        Error::Login { proxy: self.address(), from: self.from, given }
    }

    fn refused(&self, server: String, answer: String) -> Error {
        Error::Refused { proxy: self.address(), from: self.from, server, answer }
    }

    fn cannot_reach(&self, server: String, answer: String) -> Error {
        Error::CannotReach { proxy: self.address(), from: self.from, server, answer }
    }

    fn not_a_proxy(&self, seen: String) -> Error {
        Error::NotAProxy { proxy: self.address(), from: self.from, seen }
    }
}

/// Never with the password.
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
