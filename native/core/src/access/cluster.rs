//! The client for one API server as one user, and the causes of its failures.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use kube::Client;

use super::{
    auth::{Login, LoginInfo},
    kubeconfig::{self, ClientConfig, Fingerprint},
    tls,
};

mod certificate;
mod closed;
mod error;
mod explain;
mod failure;
mod transport;

pub(crate) use closed::closed_without_answer;
pub use error::Error;
pub(crate) use failure::Failure;
use transport::{Connections, Transport};

/// An API request as a Role names it: `list` on `pods`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub verb: &'static str,
    pub resource: &'static str,
}

/// An API server, and our user there.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) client: Client,
    connections: Arc<Connections>,
    login: Arc<Login>,
    config: ClientConfig,
    timeout: Duration,
}

impl Cluster {
    /// Prepares the client. It sends nothing yet. `timeout` is for each later request as a whole.
    ///
    /// # Errors
    /// [`kubeconfig::Error`] where certificates, keys or proxies of the kubeconfig cannot be used.
    pub fn new(config: ClientConfig, timeout: Duration) -> Result<Self, kubeconfig::Error> {
        let connections = Connections::new(&config)?;
        Self::with_connections(Arc::new(connections), config, timeout)
    }

    /// As [`Cluster::new`], with the connections of another one for the same server and user: a request
    /// may then need no round trips for TCP and TLS.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn sharing_connections(
        other: Option<&Self>,
        config: ClientConfig,
        timeout: Duration,
    ) -> Result<Self, kubeconfig::Error> {
        match other {
            Some(other) if other.is_for(&config) => {
                Self::with_connections(other.connections.clone(), config, timeout)
            }
            _ => Self::new(config, timeout),
        }
    }

    fn with_connections(
        connections: Arc<Connections>,
        config: ClientConfig,
        timeout: Duration,
    ) -> Result<Self, kubeconfig::Error> {
        let login = Arc::new(Login::new(&config, timeout)?);
        let transport = Transport::new(connections.clone(), login.clone(), timeout);
        let client = transport
            .client(&config.kube)
            .map_err(|error| unusable_config(&error, &config.context))?;
        Ok(Self { client, connections, login, config, timeout })
    }

    /// Opens two connections for the two requests that the next attach begins with. The answers do not
    /// matter.
    pub async fn warm_up(&self) {
        let get = || async {
            let request = http::Request::get("/version").body(kube::client::Body::empty());
            if let Ok(request) = request
                && let Ok(answer) = self.client.send(request).await
            {
                let _ = answer.into_body().collect().await;
            }
        };
        let _ = tokio::time::timeout(self.timeout, async { tokio::join!(get(), get()) }).await;
    }

    /// Whether [`Cluster::new`] would give the same.
    #[must_use]
    pub fn is_same(&self, config: &ClientConfig, timeout: Duration) -> bool {
        let own = &self.config;
        self.is_for(config)
            && self.timeout == timeout
            && own.namespace == config.namespace
            && own.interactive == config.interactive
            && own.environment.digest() == config.environment.digest()
    }

    /// Whether this is the server and the user of the configuration.
    #[must_use]
    pub fn is_for(&self, config: &ClientConfig) -> bool {
        config.fingerprint.is_some() && self.config.fingerprint == config.fingerprint
    }

    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.config.fingerprint
    }

    /// The name of the context.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.config.context
    }

    /// The namespace that the kubeconfig or the caller selects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.config.namespace
    }

    /// The proxy: its host and port, and where it is configured.
    #[must_use]
    pub fn proxy(&self) -> Option<(String, &'static str)> {
        self.config.proxy.as_ref().map(|proxy| (proxy.address(), proxy.from()))
    }

    /// How the user authenticates.
    #[must_use]
    pub fn login(&self) -> LoginInfo {
        self.login.info()
    }

    /// Runs one API request within the time limit, and explains its failure. A plugin that has to run
    /// first has its own time limit.
    pub(crate) async fn request<T>(
        &self,
        action: Action,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.login.credentials().await?;
        self.within_timeout(request).await?.map_err(|error| self.explain(error, action))
    }

    /// Waits no longer than one request may take.
    pub(crate) async fn within_timeout<T>(
        &self,
        answer: impl Future<Output = T>,
    ) -> Result<T, Error> {
        // It lives until its failure is explained, which depends on what it waits for.
        let mut answer = std::pin::pin!(answer);
        let answer = tokio::time::timeout(self.timeout, &mut answer).await;
        answer.map_err(|_| self.timed_out())
    }

    fn timed_out(&self) -> Error {
        let (server, timeout) = (self.server(), self.timeout);
        match (self.login.pending(), self.proxy()) {
            (Some(error), _) => Error::Login(error),
            (None, Some((proxy, from))) => Error::ProxyTimedOut { server, proxy, from, timeout },
            (None, None) => Error::TimedOut { server, timeout },
        }
    }

    /// The user to impersonate, if the kubeconfig names one.
    #[must_use]
    pub fn acts_as(&self) -> Option<&str> {
        self.config.kube.auth_info.impersonate.as_deref()
    }

    /// The addresses of the API server, as far as this machine can resolve them.
    pub async fn addresses(&self) -> Vec<std::net::SocketAddr> {
        let url = &self.config.kube.cluster_url;
        let default = if url.scheme_str() == Some("http") { 80 } else { 443 };
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((host, url.port_u16().unwrap_or(default))).await;
        found.map(Iterator::collect).unwrap_or_default()
    }

    /// Scheme, host and port, without the password that a URL may have.
    #[must_use]
    pub fn server(&self) -> String {
        let url = &self.config.kube.cluster_url;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host_and_port = authority.rsplit('@').next().unwrap_or_default();
        format!("{}://{host_and_port}", url.scheme_str().unwrap_or("http"))
    }
}

/// kube loads the identity and the trust store there. An invalid CA has failed before that.
fn unusable_config(error: &kube::Error, context: &str) -> kubeconfig::Error {
    kubeconfig::Error::InvalidUser { context: context.into(), problem: error.to_string() }
}

fn unusable_tls(error: tls::Error, context: &str) -> kubeconfig::Error {
    let context = context.into();
    match error {
        tls::Error::Cluster(problem) => kubeconfig::Error::InvalidCluster { context, problem },
        tls::Error::User(problem) => kubeconfig::Error::InvalidUser { context, problem },
    }
}

#[cfg(test)]
mod client_go;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;
