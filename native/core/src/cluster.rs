//! One API server, as one user: the client, and what its failures mean.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use kube::Client;

use crate::{
    auth::{self, Login},
    config::{self, Access},
};

mod certificate;
mod connector;
mod error;
mod explain;
mod transport;

pub(crate) use connector::{Http, http as http_client};
pub use error::Error;
use transport::{Connections, Transport};

/// An API request, in the words of a Role: `list` on `pods`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub verb: &'static str,
    pub resource: &'static str,
}

/// An API server and the user we are to it.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) client: Client,
    connections: Arc<Connections>,
    login: Arc<Login>,
    access: Access,
    timeout: Duration,
}

impl Cluster {
    /// Prepares the client; nothing is sent yet. `timeout` bounds each later request as a whole.
    ///
    /// # Errors
    /// [`config::Error`] where certificates, keys or proxies of the kubeconfig cannot be used.
    pub fn new(access: Access, timeout: Duration) -> Result<Self, config::Error> {
        let connections = Connections::new(&access)?;
        Self::on(Arc::new(connections), access, timeout)
    }

    /// As [`Cluster::new`], on the connections of another one where both have the same user and
    /// server: a request may then go out without waiting for TCP and TLS.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn beside(
        other: Option<&Self>,
        access: Access,
        timeout: Duration,
    ) -> Result<Self, config::Error> {
        match other {
            Some(other) if other.is_at(&access) => {
                Self::on(other.connections.clone(), access, timeout)
            }
            _ => Self::new(access, timeout),
        }
    }

    fn on(
        connections: Arc<Connections>,
        access: Access,
        timeout: Duration,
    ) -> Result<Self, config::Error> {
        let login = Arc::new(Login::new(&access, timeout)?);
        let transport = Transport::new(connections.clone(), login.clone(), timeout);
        let client =
            transport.client(&access.config).map_err(|error| unusable(error, &access.context))?;
        Ok(Self { client, connections, login, access, timeout })
    }

    /// Leaves two idle connections behind, for the two requests that a next attach begins with.
    /// Their answers do not matter.
    pub async fn warm_up(&self) {
        let ask = || async {
            let request = http::Request::get("/version").body(kube::client::Body::empty());
            if let Ok(request) = request
                && let Ok(answer) = self.client.send(request).await
            {
                let _ = answer.into_body().collect().await;
            }
        };
        let _ = tokio::time::timeout(self.timeout, async { tokio::join!(ask(), ask()) }).await;
    }

    /// Whether this is the server, as the user, that the access leads to.
    #[must_use]
    pub fn is_at(&self, access: &Access) -> bool {
        access.fingerprint.is_some() && self.access.fingerprint == access.fingerprint
    }

    pub(crate) fn fingerprint(&self) -> Option<config::Fingerprint> {
        self.access.fingerprint
    }

    /// The context's name.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.access.context
    }

    /// The namespace that the kubeconfig or the caller chose.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.access.namespace
    }

    /// The proxy on the way: its host and port, and what has named it.
    #[must_use]
    pub fn proxy(&self) -> Option<(String, &'static str)> {
        self.access.proxy.as_ref().map(|proxy| (proxy.address(), proxy.from()))
    }

    /// How the user logs in.
    #[must_use]
    pub fn login(&self) -> auth::Facts {
        self.login.facts()
    }

    /// Runs one API request within the time limit and says what its failure means. A plugin that
    /// has to log in first has a time limit of its own.
    pub(crate) async fn ask<T>(
        &self,
        action: Action,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.login.credentials().await?;
        self.within(request).await?.map_err(|error| self.explain(error, action))
    }

    /// Waits no longer than one request may take.
    pub(crate) async fn within<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        // It lives until its failure is explained: what it waits for is asked then.
        let mut answer = std::pin::pin!(answer);
        let answer = tokio::time::timeout(self.timeout, &mut answer).await;
        answer.map_err(|_| self.timed_out())
    }

    fn timed_out(&self) -> Error {
        let (server, timeout) = (self.server(), self.timeout);
        match (self.login.pending(), self.proxy()) {
            (Some(error), _) => Error::Login(error),
            (None, Some((proxy, from))) => Error::TimedOutByProxy { server, proxy, from, timeout },
            (None, None) => Error::TimedOut { server, timeout },
        }
    }

    /// Whom the user acts as, where the kubeconfig says so.
    #[must_use]
    pub fn acts_as(&self) -> Option<&str> {
        self.access.config.auth_info.impersonate.as_deref()
    }

    /// The API server's addresses, as far as this machine can look them up.
    pub async fn addresses(&self) -> Vec<std::net::SocketAddr> {
        let url = &self.access.config.cluster_url;
        let default = if url.scheme_str() == Some("http") { 80 } else { 443 };
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((host, url.port_u16().unwrap_or(default))).await;
        found.map(Iterator::collect).unwrap_or_default()
    }

    /// Scheme, host and port; a URL may carry a password, and that is nobody's business.
    #[must_use]
    pub fn server(&self) -> String {
        let url = &self.access.config.cluster_url;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host_and_port = authority.rsplit('@').next().unwrap_or_default();
        format!("{}://{host_and_port}", url.scheme_str().unwrap_or("http"))
    }
}

fn unusable(error: kube::Error, context: &str) -> config::Error {
    match error {
        kube::Error::InferKubeconfig(error) => config::explain(&error, context),
        // kube makes the identity and the trust store here; a wrong CA is found while reading it.
        error => config::Error::BadUser { context: context.into(), problem: error.to_string() },
    }
}
